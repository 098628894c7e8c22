//! How far the stall guard is believed: each false alarm about a member doubles the silence that the next one takes.
//!
//! Without it a member that turns slow while its process is well would go out and come back many times a second, and what
//! it has never answered would be asked again elsewhere, until it is known to be slow.

use std::time::Duration;

use crate::time::Instant;

/// A stall that ends so soon was none.
const SOON: Duration = Duration::from_secs(1);
/// The most that an alarm takes.
const MOST: Duration = Duration::from_secs(5);
/// After so long without a false one, the next alarm is believed at once.
const FORGIVEN: Duration = Duration::from_secs(60);

/// What is remembered of the alarms about one member.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alarms {
    /// The silence of the last one.
    silence: Duration,
    /// The silence that the next one takes.
    needed: Duration,
    /// When the last false one was found out.
    false_at: Instant,
}

impl Alarms {
    /// The silence from which on an alarm is believed.
    pub(crate) fn needed(&self, now: Instant) -> Duration {
        if now > self.false_at + FORGIVEN {
            return Duration::ZERO;
        }
        self.needed
    }

    /// The member counts as stalled, after so long a silence.
    pub(crate) fn raised(&mut self, silence: Duration) {
        self.silence = silence;
    }

    /// It shows that it is alive; it has counted as stalled since then.
    pub(crate) fn over(&mut self, stalled: Instant, now: Instant) {
        if now <= stalled + SOON {
            self.needed = (self.silence * 2).min(MOST);
            self.false_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + ms(millis)
    }

    #[test]
    fn each_false_alarm_takes_twice_the_silence_up_to_five_seconds() {
        let mut alarms = Alarms::default();
        let mut now = 0;
        for (silence, needed) in [
            (100, 200),
            (200, 400),
            (450, 900),
            (2_000, 4_000),
            (4_000, 5_000),
        ] {
            now += silence;
            alarms.raised(ms(silence));
            alarms.over(at(now), at(now + 1));
            assert_eq!(alarms.needed(at(now + 2)), ms(needed));
        }
    }

    #[test]
    fn a_stall_that_lasted_was_one_and_false_ones_are_forgiven() {
        let mut alarms = Alarms::default();
        alarms.raised(ms(100));
        alarms.over(at(100), at(1_101));
        assert_eq!(alarms.needed(at(1_102)), ms(0));
        alarms.over(at(100), at(1_100));
        assert_eq!(alarms.needed(at(61_100)), ms(200));
        assert_eq!(alarms.needed(at(61_101)), ms(0));
    }
}
