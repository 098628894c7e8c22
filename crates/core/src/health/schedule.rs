//! When probes are due: jittered, a bounded number at a time, the longest overdue first.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rng::Rng;
use crate::time::Instant;

/// Probes that run at a time, at most.
pub(crate) const RUNNING_MAX: usize = 64;

/// The probes to come and how many run.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// Ordered by time; one entry for each member that is not being probed.
    queue: BTreeSet<(Instant, usize)>,
    /// The time under which a member stands in the queue.
    due: Vec<Option<Instant>>,
    running: usize,
}

impl Schedule {
    /// All of `members` are due at `now`.
    pub(crate) fn new(members: usize, now: Instant) -> Self {
        Self {
            queue: (0..members).map(|index| (now, index)).collect(),
            due: vec![Some(now); members],
            running: 0,
        }
    }

    /// None of `members` is ever due.
    pub(crate) fn idle(members: usize) -> Self {
        Self {
            due: vec![None; members],
            ..Self::default()
        }
    }

    /// Sets when a member is probed next. One that is being probed enters the queue again.
    pub(crate) fn set(&mut self, index: usize, due: Instant) {
        if let Some(before) = self.due[index].replace(due) {
            self.queue.remove(&(before, index));
        }
        self.queue.insert((due, index));
    }

    /// Moves a member that waits for its probe to `now`; one that is being probed is left alone.
    pub(crate) fn hurry(&mut self, index: usize, now: Instant) {
        if self.due[index].is_some_and(|due| due > now) {
            self.set(index, now);
        }
    }

    /// Takes the next member whose probe is due and may start.
    pub(crate) fn start(&mut self, now: Instant) -> Option<usize> {
        if self.next_due() > now {
            return None;
        }
        let (_, index) = self.queue.pop_first()?;
        self.due[index] = None;
        self.running += 1;
        Some(index)
    }

    /// A probe that was started no longer runs.
    pub(crate) fn over(&mut self) {
        self.running -= 1;
    }

    /// When the next probe may start, as far as is known now.
    pub(crate) fn next_due(&self) -> Instant {
        match self.queue.first() {
            Some((due, _)) if self.running < RUNNING_MAX => *due,
            _ => Instant::NEVER,
        }
    }
}

/// `interval` ± 20 %, so that probes do not march in step.
pub(crate) fn jittered(interval: Duration, rng: &Rng) -> Duration {
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    let fifth = nanos / 5;
    let span = fifth.saturating_mul(2).saturating_add(1);
    Duration::from_nanos((nanos - fifth).saturating_add(rng.below(span)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn jitter_stays_within_a_fifth_and_uses_all_of_it() {
        let rng = Rng::new(3);
        let drawn: Vec<_> = (0..10_000)
            .map(|_| jittered(Duration::from_secs(2), &rng))
            .collect();
        let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!(*least >= Duration::from_millis(1600) && *least < Duration::from_millis(1605));
        assert!(*most <= Duration::from_millis(2400) && *most > Duration::from_millis(2395));
        assert_eq!(jittered(Duration::ZERO, &rng), Duration::ZERO);
        assert!(jittered(Duration::MAX, &rng) > Duration::from_secs(1));
    }

    #[test]
    fn every_member_is_due_at_once_and_64_start() {
        let mut schedule = Schedule::new(100, at(5));
        assert_eq!(schedule.start(at(4)), None);
        let started: Vec<_> = std::iter::from_fn(|| schedule.start(at(5))).collect();
        assert_eq!(started, (0..RUNNING_MAX).collect::<Vec<_>>());
        assert_eq!(schedule.next_due(), Instant::NEVER);
        schedule.over();
        assert_eq!(schedule.next_due(), at(5));
        assert_eq!(schedule.start(at(6)), Some(64));
    }

    #[test]
    fn the_longest_overdue_goes_first() {
        let mut schedule = Schedule::new(3, at(0));
        for (index, due) in [(0, 30), (1, 10), (2, 20)] {
            schedule.set(index, at(due));
        }
        assert_eq!(schedule.next_due(), at(10));
        let order: Vec<_> = std::iter::from_fn(|| schedule.start(at(100))).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn hurry_moves_a_waiting_probe_and_never_starts_a_second_one() {
        let mut schedule = Schedule::new(1, at(0));
        schedule.set(0, at(2000));
        schedule.hurry(0, at(100));
        assert_eq!(schedule.start(at(100)), Some(0));
        schedule.hurry(0, at(101));
        assert_eq!(schedule.start(at(200)), None);
        schedule.set(0, at(300));
        schedule.hurry(0, at(400));
        assert_eq!(schedule.next_due(), at(300));
    }
}
