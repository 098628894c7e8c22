//! What an incident cost: requests that failed, requests that were stuck, and how long it lasted.

use std::time::Duration;

use super::load::{Outcome, Sample};

/// A request that takes longer than this, from when it was due, was stuck.
pub(super) const STUCK: Duration = Duration::from_millis(250);
/// So much of the end must be free of trouble before we call it a recovery.
const CALM: Duration = Duration::from_millis(500);

/// The bill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: usize,
    /// Broken, or answered with something else than 2xx.
    pub(super) failed: usize,
    /// Answered late, or never.
    pub(super) stuck: usize,
    /// From when the first server was well again to when the last request was due that failed or was stuck; `None` if there
    /// was trouble to the end.
    pub(super) recovery: Option<Duration>,
    /// The time that 99 % of the requests did not exceed.
    pub(super) p99: Duration,
    /// The longest time.
    pub(super) longest: Duration,
}

/// Draws up the bill of a load that ran until `end`, when the first server was well again at `healed`.
pub(super) fn tally(samples: &[Sample], healed: Duration, end: Duration) -> Tally {
    let failed = |sample: &&Sample| !sample.good() && sample.outcome != Outcome::Unanswered;
    let stuck = |sample: &&Sample| {
        sample.outcome == Outcome::Unanswered || (sample.good() && sample.latency() > STUCK)
    };
    let troubled = samples
        .iter()
        .filter(|sample| failed(sample) || stuck(sample));
    let last_trouble = troubled.map(|sample| sample.due).max().unwrap_or_default();
    let mut latencies: Vec<_> = samples.iter().map(Sample::latency).collect();
    latencies.sort_unstable();
    let rank = (latencies.len() * 99).div_ceil(100).saturating_sub(1);
    Tally {
        requests: samples.len(),
        failed: samples.iter().filter(failed).count(),
        stuck: samples.iter().filter(stuck).count(),
        recovery: (last_trouble + CALM <= end).then(|| last_trouble.saturating_sub(healed)),
        p99: latencies.get(rank).copied().unwrap_or_default(),
        longest: latencies.last().copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn sample(due: u64, took: u64, outcome: Outcome) -> Sample {
        Sample {
            due: ms(due),
            end: ms(due + took),
            outcome,
        }
    }

    fn good(due: u64, took: u64) -> Sample {
        sample(due, took, Outcome::Answered(200))
    }

    #[test]
    fn failed_and_stuck_are_told_apart() {
        let samples = [
            good(0, 5),
            good(1, 250),
            good(2, 251),
            sample(3, 5, Outcome::Answered(502)),
            sample(4, 900, Outcome::Answered(503)),
            sample(5, 900, Outcome::Broken),
            sample(6, 2994, Outcome::Unanswered),
        ];
        let bill = tally(&samples, ms(0), ms(3000));
        assert_eq!((bill.requests, bill.failed, bill.stuck), (7, 3, 2));
        assert_eq!(bill.longest, ms(2994));
    }

    #[test]
    fn recovery_counts_from_the_healing_to_the_last_request_due_that_suffered() {
        let trouble = |due| [good(100, 5), sample(due, 1, Outcome::Broken), good(2900, 5)];
        let recovery = |due| tally(&trouble(due), ms(1000), ms(3000)).recovery;
        assert_eq!(recovery(500), Some(ms(0)), "over before anybody was back");
        assert_eq!(recovery(1300), Some(ms(300)));
        assert_eq!(recovery(2500), Some(ms(1500)));
        assert_eq!(
            recovery(2501),
            None,
            "who knows how long it would have gone on"
        );
        let calm = [good(0, 5)];
        assert_eq!(tally(&calm, ms(1000), ms(3000)).recovery, Some(ms(0)));
    }

    #[test]
    fn the_tail_is_that_of_all_requests() {
        let samples: Vec<_> = (1..=200).map(|took| good(0, took)).collect();
        let bill = tally(&samples, ms(0), ms(3000));
        assert_eq!((bill.p99, bill.longest), (ms(198), ms(200)));
        assert_eq!(tally(&[], ms(0), ms(3000)).p99, ms(0));
    }
}
