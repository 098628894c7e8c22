//! When who may be picked is published.
//!
//! A snapshot costs what grows with the pool: the eligible are found, and a turn, a ring or a table is worked out for them. So
//! a transition does not publish by itself. Whoever goes out gets nothing from that moment on, because its gate is closed; the
//! snapshot follows with the monitor's next step, once for everything that it found. It can't wait only where the snapshot
//! holds nobody any more who may be picked, or nobody of a better tier that has somebody now.

use std::time::Duration;

use super::pause;
use crate::time::Instant;

/// The longest pause between two steps that publish.
const PAUSE_MAX: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Publishing {
    /// Others than those in the snapshot may be eligible.
    changed: bool,
    due: bool,
    not_before: Instant,
    pause: Duration,
}

impl Publishing {
    /// For a pool of so many members whose first snapshot is published.
    pub(super) fn new(members: usize) -> Self {
        Self {
            changed: false,
            due: false,
            not_before: Instant::ORIGIN,
            pause: pause(members).min(PAUSE_MAX),
        }
    }

    /// Somebody may be eligible who was not, or the other way round.
    pub(super) fn note(&mut self) {
        self.changed = true;
    }

    /// The monitor's step is over.
    pub(super) fn step(&mut self, now: Instant) {
        if self.changed && now >= self.not_before {
            self.due = true;
            self.not_before = now + self.pause;
        }
    }

    /// When a step would publish what has changed.
    pub(super) fn next(&self) -> Instant {
        match self.changed && !self.due {
            true => self.not_before,
            false => Instant::NEVER,
        }
    }

    /// Is a snapshot to be made now? `pressing`: it can't wait for the step.
    pub(super) fn take(&mut self, pressing: bool) -> bool {
        let taken = self.changed && (self.due || pressing);
        if taken {
            (self.changed, self.due) = (false, false);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn what_changed_is_published_once_by_the_next_step() {
        let mut publishing = Publishing::new(3);
        assert!(!publishing.take(true), "nothing has changed");
        publishing.step(at(1));
        publishing.note();
        publishing.note();
        assert_eq!((publishing.take(false), publishing.next()), (false, at(0)));
        publishing.step(at(1));
        assert_eq!(publishing.next(), Instant::NEVER);
        assert_eq!(
            [false; 2].map(|pressing| publishing.take(pressing)),
            [true, false]
        );
    }

    #[test]
    fn what_presses_does_not_wait_for_a_step() {
        let mut publishing = Publishing::new(10_000);
        publishing.note();
        assert_eq!(
            [true; 2].map(|pressing| publishing.take(pressing)),
            [true, false]
        );
    }

    #[test]
    fn the_larger_the_pool_the_longer_the_pause_between_two_steps_that_publish() {
        // members, the pause
        let table = [(3, 0), (199, 0), (1_000, 5), (10_000, 50), (1_000_000, 50)];
        for (members, pause) in table {
            let mut publishing = Publishing::new(members);
            publishing.note();
            publishing.step(at(100));
            assert!(publishing.take(false), "the first one does not wait");
            publishing.note();
            assert_eq!(publishing.next(), at(100 + pause), "{members}");
            if pause > 0 {
                publishing.step(at(99 + pause));
                assert!(!publishing.take(false), "{members}");
            }
            publishing.step(at(100 + pause));
            assert!(publishing.take(false), "{members}");
        }
    }
}
