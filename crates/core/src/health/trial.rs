//! Trials: one request at a time finds out whether a member is back, with growing pauses between failures.

use std::time::Duration;

use crate::time::Instant;

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How a trial request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TrialEnd {
    /// The member answered.
    Answered(Instant),
    /// It did not.
    Failed(Instant),
    /// Nobody knows: the client left, or this machine could not try.
    Abandoned,
}

/// When a member that is out may have its next trial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trials {
    pause: Duration,
    due: Instant,
    offered: bool,
}

impl Trials {
    /// The member went out now; its first trial comes after the first pause.
    pub(crate) fn after(now: Instant) -> Self {
        Self {
            pause: PAUSE_MIN,
            due: now + PAUSE_MIN,
            offered: false,
        }
    }

    /// The first trial comes at `due`.
    pub(crate) fn at(due: Instant) -> Self {
        Self {
            pause: PAUSE_MIN,
            due,
            offered: false,
        }
    }

    /// May a request come, or is one running?
    pub(crate) fn is_offered(&self) -> bool {
        self.offered
    }

    /// When the next trial is due; never while one is offered.
    pub(crate) fn due(&self) -> Instant {
        if self.offered {
            Instant::NEVER
        } else {
            self.due
        }
    }

    /// The trial is offered now.
    pub(crate) fn offer(&mut self) {
        self.offered = true;
    }

    /// There is no need for it any more; it stays due.
    pub(crate) fn withdraw(&mut self) {
        self.offered = false;
    }

    /// The trial failed: the next pause is twice as long.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.due = now + self.pause;
        self.offered = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut trials = Trials::after(at(0));
        assert_eq!(trials.due(), at(1));
        for (now, due) in [(1, 3), (3, 7), (7, 15), (15, 31), (31, 61), (61, 91)] {
            trials.offer();
            assert_eq!(trials.due(), Instant::NEVER);
            trials.failed(at(now));
            assert_eq!(trials.due(), at(due));
        }
    }
}
