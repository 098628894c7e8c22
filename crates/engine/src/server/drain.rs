//! How far a stop has come. Every worker, acceptor and connection reads it; the control future advances it.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

/// The steps of a graceful stop, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Business as usual.
    Serving,
    /// Still accepting, but every answer says `Connection: close`.
    Announced,
    /// Listeners are accepted empty and closed; idle connections are closed after a short grace.
    Draining,
    /// Time is up: what still runs is cut.
    Cut,
}

/// The shared phase, and who waits for a later one.
#[derive(Debug)]
pub(crate) struct Drain {
    phase: AtomicU8,
    waiting: Mutex<Vec<Waker>>,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Serving as u8),
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// Moves on to `phase`, if it is later than the present one, and wakes whoever waits.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
        let waiting =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in waiting {
            waker.wake();
        }
    }

    /// Has `phase` been reached? One atomic load: cheap enough for each request.
    pub(crate) fn has_reached(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) >= phase as u8
    }

    /// Completes when `phase` is reached. Dropping it forgets the wish at the next change of phase.
    pub(crate) fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(move |cx| {
            if self.has_reached(phase) {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            drop(waiting);
            // The phase may have changed between the look and the registration.
            if self.has_reached(phase) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_phase_is_never_taken_back() {
        let drain = Drain::new();
        drain.advance(Phase::Draining);
        drain.advance(Phase::Announced);
        assert!(drain.has_reached(Phase::Draining));
        assert!(!drain.has_reached(Phase::Cut));
    }

    #[test]
    fn whoever_waits_for_a_phase_hears_of_it_and_of_later_ones() {
        let drain = Drain::new();
        let mut announced = std::pin::pin!(drain.reached(Phase::Announced));
        let mut cut = std::pin::pin!(drain.reached(Phase::Cut));
        assert_eq!(
            (
                announced.as_mut().now_or_never(),
                cut.as_mut().now_or_never()
            ),
            (None, None)
        );
        drain.advance(Phase::Draining);
        assert_eq!(
            (announced.now_or_never(), cut.now_or_never()),
            (Some(()), None)
        );
    }
}
