//! A wait in the queue of a pool whose members are all at their limit.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::pool::{Lease, Room, SharedPool, Waiting};

/// How a wait ends.
pub(super) enum Turn {
    /// A place was free.
    Picked(Lease),
    /// Nobody is eligible any more.
    Nobody,
    /// The sleep was over first.
    Late,
}

/// Waits for the turn of `place` and tries to `pick` then, until `sleep` is over.
///
/// Dropping the future leaves the queue.
pub(super) async fn turn(
    place: Waiting,
    pool: &SharedPool,
    mut pick: impl FnMut() -> Option<Lease>,
    sleep: impl Future<Output = ()>,
) -> Turn {
    let mut sleep = pin!(sleep);
    poll_fn(|cx| {
        if place.is_next(cx.waker()) {
            if let Some(lease) = pick() {
                return Poll::Ready(Turn::Picked(lease));
            }
            match pool.room() {
                // It has become free since.
                Room::Now => cx.waker().wake_by_ref(),
                Room::Later => {}
                Room::Never => return Poll::Ready(Turn::Nobody),
            }
        }
        sleep.as_mut().poll(cx).map(|()| Turn::Late)
    })
    .await
}
