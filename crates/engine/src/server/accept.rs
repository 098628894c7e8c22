//! The acceptor: takes connections from one listener while there is room, and leaves none behind when it stops.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use lb_core::time::{Timer, timeout};

use super::drain::{Drain, Phase};
use crate::logging::{Level, Log};
use crate::rt::Listen;

/// How long the acceptor rests when it is at the cap, or when the system refuses to hand out a descriptor.
const REST: Duration = Duration::from_millis(20);

/// A listener is empty when nothing came for so long: readiness may lag behind the queue.
const QUIET: Duration = Duration::from_millis(20);

/// And it is closed after so long, empty or not.
const CLOSING: Duration = Duration::from_millis(250);

/// The process-wide cap on client connections.
#[derive(Debug)]
pub(crate) struct Slots {
    open: AtomicUsize,
    cap: usize,
}

impl Slots {
    pub(crate) fn new(cap: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            cap,
        })
    }

    fn take(self: &Arc<Self>) -> Option<Slot> {
        let room = |open| (open < self.cap).then_some(open + 1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .ok()?;
        Some(Slot(self.clone()))
    }
}

/// The right to hold one connection open.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an acceptor needs besides its listener.
pub(crate) struct Acceptor<C> {
    pub(crate) slots: Arc<Slots>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) timer: C,
    pub(crate) log: Log,
}

impl<C: Timer> Acceptor<C> {
    /// Accepts until the process drains, then empties the listener's queue and closes it: closing resets what is
    /// queued. `start` must not block. Dropping the future closes the listener at once.
    pub(crate) async fn run<L: Listen>(
        self,
        mut listener: L,
        mut start: impl FnMut(L::Stream, SocketAddr, Slot),
    ) {
        let mut draining = pin!(self.drain.reached(Phase::Draining));
        let mut troubled = false;
        loop {
            let Some(slot) = self.slots.take() else {
                match self.rest(&mut draining).await {
                    Rest::Over => continue,
                    Rest::Draining => break,
                }
            };
            match select(pin!(listener.accept()), &mut draining).await {
                Either::Left((Ok((stream, peer)), _)) => {
                    troubled = false;
                    start(stream, peer, slot);
                }
                // The client went away while it was queued: nothing to do, nothing to wait for.
                Either::Left((Err(error), _))
                    if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Either::Left((Err(error), _)) => {
                    drop(slot);
                    if !std::mem::replace(&mut troubled, true) {
                        self.log
                            .say(Level::Error, "accept failed", &[("cause", &error)]);
                    }
                    if let Rest::Draining = self.rest(&mut draining).await {
                        break;
                    }
                }
                Either::Right(_) => break,
            }
        }
        // Clients that keep coming must not keep the door open: what is queued now is taken, not whatever follows.
        let closing = self.timer.now() + CLOSING;
        while let Some(slot) = self.slots.take() {
            let patience = closing.min(self.timer.now() + QUIET);
            match timeout(&self.timer, patience, listener.accept()).await {
                Ok(Ok((stream, peer))) => start(stream, peer, slot),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Ok(Err(_)) | Err(_) => break,
            }
            if self.timer.now() >= closing {
                break;
            }
        }
    }

    async fn rest(&self, draining: impl Future<Output = ()> + Unpin) -> Rest {
        match select(
            pin!(self.timer.sleep_until(self.timer.now() + REST)),
            draining,
        )
        .await
        {
            Either::Left(_) => Rest::Over,
            Either::Right(_) => Rest::Draining,
        }
    }
}

enum Rest {
    Over,
    Draining,
}
