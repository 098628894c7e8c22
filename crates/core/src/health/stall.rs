//! The stall guard's rule: requests wait at a member, it sends nothing at all, and others do.
//!
//! It tells a frozen process from a busy pool. One request that waits for long says little: silence of the member as a
//! whole is the sign, and how surprising it is follows from what is [`normal`](super::normal) there. Where too few others
//! are under way to tell, the guard asks a question of its own, an [`inquiry`](super::inquiry).

use std::time::Duration;

use super::normal::{Counts, next_age, surprise};
use crate::time::Instant;

/// A request that has waited so long is late: from then on it is looked at.
pub(crate) const LATE: Duration = Duration::from_millis(50);
/// Requests that must be waiting.
pub(super) const WAITING: usize = 2;
/// How surprising their waits must be together, in bits: one chance in a million.
pub(super) const ENOUGH: f64 = 20.0;
/// Others must have answered during the silence, and again so much later: a pool that was stuck as a whole and goes on
/// does not do so everywhere at the same instant.
pub(crate) const AGAIN: Duration = Duration::from_millis(25);
/// The guard looks at least so often.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// And not more often than this.
pub(crate) const LOOK_GAP: Duration = Duration::from_millis(2);
/// While it is in doubt it looks again after this, or a fourth of the silence.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// A look that comes so much later than the one before means that this process itself did not run: what it
/// missed lies unread in its sockets, and it must not judge.
const LOOK_LATE: Duration = Duration::from_secs(1);

/// What is seen of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signs {
    /// When the waiting requests were sent that were not late when the member was last heard; the newest first.
    pub(crate) sent: Vec<Instant>,
    /// When the process last sent anything; the origin if never.
    pub(crate) heard: Instant,
}

/// What they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing.
    Calm,
    /// Look again then.
    Doubtful(Instant),
    /// The member is stalled: so many requests waited for so long.
    Stalled { waiting: u32, silence: Duration },
}

impl Finding {
    /// The same, if a stall takes at least so much silence.
    pub(crate) fn after(self, needed: Duration, now: Instant) -> Self {
        match self {
            Self::Stalled { silence, .. } if silence < needed => {
                Self::Doubtful(now + (needed - silence))
            }
            finding => finding,
        }
    }

    /// What both mean together.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (stalled @ Self::Stalled { .. }, _) | (_, stalled @ Self::Stalled { .. }) => stalled,
            (Self::Calm, other) => other,
            (one, Self::Calm) => one,
            (Self::Doubtful(one), Self::Doubtful(other)) => Self::Doubtful(one.min(other)),
        }
    }
}

impl Signs {
    /// Since when something waits and nothing came.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.sent.last().map(|&oldest| oldest.max(self.heard))
    }

    /// For how long one has waited in silence.
    pub(super) fn age(&self, sent: Instant, now: Instant) -> Duration {
        now.saturating_since(sent.max(self.heard))
    }

    /// Judges. `others_byte` is when another member last sent something; `doubt`, kept by the caller from one look to
    /// the next, is when it was first seen that others answer and this one does not.
    pub(crate) fn judge(
        &self,
        normal: (&Counts, &Counts),
        others_byte: Instant,
        doubt: &mut Option<Instant>,
        now: Instant,
    ) -> Finding {
        let Some(since) = self.silent_since().filter(|_| self.sent.len() >= WAITING) else {
            *doubt = None;
            return Finding::Calm;
        };
        let silence = now.saturating_since(since);
        let again = now + LOOK_AGAIN.max(silence / 4);
        if others_byte <= since {
            *doubt = None;
            return Finding::Doubtful(again);
        }
        if doubt.is_none_or(|doubt| doubt < since) {
            *doubt = Some(now);
        }
        let confirmed = doubt.is_some_and(|doubt| others_byte >= doubt + AGAIN);
        if confirmed && self.surprise(normal, now) >= ENOUGH {
            return self.stalled(silence);
        }
        Finding::Doubtful(again.min(self.next_surprise(now)))
    }

    pub(super) fn stalled(&self, silence: Duration) -> Finding {
        Finding::Stalled {
            waiting: u32::try_from(self.sent.len()).unwrap_or(u32::MAX),
            silence,
        }
    }

    pub(super) fn surprise(&self, (own, pool): (&Counts, &Counts), now: Instant) -> f64 {
        let bits = |&sent: &Instant| surprise(self.age(sent, now), own, pool);
        self.sent.iter().map(bits).sum()
    }

    /// When the next wait reaches an age that says more.
    pub(super) fn next_surprise(&self, now: Instant) -> Instant {
        let next = |&sent: &Instant| {
            let age = next_age(self.age(sent, now))?;
            Some(sent.max(self.heard) + age)
        };
        self.sent
            .iter()
            .filter_map(next)
            .min()
            .unwrap_or(Instant::NEVER)
    }
}

/// May one more of `members` stall when `stalled` have, and so many `others` would stay in? Those that are down or that nobody
/// wants are no members here: that they are missing makes a frozen one worse, not better.
pub(crate) fn may_go(stalled: usize, members: usize, others: usize) -> bool {
    others > 0 && (stalled + 1) * 2 <= members
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
    use super::super::normal::{Class, Times};
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    /// A pool whose members answer within 5 ms, and one of which nothing is known.
    fn fast() -> Counts {
        let times = Times::default();
        (0..2000).for_each(|_| times.add(Class::of(Duration::from_millis(5))));
        times.counts()
    }

    fn judged(
        counts: &Counts,
        sent: &[u64],
        heard: u64,
        others: u64,
        doubt: Option<u64>,
        now: u64,
    ) -> Finding {
        let signs = Signs {
            sent: sent.iter().map(|&ms| at(ms)).collect(),
            heard: at(heard),
        };
        let mut doubt = doubt.map(at);
        signs.judge((counts, counts), at(others), &mut doubt, at(now))
    }

    #[test]
    fn a_member_is_stalled_when_the_waits_of_two_are_surprising_and_others_answer_meanwhile() {
        let (fast, unknown) = (fast(), Counts::default());
        // what is known, sent, last heard, others' last byte, in doubt since, now, stalled
        let table = [
            (
                "at the floor",
                &fast,
                &[1002, 1000][..],
                990,
                1100,
                Some(1050),
                1102,
                true,
            ),
            (
                "just before",
                &fast,
                &[1002, 1000],
                990,
                1100,
                Some(1050),
                1101,
                false,
            ),
            (
                "one alone",
                &fast,
                &[1000],
                990,
                9000,
                Some(1050),
                9000,
                false,
            ),
            ("nobody", &fast, &[], 990, 9000, Some(1050), 9000, false),
            (
                "no others",
                &fast,
                &[1002, 1000],
                990,
                1000,
                Some(1050),
                9000,
                false,
            ),
            (
                "no doubt yet",
                &fast,
                &[1002, 1000],
                990,
                1101,
                None,
                1102,
                false,
            ),
            (
                "others answered once",
                &fast,
                &[1002, 1000],
                990,
                1074,
                Some(1050),
                9000,
                false,
            ),
            (
                "a byte came",
                &fast,
                &[1002, 1000],
                1010,
                1100,
                Some(1050),
                1102,
                false,
            ),
            (
                "a doubt from before it",
                &fast,
                &[1002, 1000],
                1060,
                1200,
                Some(1050),
                1200,
                false,
            ),
            (
                "its own hundred",
                &fast,
                &[1002, 1000],
                1010,
                1100,
                Some(1050),
                1110,
                true,
            ),
            (
                "nothing known",
                &unknown,
                &[1002, 1000],
                990,
                2000,
                Some(1500),
                2001,
                false,
            ),
            (
                "for a second",
                &unknown,
                &[1002, 1000],
                990,
                2000,
                Some(1500),
                2002,
                true,
            ),
        ];
        for (name, counts, sent, heard, others, doubt, now, stalled) in table {
            let finding = judged(counts, sent, heard, others, doubt, now);
            let found = matches!(finding, Finding::Stalled { .. });
            assert_eq!(found, stalled, "{name}: {finding:?}");
        }
    }

    #[test]
    fn the_more_answers_are_slow_the_more_requests_must_wait() {
        let times = Times::default();
        (0..500).for_each(|_| times.add(Class::of(Duration::from_millis(5))));
        (0..500).for_each(|_| times.add(Class::of(Duration::from_secs(30))));
        let counts = times.counts();
        for (waiting, stalled) in [(2, false), (19, false), (20, true)] {
            let finding = judged(&counts, &vec![1000; waiting], 990, 9000, Some(1050), 9000);
            assert_eq!(
                matches!(finding, Finding::Stalled { .. }),
                stalled,
                "{waiting}"
            );
        }
    }

    #[test]
    fn in_doubt_the_next_look_is_when_a_wait_says_more_or_soon() {
        let fast = fast();
        // in doubt since, others' last byte, now, the next look
        let table = [
            (None, 1000, 1048, 1060),
            (Some(1050), 1001, 1080, 1100),
            (Some(1050), 1098, 1099, 1100),
            (Some(1050), 1060, 1400, 1500),
        ];
        for (doubt, others, now, again) in table {
            let finding = judged(&fast, &[1000, 1000], 990, others, doubt, now);
            assert_eq!(finding, Finding::Doubtful(at(again)), "{now}");
        }
    }

    #[test]
    fn never_more_than_half_of_the_pool_goes_and_never_the_last() {
        // stalled, members, others that stay in, may one more go
        let table = [
            (0, 1, 0, false),
            (0, 2, 1, true),
            (0, 2, 0, false),
            (1, 2, 0, false),
            (0, 3, 2, true),
            (0, 3, 1, true),
            (1, 3, 1, false),
            (1, 4, 2, true),
            (1, 4, 0, false),
            (2, 4, 1, false),
        ];
        for (stalled, members, others, may) in table {
            let found = may_go(stalled, members, others);
            assert_eq!(found, may, "{stalled} of {members}, {others} others");
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
