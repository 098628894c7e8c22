//! Slow start: a member that came back begins with a part of its share, which grows to the whole in a straight line.
//!
//! The part is a number that an algorithm weighs with, or, where members simply take turns, a rule for which of them a
//! fresh member takes: evenly spread, exactly in proportion, and without a draw.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Instant;

/// A whole share. A power of two, so that the count of turns may wrap around.
pub(super) const FULL: u32 = 1 << 10;
/// The least part, so that a fresh member is seen to work.
const LEAST: u32 = FULL.div_ceil(10);
/// Whoever has taken part in so many turns has taken one.
pub(crate) const TURNS_MAX: usize = FULL.div_ceil(LEAST) as usize;

/// Whether a member is fresh, and how many turns it has let pass.
#[derive(Debug)]
pub(super) struct SlowStart {
    /// Zero when it is off.
    window_nanos: u64,
    /// In nanoseconds; zero when it has not begun.
    since: AtomicU64,
    /// Parts of turns: each whole one is a turn taken.
    turns: AtomicU32,
}

impl SlowStart {
    pub(super) fn new(window: Option<Duration>) -> Self {
        let nanos = window.map_or(0, |window| window.as_nanos());
        Self {
            window_nanos: u64::try_from(nanos).unwrap_or(u64::MAX),
            since: AtomicU64::new(0),
            turns: AtomicU32::new(0),
        }
    }

    /// It is fresh from now on, and takes its first turn.
    pub(super) fn begin(&self, now: Instant) {
        self.turns.store(FULL - 1, Ordering::Relaxed);
        self.since.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Its share now, up to [`FULL`].
    pub(super) fn share(&self, now: Instant) -> u32 {
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            return FULL;
        }
        let elapsed = now.saturating_since(Instant::from_nanos(since)).as_nanos();
        if elapsed >= u128::from(self.window_nanos) {
            return FULL;
        }
        let share = elapsed * u128::from(FULL) / u128::from(self.window_nanos);
        u32::try_from(share).unwrap_or(FULL).clamp(LEAST, FULL)
    }

    /// A turn falls on it: does it take it?
    pub(super) fn takes_turn(&self, now: Instant) -> bool {
        let share = self.share(now);
        share == FULL || completes(self.turns.fetch_add(share, Ordering::Relaxed), share)
    }

    /// Would it take a turn? `ahead` counts what it has been asked before, and begins at zero.
    pub(super) fn would_take_turn(&self, now: Instant, ahead: &mut u32) -> bool {
        let share = self.share(now);
        let before = self.turns.load(Ordering::Relaxed).wrapping_add(*ahead);
        *ahead = ahead.wrapping_add(share);
        share == FULL || completes(before, share)
    }
}

/// Does `share` more complete a turn?
fn completes(before: u32, share: u32) -> bool {
    before % FULL + share >= FULL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    fn fresh(window_ms: u64, since: u64) -> SlowStart {
        let slow = SlowStart::new(Some(Duration::from_millis(window_ms)));
        slow.begin(at(since));
        slow
    }

    #[test]
    fn the_share_grows_in_a_straight_line_from_a_tenth() {
        let slow = fresh(10_000, 5000);
        for (ms, share) in [
            (0, 103),
            (5000, 103),
            (6000, 103),
            (7500, 256),
            (10_000, 512),
            (14_990, 1022),
            (15_000, 1024),
            (90_000, 1024),
        ] {
            assert_eq!(slow.share(at(ms)), share, "at {ms}");
        }
    }

    #[test]
    fn switched_off_or_not_begun_it_is_the_whole_share() {
        let off = SlowStart::new(None);
        off.begin(at(5000));
        let never = SlowStart::new(Some(Duration::from_secs(10)));
        for slow in [off, never] {
            assert_eq!(slow.share(at(5000)), FULL);
            assert!((0..5).all(|_| slow.takes_turn(at(5000))));
        }
    }

    #[test]
    fn turns_are_taken_in_proportion_and_evenly_spread_the_first_at_once() {
        // At a half: every other turn. At a quarter: every fourth.
        for (ms, every) in [(10_000, 2), (7500, 4)] {
            let slow = fresh(10_000, 5000);
            let taken: Vec<bool> = (0..100).map(|_| slow.takes_turn(at(ms))).collect();
            let expected: Vec<bool> = (0..100).map(|turn| turn % every == 0).collect();
            assert_eq!(taken, expected, "at {ms}");
        }
        let slow = fresh(10_000, 5000);
        let taken = (0..1024).filter(|_| slow.takes_turn(at(14_000))).count();
        assert_eq!(taken, 921);
    }

    #[test]
    fn nobody_lets_more_than_the_most_turns_pass() {
        let slow = fresh(10_000, 5000);
        for _ in 0..5000 {
            let passed = (0..).find(|_| slow.takes_turn(at(5000)));
            assert!(passed < Some(TURNS_MAX));
        }
    }

    #[test]
    fn what_would_happen_is_what_happens() {
        let slow = fresh(10_000, 5000);
        for ms in (5000..16_000).step_by(100) {
            let mut ahead = 0;
            let foreseen: Vec<_> = (0..20)
                .map(|_| slow.would_take_turn(at(ms), &mut ahead))
                .collect();
            let taken: Vec<_> = (0..20).map(|_| slow.takes_turn(at(ms))).collect();
            assert_eq!(foreseen, taken, "at {ms}");
        }
    }
}
