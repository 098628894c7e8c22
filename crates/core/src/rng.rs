//! Randomness that is handed in: one small generator, seeded by whoever composes the balancer.
//!
//! It spreads probes and draws request ids and choices. It is no source of secrets.

use std::sync::atomic::{AtomicU64, Ordering};

/// SplitMix64 (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*, OOPSLA 2014) over an
/// atomic counter: shared by reference, without a lock, and the same numbers for the same seed and order of calls.
#[derive(Debug)]
pub struct Rng(AtomicU64);

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

impl Rng {
    /// A generator that always yields the same sequence for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next 64 uniformly distributed bits.
    pub fn next_u64(&self) -> u64 {
        let mut z = self
            .0
            .fetch_add(GAMMA, Ordering::Relaxed)
            .wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero when `bound` is zero.
    ///
    /// Multiply-shift (Lemire 2019) without its rejection step: the bias is below `bound` / 2^64.
    pub fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A generator that goes on as this one would, and leaves this one where it is: to foretell a draw.
    pub fn ahead(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }

    /// An independent generator for one part of the balancer, so that one part's draws do not shift another's.
    pub fn split(&self) -> Self {
        Self::new(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_published_generator() {
        let rng = Rng::new(1234567);
        let first: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(
            first,
            [
                6457827717110365317,
                3203168211198807973,
                9817491932198370423
            ]
        );
    }

    #[test]
    fn a_look_ahead_foretells_and_changes_nothing() {
        let rng = Rng::new(3);
        let foretold = rng.ahead().next_u64();
        assert_eq!(rng.ahead().next_u64(), foretold);
        assert_eq!(rng.next_u64(), foretold);
        assert_ne!(rng.next_u64(), foretold);
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let rng = Rng::new(7);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[usize::try_from(rng.below(5)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(rng.below(0), 0);
    }
}
