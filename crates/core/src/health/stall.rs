//! The stall guard's rule: requests wait at a member, it sends nothing, and others do.
//!
//! It tells a frozen process from a busy pool. It does not know what is normal for a member: the limit is fixed.

use std::time::Duration;

use crate::time::Instant;

/// Silence that makes a member suspicious.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);
/// Requests that must be waiting for it.
const WAITING: u32 = 2;
/// The guard looks at least so often.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// And not more often than this.
pub(crate) const LOOK_GAP: Duration = Duration::from_millis(2);
/// A look that comes so much later than the one before means that this process itself did not run: what it
/// missed lies unread in its sockets, and it must not judge.
const LOOK_LATE: Duration = Duration::from_secs(1);

/// What is seen of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signs {
    /// Requests without a first byte.
    pub(crate) waiting: u32,
    /// When it last sent something; the origin if never.
    pub(crate) last_byte: Instant,
    /// Since when something waits and nothing came.
    pub(crate) silent_since: Instant,
}

impl Signs {
    /// An answer to a probe at `at` breaks the silence, too.
    pub(crate) fn excused(mut self, at: Instant) -> Self {
        self.silent_since = self.silent_since.max(at);
        self
    }

    /// When the silence will have lasted too long, if anybody waits.
    pub(crate) fn crosses_at(&self) -> Option<Instant> {
        (self.waiting > 0).then(|| self.silent_since + SILENCE)
    }

    /// Is the member stalled, given when another one last sent something?
    pub(crate) fn stalled(&self, others_last_byte: Instant, now: Instant) -> bool {
        self.waiting >= WAITING
            && self.crosses_at().is_some_and(|at| at <= now)
            && others_last_byte > self.silent_since
    }
}

/// May one more of `members` go out when `out` are?
pub(crate) fn may_go(out: usize, members: usize) -> bool {
    (out + 1) * 2 <= members
}

/// Did this process fail to look for so long that it knows nothing?
pub(crate) fn looked_away(last_look: Instant, now: Instant) -> bool {
    now > last_look + LOOK_LATE
}

/// The last byte of any member but one, for each of them, after one pass over all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastBytes {
    latest: Instant,
    latest_at: usize,
    second: Instant,
}

impl LastBytes {
    /// Over members in the order of their indices.
    pub(crate) fn of(bytes: impl Iterator<Item = Instant>) -> Self {
        let mut seen = Self::default();
        for (index, byte) in bytes.enumerate() {
            if byte > seen.latest {
                seen = Self {
                    latest: byte,
                    latest_at: index,
                    second: seen.latest,
                };
            } else {
                seen.second = seen.second.max(byte);
            }
        }
        seen
    }

    /// The last byte of any member but `index`.
    pub(crate) fn except(&self, index: usize) -> Instant {
        if index == self.latest_at {
            self.second
        } else {
            self.latest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn a_member_is_stalled_when_two_wait_a_second_of_silence_passes_and_others_answer() {
        // waiting, silent since, others' last byte, now, stalled
        let table = [
            (2, 100, 500, 1100, true),
            (2, 100, 500, 1099, false),
            (1, 100, 500, 5000, false),
            (0, 100, 500, 5000, false),
            (2, 100, 100, 1100, false),
            (2, 100, 50, 1100, false),
            (9, 100, 1100, 1100, true),
            (2, 600, 1000, 1100, false),
        ];
        for (waiting, since, others, now, stalled) in table {
            let signs = Signs {
                waiting,
                last_byte: at(0),
                silent_since: at(since),
            };
            let case = (waiting, since, others, now);
            assert_eq!(signs.stalled(at(others), at(now)), stalled, "{case:?}");
        }
    }

    #[test]
    fn a_passed_probe_breaks_the_silence() {
        let signs = Signs {
            waiting: 2,
            last_byte: at(0),
            silent_since: at(100),
        };
        assert_eq!(signs.excused(at(700)).crosses_at(), Some(at(1700)));
        assert_eq!(signs.excused(at(50)).crosses_at(), Some(at(1100)));
    }

    #[test]
    fn never_more_than_half_of_the_pool_goes() {
        let table = [
            (0, 1, false),
            (0, 2, true),
            (1, 2, false),
            (0, 3, true),
            (1, 3, false),
            (1, 4, true),
            (2, 4, false),
        ];
        for (out, members, may) in table {
            assert_eq!(may_go(out, members), may, "{out} of {members}");
        }
    }

    #[test]
    fn the_last_byte_of_the_others_leaves_the_member_itself_out() {
        let bytes = LastBytes::of([at(5), at(9), at(7)].into_iter());
        assert_eq!(
            [0, 1, 2].map(|index| bytes.except(index)),
            [at(9), at(7), at(9)]
        );
        let alone = LastBytes::of([at(5)].into_iter());
        assert_eq!(alone.except(0), Instant::ORIGIN);
    }

    #[test]
    fn a_look_after_a_long_pause_is_no_look() {
        assert!(!looked_away(at(0), at(1000)));
        assert!(looked_away(at(0), at(1001)));
    }
}
