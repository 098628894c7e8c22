//! The verdict of the probes: so many equal results in a row flip it.

use crate::config::settings::ProbeSettings;

/// What the probes say about a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nothing yet.
    Unknown,
    /// It passes.
    Up,
    /// It fails.
    Down,
}

/// Results in a row that flip a verdict; at least one each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rise: u32,
    pub(crate) fall: u32,
}

impl From<&ProbeSettings> for Limits {
    fn from(settings: &ProbeSettings) -> Self {
        Self {
            rise: settings.rise.get(),
            fall: settings.fall.get(),
        }
    }
}

/// Flips a verdict after enough results in a row against it. The first result of all decides alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracker {
    verdict: Verdict,
    against: u32,
    limits: Limits,
}

impl Tracker {
    pub(crate) fn new(verdict: Verdict, limits: Limits) -> Self {
        Self {
            verdict,
            against: 0,
            limits,
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns how many results in a row did it when this one flips the verdict.
    pub(crate) fn record(&mut self, passed: bool) -> Option<u32> {
        let (agrees, needed) = match self.verdict {
            Verdict::Unknown => (false, 1),
            Verdict::Up => (passed, self.limits.fall),
            Verdict::Down => (!passed, self.limits.rise),
        };
        if agrees {
            self.against = 0;
            return None;
        }
        self.against += 1;
        (self.against >= needed).then(|| self.decide(passed))
    }

    /// Sets the verdict without waiting for more results, and returns how many there were.
    pub(crate) fn decide(&mut self, passed: bool) -> u32 {
        self.verdict = if passed { Verdict::Up } else { Verdict::Down };
        std::mem::take(&mut self.against)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { rise: 2, fall: 3 };

    #[test]
    fn a_verdict_flips_after_enough_results_in_a_row() {
        use Verdict::{Down, Unknown, Up};
        let table: [(Verdict, &[bool], Verdict); 9] = [
            (Unknown, &[true], Up),
            (Unknown, &[false], Down),
            (Up, &[false, false], Up),
            (Up, &[false, false, false], Down),
            (Up, &[false, false, true, false, false], Up),
            (Down, &[true], Down),
            (Down, &[true, true], Up),
            (Down, &[true, false, true], Down),
            (Down, &[true, true, false, false, false], Down),
        ];
        for (start, results, end) in table {
            let mut tracker = Tracker::new(start, LIMITS);
            for &passed in results {
                tracker.record(passed);
            }
            assert_eq!(tracker.verdict(), end, "{start:?} {results:?}");
        }
    }

    #[test]
    fn only_the_result_that_flips_says_so_and_with_how_many() {
        let mut tracker = Tracker::new(Verdict::Unknown, LIMITS);
        assert_eq!(tracker.record(true), Some(1));
        assert_eq!(tracker.record(true), None);
        assert_eq!(
            [false; 4].map(|result| tracker.record(result)),
            [None, None, Some(3), None]
        );
        assert_eq!(
            [true; 2].map(|result| tracker.record(result)),
            [None, Some(2)]
        );
    }

    #[test]
    fn rise_and_fall_of_one_follow_every_result() {
        let mut tracker = Tracker::new(Verdict::Up, Limits { rise: 1, fall: 1 });
        let flips = [false, true, true, false].map(|result| tracker.record(result));
        assert_eq!(flips, [Some(1), Some(1), None, Some(1)]);
    }
}
