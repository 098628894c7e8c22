//! Times, counted in buckets a few per cent wide, and what is said of them.

use std::time::Duration;

/// Buckets in each doubling: a bucket is at most 1/32 wide.
const FINE: u64 = 32;

/// How often each latency occurred; exact below 32 × 100 ns, within 3 % above.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    /// Counts one.
    pub(super) fn add(&mut self, latency: Duration) {
        let bucket = bucket(u64::try_from(latency.as_nanos() / 100).unwrap_or(u64::MAX));
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The latency that `share` of all do not exceed; `None` if there is none.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Duration::from_nanos(floor_of(at).saturating_mul(100)))
    }
}

fn bucket(value: u64) -> usize {
    let index = match value.checked_ilog2() {
        Some(power) if value >= FINE => {
            let shift = power - FINE.ilog2();
            u64::from(shift + 1) * FINE + (value >> shift) - FINE
        }
        _ => value,
    };
    usize::try_from(index).expect("some two thousand buckets")
}

/// The smallest value in a bucket.
fn floor_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    (FINE + bucket % FINE) << (bucket / FINE - 1)
}

/// The middle one; the mean of the two in the middle if their number is even. `None` of none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[half]),
        _ => Some(f64::midpoint(values[half - 1], values[half])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_starts_at_most_three_per_cent_below_what_it_holds() {
        for value in (0..5_000).chain((0..60).map(|power| 12_345_678_901_234_567_u64 >> power)) {
            let floor = floor_of(bucket(value));
            assert!(floor <= value, "{value} in the bucket from {floor}");
            assert!(
                (value - floor) as f64 <= value as f64 / 32.0,
                "{value} from {floor}"
            );
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), None);
        for microseconds in 1..=1000 {
            latencies.add(Duration::from_micros(microseconds));
        }
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let found = latencies.quantile(share).unwrap().as_secs_f64() * 1e6;
            assert!(found <= exact && found >= exact * 0.96, "{share}: {found}");
        }
        latencies.add(Duration::MAX);
        assert!(latencies.quantile(1.0).unwrap() > Duration::from_secs(1_000_000));
    }

    #[test]
    fn the_median_needs_no_order_and_bears_an_even_number() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
