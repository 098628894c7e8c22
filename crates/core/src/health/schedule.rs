//! When probes are due: jittered, a bounded number at a time, the longest overdue first.
//!
//! Regular probes, those of members that are well, keep a distance as well, so that a large pool is probed evenly: members that
//! came up together are spread over a whole interval, and where jitter piles them up again they wait a moment. A probe
//! that decides something waits for nobody.

use std::time::Duration;

use super::agenda::Agenda;
use crate::rng::Rng;
use crate::time::Instant;

/// Probes that run at a time, at most.
pub(crate) const RUNNING_MAX: usize = 64;

/// Regular probes may come so many times as fast as they would if all members were well.
const HASTE: f64 = 1.1;
/// A distance that was lost, because the timer is coarse, is made good for so long.
const CATCH_UP: Duration = Duration::from_millis(10);
/// No distance is longer than this: in small pools a probe has its own time.
const DISTANCE_MAX: Duration = Duration::from_millis(10);

/// The probes to come and how many run. A member that is not being probed stands in one of the agendas.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    urgent: Agenda,
    regular: Agenda,
    running: usize,
    distance: Duration,
    /// When the next regular one may start.
    not_before: Instant,
}

impl Schedule {
    /// All of `members` are due at `now`. Those that are well come every `interval`.
    pub(crate) fn new(members: usize, interval: Duration, now: Instant) -> Self {
        let mut schedule = Self::idle(members);
        (0..members).for_each(|index| schedule.urgent.set(index, now));
        let fair = interval.div_f64(HASTE * members.max(1) as f64);
        schedule.distance = fair.min(DISTANCE_MAX);
        schedule
    }

    /// None of `members` is ever due.
    pub(crate) fn idle(members: usize) -> Self {
        Self {
            urgent: Agenda::new(members),
            regular: Agenda::new(members),
            ..Self::default()
        }
    }

    /// Sets when a member is probed next. One that is being probed is put down again.
    pub(crate) fn set(&mut self, index: usize, due: Instant) {
        self.regular.remove(index);
        self.urgent.set(index, due);
    }

    /// The same for a member that is well: others that are due then may delay it a little.
    pub(crate) fn set_regular(&mut self, index: usize, due: Instant) {
        self.urgent.remove(index);
        self.regular.set(index, due);
    }

    /// Moves a member that waits for its probe to `now`; one that is being probed is left alone.
    pub(crate) fn hurry(&mut self, index: usize, now: Instant) {
        let waits = self.regular.remove(index).is_some() || self.urgent.contains(index);
        if waits {
            self.urgent.hurry(index, now);
        }
    }

    /// Takes the next member whose probe is due and may start.
    pub(crate) fn start(&mut self, now: Instant) -> Option<usize> {
        if self.next_due() > now {
            return None;
        }
        let regular_first = self.regular.next() < self.urgent.next();
        let index = if regular_first && self.not_before <= now {
            self.not_before = self.not_before.max(earlier(now, CATCH_UP)) + self.distance;
            self.regular.pop(now)
        } else {
            self.urgent.pop(now)
        }?;
        self.running += 1;
        Some(index)
    }

    /// A probe that was started no longer runs.
    pub(crate) fn over(&mut self) {
        self.running -= 1;
    }

    /// When the next probe may start, as far as is known now.
    pub(crate) fn next_due(&self) -> Instant {
        if self.running >= RUNNING_MAX {
            return Instant::NEVER;
        }
        let regular = self.regular.next().max(self.not_before);
        self.urgent.next().min(regular)
    }
}

fn earlier(now: Instant, by: Duration) -> Instant {
    Instant::from_origin(now.since_origin().saturating_sub(by))
}

/// A point of `interval` at random, for a member that has just come up: others came with it.
pub(crate) fn anywhere(interval: Duration, rng: &Rng) -> Duration {
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.below(nanos.max(1)))
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
        let mut schedule = Schedule::new(100, Duration::from_secs(2), at(5));
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
        let mut schedule = Schedule::new(3, Duration::from_secs(2), at(0));
        for (index, due) in [(0, 30), (1, 10), (2, 20)] {
            schedule.set(index, at(due));
        }
        assert_eq!(schedule.next_due(), at(10));
        let order: Vec<_> = std::iter::from_fn(|| schedule.start(at(100))).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn regular_probes_keep_a_distance_and_others_do_not_wait_for_them() {
        // Two seconds for a thousand: 1.8 ms, and what a late timer lost is made good.
        let mut schedule = Schedule::new(1000, Duration::from_secs(2), at(0));
        for index in 0..1000 {
            schedule.set_regular(index, at(1000));
        }
        let mut started = |ms| std::iter::from_fn(|| schedule.start(at(ms))).count();
        assert_eq!(
            [999, 1000, 1001, 1002, 1012].map(&mut started),
            [0, 6, 1, 0, 6]
        );
        schedule.set(998, at(1012));
        schedule.hurry(999, at(1012));
        let urgent: Vec<_> = std::iter::from_fn(|| schedule.start(at(1012))).collect();
        assert_eq!(urgent, [998, 999]);
        assert!(schedule.next_due() > at(1012) && schedule.next_due() < at(1014));
    }

    #[test]
    fn a_small_pool_keeps_ten_milliseconds_at_most() {
        let mut schedule = Schedule::new(3, Duration::from_secs(2), at(0));
        (0..3).for_each(|index| schedule.set_regular(index, at(1000)));
        for (ms, starts) in [(1000, 2), (1009, 0), (1010, 1)] {
            let started = std::iter::from_fn(|| schedule.start(at(ms))).count();
            assert_eq!(started, starts, "at {ms}");
        }
    }

    #[test]
    fn hurry_moves_a_waiting_probe_and_never_starts_a_second_one() {
        let mut schedule = Schedule::new(1, Duration::from_secs(2), at(0));
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
