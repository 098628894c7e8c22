//! What is known about one direction of a socket, so that the system is asked only when there is something to ask.
//!
//! The reactor reports an event once and then has to be asked for the next one. A plain adapter asks at every poll,
//! and tries the socket first: eight of ten calls in vain. Here a waker of the socket's own notes the event.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// The socket may have something: try it.
const READY: u8 = 0;
/// The socket has nothing, and the reactor has not been asked to watch it.
const DRAINED: u8 = 1;
/// The reactor watches it.
const WATCHED: u8 = 2;
/// The reactor reported an event, and has not been told that this was noticed.
const REPORTED: u8 = 3;

/// One direction of one socket.
#[derive(Debug)]
pub(crate) struct Readiness {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.state.store(REPORTED, Ordering::Release);
        self.task.wake();
    }
}

impl Readiness {
    /// A direction that is worth a try at once.
    pub(crate) fn ready() -> Self {
        Self::new(READY)
    }

    /// A direction that has nothing yet.
    pub(crate) fn drained() -> Self {
        Self::new(DRAINED)
    }

    fn new(state: u8) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(state),
            task: AtomicWaker::new(),
        });
        Self {
            waker: Waker::from(shared.clone()),
            shared,
        }
    }

    /// Tries `operation` when there is something to try; else, or when it would block, waits by `watch`, which is
    /// the reactor's poll for this direction.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
        mut operation: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            if self.shared.state.load(Ordering::Acquire) == READY {
                match operation() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.drain(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    result => return Poll::Ready(result),
                }
            }
            // Before the last look at the state: an event after that look finds this waker.
            self.shared.task.register(cx.waker());
            if self.shared.state.load(Ordering::Acquire) == WATCHED {
                return Poll::Pending;
            }
            let before = self.shared.state.swap(WATCHED, Ordering::AcqRel);
            if let Poll::Ready(result) = watch(&mut Context::from_waker(&self.waker)) {
                // Ready without a wake-up: an event that was reported before, or an error.
                self.shared.state.store(READY, Ordering::Release);
                if let Err(error) = result {
                    return Poll::Ready(Err(error));
                }
            } else if before == DRAINED {
                // What came before the watch began is reported late: whoever asks once, and takes a kept connection
                // for alive, must not miss an end that is there already.
                match operation() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return Poll::Ready(result),
                }
            }
        }
    }

    /// The socket gave, or took, less than was asked for: there is no more for now.
    pub(crate) fn drain(&self) {
        self.shared.state.store(DRAINED, Ordering::Release);
    }
}
