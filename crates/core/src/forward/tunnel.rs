//! A tunnel: two upgraded connections, joined until both are done.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};

use super::record::Ending;
use crate::error::{BodyCause, BoxError};
use crate::event::End;
use crate::pool::Outcome;
use crate::time::{Instant, Timer, timeout};
use crate::upgrade::{Duplex, UpgradeHandle};

/// Bytes under way in each direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// Two upgraded connections that are to be joined. Dropping it closes both.
pub struct Tunnel {
    joined: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Tunnel {
    /// The two ends, and what is settled when the tunnel is over: it counts as in flight until then.
    pub(super) fn new<C: Timer>(
        client: UpgradeHandle,
        backend: UpgradeHandle,
        idle: Duration,
        timer: C,
        mut ending: Ending<C>,
    ) -> Self {
        let joined = Box::pin(async move {
            let result = join(&client, &backend, idle, &timer, &mut ending).await;
            let end = match result {
                Ok(()) => End::Complete,
                Err(cause) => End::Truncated(cause),
            };
            let switched = http::StatusCode::SWITCHING_PROTOCOLS;
            ending.settle(Outcome::Answered(switched), end, timer.now());
        });
        Self { joined }
    }

    /// Copies both ways until both sides are done, one fails, or nothing moved for `limits.tunnel-idle`.
    /// Dropping the future closes both sides.
    pub async fn run(self) {
        self.joined.await;
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}

async fn join<C: Timer>(
    client: &UpgradeHandle,
    backend: &UpgradeHandle,
    idle: Duration,
    timer: &C,
    ending: &mut Ending<C>,
) -> Result<(), BodyCause> {
    let (Some(client), Some(backend)) = (client.take(), backend.take()) else {
        return Err(BodyCause::Abandoned);
    };
    let both = timeout(
        timer,
        timer.now() + idle,
        futures::future::try_join(client, backend),
    );
    let (client, backend) = both
        .await
        .map_err(|_| BodyCause::Stalled)?
        .map_err(|_: BoxError| BodyCause::Closed)?;
    copy(client, backend, idle, timer, ending).await
}

/// Copies both ways. One side's end is passed on as an end of writing, and the other direction goes on.
async fn copy<C: Timer>(
    mut client: Box<dyn Duplex>,
    mut backend: Box<dyn Duplex>,
    idle: Duration,
    timer: &C,
    ending: &mut Ending<C>,
) -> Result<(), BodyCause> {
    let (mut up, mut down) = (Pipe::new(), Pipe::new());
    let mut moved_at = timer.now();
    let mut sleep = pin!(Some(timer.sleep_until(moved_at + idle)));
    poll_fn(|cx| {
        let before = (up.moved, down.moved);
        let sent = up.poll(cx, &mut client, &mut backend);
        let received = down.poll(cx, &mut backend, &mut client);
        if (up.moved, down.moved) != before {
            moved_at = timer.now();
            let received = down.moved.saturating_sub(before.1);
            if received > 0 {
                ending.progress(received, moved_at);
            }
        }
        match (sent, received) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                return Poll::Ready(Err(BodyCause::Closed));
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(())),
            _ => {}
        }
        while sleep
            .as_mut()
            .as_pin_mut()
            .is_none_or(|sleep| sleep.poll(cx).is_ready())
        {
            let now: Instant = timer.now();
            let until = moved_at + idle;
            if now >= until {
                return Poll::Ready(Err(BodyCause::Stalled));
            }
            sleep.set(Some(timer.sleep_until(until)));
        }
        Poll::Pending
    })
    .await
}

/// One direction.
struct Pipe {
    buffer: Box<[u8]>,
    /// What of the buffer is read and not yet written.
    start: usize,
    end: usize,
    moved: u64,
    stage: PipeStage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PipeStage {
    Copying,
    Closing,
    Done,
}

impl Pipe {
    fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES].into(),
            start: 0,
            end: 0,
            moved: 0,
            stage: PipeStage::Copying,
        }
    }

    /// Ready when the end of `from` has been passed on to `to`.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Box<dyn Duplex>,
        to: &mut Box<dyn Duplex>,
    ) -> Poll<io::Result<()>> {
        // A pair of sides that never wait must not keep the executor from everybody else.
        for _ in 0..16 {
            match self.stage {
                PipeStage::Done => return Poll::Ready(Ok(())),
                PipeStage::Closing => {
                    ready!(Pin::new(&mut *to).poll_close(cx))?;
                    self.stage = PipeStage::Done;
                }
                PipeStage::Copying if self.start < self.end => {
                    let rest = self.buffer.get(self.start..self.end).unwrap_or(&[]);
                    let written = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
                    if written == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    self.start = self.start.saturating_add(written);
                    self.moved = self.moved.saturating_add(written as u64);
                }
                PipeStage::Copying => match Pin::new(&mut *from).poll_read(cx, &mut self.buffer)? {
                    Poll::Ready(0) => self.stage = PipeStage::Closing,
                    Poll::Ready(read) => (self.start, self.end) = (0, read),
                    Poll::Pending => {
                        ready!(Pin::new(&mut *to).poll_flush(cx))?;
                        return Poll::Pending;
                    }
                },
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
