//! How long a member takes to its first byte: a moving mean that peaks at once and fades with time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Instant;

/// In what time a sample loses all but 1/e of its say.
const FADES_IN: Duration = Duration::from_secs(10);
/// Nanoseconds of one tick, as a power of two: about a millisecond, so that ticks wrap after 52 days.
const TICK_BITS: u32 = 20;
/// How far the clocks of two threads may lie apart, in ticks.
const SKEW_MAX: u32 = 1 << 16;

/// The mean and its age in one atomic, so that neither is read without the other: nanoseconds as an `f32` in the upper
/// half, the tick of the last sample in the lower one. Zero until the first sample.
#[derive(Debug, Default)]
pub(super) struct Latency(AtomicU64);

impl Latency {
    /// A first byte came after `sample`.
    ///
    /// A slower one than the mean is believed at once, a faster one as time goes by: the first slow answer must
    /// turn traffic away, and one fast one must not bring all of it back.
    pub(super) fn observe(&self, sample: Duration, now: Instant) {
        let (sample, tick) = (sample.as_nanos().max(1) as f32, tick(now));
        // Contended or not, what counts is in: the sample of somebody else, or ours after his.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
                let (mean, since) = unpack(packed);
                if sample >= mean {
                    return Some(pack(sample, tick));
                }
                let keep = fading(since, tick);
                // Within one tick the first of the faster ones speaks for all.
                (keep < 1.0).then(|| pack(mean * keep + sample * (1.0 - keep), tick))
            });
    }

    /// The mean in nanoseconds, faded since the last sample; `None` when there was none. Reading changes nothing.
    pub(super) fn read(&self, now: Instant) -> Option<f64> {
        match unpack(self.0.load(Ordering::Relaxed)) {
            (0.0, _) => None,
            (mean, since) => Some(f64::from(mean * fading(since, tick(now)))),
        }
    }
}

/// How much is left at `to` of what was whole at `from`.
fn fading(from: u32, to: u32) -> f32 {
    let ticks = to.wrapping_sub(from);
    if ticks == 0 || ticks > u32::MAX - SKEW_MAX {
        return 1.0;
    }
    let fades_in = FADES_IN.as_nanos() as f32 / (1u64 << TICK_BITS) as f32;
    (-(ticks as f32) / fades_in).exp()
}

fn tick(now: Instant) -> u32 {
    (now.as_nanos() >> TICK_BITS) as u32
}

fn pack(mean: f32, tick: u32) -> u64 {
    u64::from(mean.to_bits()) << 32 | u64::from(tick)
}

fn unpack(packed: u64) -> (f32, u32) {
    (f32::from_bits((packed >> 32) as u32), packed as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(ms))
    }

    fn ms(latency: &Latency, now: u64) -> f64 {
        latency.read(at(now)).unwrap() / 1e6
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_a_fast_one_gradually() {
        let latency = Latency::default();
        assert_eq!(latency.read(at(0)), None);
        latency.observe(Duration::from_millis(10), at(0));
        latency.observe(Duration::from_millis(500), at(1000));
        assert!((ms(&latency, 1000) - 500.0).abs() < 0.1);
        latency.observe(Duration::from_millis(10), at(2000));
        // 500 · e^-0.1 + 10 · (1 - e^-0.1)
        assert!(
            (ms(&latency, 2000) - 453.4).abs() < 0.5,
            "{}",
            ms(&latency, 2000)
        );
    }

    #[test]
    fn it_fades_in_the_reading_and_not_by_it() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(100), at(0));
        for _ in 0..3 {
            assert!((ms(&latency, 10_000) - 36.8).abs() < 0.1);
        }
        assert!((ms(&latency, 0) - 100.0).abs() < 0.1);
    }

    #[test]
    fn a_clock_a_little_behind_and_a_wrapped_one_are_no_news() {
        let (latency, days) = (Latency::default(), 24 * 3600 * 1000);
        latency.observe(Duration::from_millis(100), at(52 * days));
        assert!((ms(&latency, 52 * days - 20) - 100.0).abs() < 0.1);
        // Just past the wrap.
        assert!((ms(&latency, 52 * days + 10_000) - 36.8).abs() < 0.1);
        let wraps = (1u64 << (32 + TICK_BITS)) / 1_000_000;
        latency.observe(Duration::from_millis(100), at(wraps - 5000));
        assert!((ms(&latency, wraps + 5000) - 36.8).abs() < 0.2);
    }

    #[test]
    fn a_thousand_samples_of_one_tick_weigh_like_one() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(100), at(0));
        for nanos in 0..1000 {
            let now = Instant::from_nanos((1 << TICK_BITS) + nanos);
            latency.observe(Duration::from_millis(1), now);
        }
        assert!(ms(&latency, 1) > 99.9);
    }
}
