//! Passive health: failing answers to real requests take a member out for a while.
//!
//! Two rules: so many failures in a row, and too large a share of the last seconds' answers. Connect failures belong
//! to neither: they make a member suspect at once, and one probe brings it back, so that a server that was restarted does
//! not sit out an ejection. Nothing here counts by itself: the [`Member`](crate::pool::Member) does, in atomics.

use std::time::Duration;

use http::StatusCode;

use crate::config::settings::Passive;
use crate::event::RequestFailure;
use crate::pool::Outcome;
use crate::rng::Rng;
use crate::time::Instant;

/// A share is taken over so long.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
/// For so long after it an ejection is looked at again.
const RECONSIDERED: Duration = Duration::from_secs(5);
/// So large a failed share of the others' answers means that it was not the member.
const OTHERS_PERCENT: u64 = 25;
/// Fewer answers than this have no share worth the name.
const VOLUME_MIN: u64 = 20;
/// A trial of an ejected member is judged by its whole answer, or after so long by the answer's still coming.
pub(crate) const TRIAL_PATIENCE: Duration = Duration::from_secs(1);

/// What an outcome says about the member: a failure, none, or nothing at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Evidence {
    Good,
    Bad(RequestFailure),
    None,
}

/// A 502, 503 or 504 of the member's own counts as its failure: for the client it is one, whoever is to blame behind it.
pub(crate) fn evidence(outcome: Outcome) -> Evidence {
    match outcome {
        Outcome::Answered(status) if is_gateway_error(status) => {
            Evidence::Bad(RequestFailure::Status(status))
        }
        Outcome::Answered(_) => Evidence::Good,
        Outcome::Failed(cause) => Evidence::Bad(RequestFailure::Transport(cause)),
        Outcome::ConnectFailed(_) | Outcome::Abandoned => Evidence::None,
    }
}

pub(crate) fn is_gateway_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// May one more of `members` be ejected when `ejected` are and `others_up` more would stay up?
pub(crate) fn may_eject(rules: &Passive, ejected: usize, members: usize, others_up: usize) -> bool {
    let percent = usize::try_from(rules.max_ejected_percent).unwrap_or(usize::MAX);
    others_up > 0 && (ejected + 1) * 100 <= members.saturating_mul(percent)
}

/// The ejections of one member: whether it is out, until when, and how much the next one adds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ejections {
    strikes: u32,
    until: Option<Instant>,
    returned: Instant,
}

impl Ejections {
    /// When the first trial may come, while it is out.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Out from now on: for longer than the last time, unless it has been well since. Also for a failed trial.
    pub(crate) fn eject(&mut self, rules: &Passive, rng: &Rng, now: Instant) -> Instant {
        let base = rules.eject.as_nanos().max(1);
        if self.until.is_none() {
            // Each time of the length of a first ejection that it was in forgives one.
            let forgiven = now.saturating_since(self.returned).as_nanos() / base;
            let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
            self.strikes = self.strikes.saturating_sub(forgiven);
        }
        let enough = Passive::EJECT_MAX.as_nanos().div_ceil(base);
        let enough = u32::try_from(enough).unwrap_or(u32::MAX);
        self.strikes = self.strikes.saturating_add(1).min(enough);
        let time = rules.eject.saturating_mul(self.strikes);
        let until = now + jittered(time.min(Passive::EJECT_MAX), rng);
        self.until = Some(until);
        until
    }

    /// Out for the first time in a while, and only just.
    pub(crate) fn is_fresh(&self, ejected: Instant, now: Instant) -> bool {
        self.until.is_some() && self.strikes == 1 && now < ejected + RECONSIDERED
    }

    /// In again.
    pub(crate) fn lift(&mut self, now: Instant) {
        if self.until.take().is_some() {
            self.returned = now;
        }
    }
}

/// `time` ± 10 %, so that members that were ejected together do not come back together.
fn jittered(time: Duration, rng: &Rng) -> Duration {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let tenth = nanos / 10;
    Duration::from_nanos((nanos - tenth).saturating_add(rng.below(tenth * 2 + 1)))
}

/// Answers and failures that were counted, since the start or within a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) all: u64,
    pub(crate) failed: u64,
}

impl Seen {
    /// What came after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            failed: self.failed.saturating_sub(before.failed),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            all: self.all.saturating_add(other.all),
            failed: self.failed.saturating_add(other.failed),
        }
    }

    /// Is that too much, given what the `others` did at the same time? A member that fails as often as its neighbours
    /// is not what is wrong.
    pub(crate) fn too_much(self, share_percent: u32, others: Self) -> bool {
        let (failed, all) = (u128::from(self.failed), u128::from(self.all));
        let often = failed * 100 >= all * u128::from(share_percent);
        self.all >= VOLUME_MIN && often && self.stands_out(others)
    }

    /// Did the `others` fail at most half as often, as far as there is enough to compare? If not, the whole pool has too
    /// much to do, and one member less would leave the others with more: so a storm of retries outlives what began it
    /// (Bronson et al., *Metastable Failures in Distributed Systems*, HotOS 2021).
    pub(crate) fn stands_out(self, others: Self) -> bool {
        if others.failed == 0 {
            return true;
        }
        let theirs = u128::from(others.failed).saturating_mul(2 * u128::from(self.all));
        self.all >= VOLUME_MIN && u128::from(self.failed) * u128::from(others.all) >= theirs
    }

    /// Do these members, whom an ejection left alone, fail so much that it was not the fault of the one that went?
    pub(crate) fn fail_too(self) -> bool {
        self.all >= VOLUME_MIN && self.failed.saturating_mul(100) >= self.all * OTHERS_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn what_a_gateway_answers_for_is_a_failure() {
        let status = |code| StatusCode::from_u16(code).unwrap();
        for code in [502, 503, 504] {
            let bad = Evidence::Bad(RequestFailure::Status(status(code)));
            assert_eq!(evidence(Outcome::Answered(status(code))), bad);
        }
        for code in [200, 304, 404, 429, 500, 501, 505] {
            assert_eq!(
                evidence(Outcome::Answered(status(code))),
                Evidence::Good,
                "{code}"
            );
        }
        let reset = RequestFailure::Transport(Cause::Closed);
        assert_eq!(
            evidence(Outcome::Failed(Cause::Closed)),
            Evidence::Bad(reset)
        );
        for nothing in [Outcome::ConnectFailed(Cause::Refused), Outcome::Abandoned] {
            assert_eq!(evidence(nothing), Evidence::None);
        }
    }

    #[test]
    fn never_more_than_the_share_and_never_the_last() {
        // percent, ejected, members, others up, may
        let table = [
            (50, 0, 1, 0, false),
            (50, 0, 2, 1, true),
            (50, 0, 2, 0, false),
            (50, 1, 2, 1, false),
            (50, 0, 3, 2, true),
            (50, 1, 3, 1, false),
            (50, 1, 4, 2, true),
            (50, 2, 4, 1, false),
            (100, 2, 3, 0, false),
            (100, 1, 3, 1, true),
            (10, 0, 9, 8, false),
            (10, 0, 10, 9, true),
        ];
        for (percent, ejected, members, others_up, may) in table {
            let rules = Passive {
                max_ejected_percent: percent,
                ..Passive::default()
            };
            assert_eq!(
                may_eject(&rules, ejected, members, others_up),
                may,
                "{percent} % of {members}, {ejected} out, {others_up} others"
            );
        }
    }

    #[test]
    fn ejections_grow_up_to_five_minutes_and_time_spent_well_forgives() {
        let (rules, rng) = (Passive::default(), Rng::new(1));
        let mut ejections = Ejections::default();
        let mut now = at(1000);
        let mut lasts = |ejections: &mut Ejections, pause: u64, expected: u64| {
            now = now + Duration::from_secs(pause);
            let until = ejections.eject(&rules, &rng, now);
            let took = until.saturating_since(now).as_secs_f64();
            let expected = expected as f64;
            assert!(
                (took - expected).abs() <= expected / 10.0,
                "{took} s, not {expected}"
            );
            now = until;
            ejections.lift(now);
        };
        for n in 1..=12 {
            lasts(&mut ejections, 5, (n * 30).min(300));
        }
        // Two times thirty seconds in: two of ten strikes are forgiven, and one is added.
        lasts(&mut ejections, 61, 270);
        lasts(&mut ejections, 600, 30);
    }

    #[test]
    fn a_failed_trial_counts_as_another_ejection() {
        let (rules, rng) = (Passive::default(), Rng::new(1));
        let mut ejections = Ejections::default();
        let first = ejections.eject(&rules, &rng, at(1000));
        assert!(first >= at(1027) && first <= at(1033));
        // However long the trial was waited for.
        let second = ejections.eject(&rules, &rng, at(1500));
        assert!(second >= at(1554) && second <= at(1566));
        ejections.lift(at(1600));
        assert_eq!(ejections.until(), None);
    }

    #[test]
    fn jitter_stays_within_a_tenth_and_uses_all_of_it() {
        let rng = Rng::new(3);
        let drawn: Vec<_> = (0..10_000)
            .map(|_| jittered(Duration::from_secs(30), &rng))
            .collect();
        let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!(*least >= Duration::from_millis(27_000) && *least < Duration::from_millis(27_050));
        assert!(*most <= Duration::from_millis(33_000) && *most > Duration::from_millis(32_950));
        assert_eq!(jittered(Duration::ZERO, &rng), Duration::ZERO);
    }

    #[test]
    fn a_share_needs_volume_and_neighbours_that_do_better() {
        // failed, of, others failed, of, too much
        let table = [
            (10, 20, 0, 40, true),
            (9, 20, 0, 40, false),
            (9, 19, 0, 40, false),
            (19, 19, 0, 40, false),
            (20, 20, 20, 40, true),
            (20, 20, 21, 40, false),
            (20, 40, 20, 40, false),
            (20, 20, 0, 0, true),
            (u64::MAX, u64::MAX, u64::MAX, u64::MAX, false),
        ];
        for (failed, all, others_failed, others_all, expected) in table {
            let others = Seen {
                all: others_all,
                failed: others_failed,
            };
            let seen = Seen { all, failed };
            assert_eq!(seen.too_much(50, others), expected, "{seen:?} {others:?}");
        }
    }
}
