//! The trace: a 64-bit hash over everything that happened, in order.
//!
//! Two runs of one seed have the same hash, or something in them did not come from the seed. With `LB_SIM_TRACE` set
//! every event is printed, too: compare the two outputs to find the first difference.

use std::sync::{Mutex, PoisonError};

use lb_core::time::Instant;

/// A running hash over events.
#[derive(Debug)]
pub(super) struct Trace {
    hash: Mutex<u64>,
    print: bool,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self {
            hash: Mutex::new(0xCBF2_9CE4_8422_2325),
            print: std::env::var_os("LB_SIM_TRACE").is_some(),
        }
    }

    /// Adds an event: its name, when it happened, and its numbers.
    pub(super) fn record(&self, event: &str, now: Instant, numbers: &[u64]) {
        let mut hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        *hash = mix(bytes(*hash, event.as_bytes()), now.as_nanos());
        for number in numbers {
            *hash = mix(*hash, *number);
        }
        if self.print {
            super::seed::report(&format!("{:>15} {event} {numbers:?}", now.as_nanos()));
        }
    }

    pub(super) fn hash(&self) -> u64 {
        *self.hash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One number into a hash: multiply and fold, so that order counts.
pub(super) fn mix(hash: u64, number: u64) -> u64 {
    let product = (hash ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ (product >> 29)
}

/// Some bytes into a hash.
pub(super) fn bytes(hash: u64, bytes: &[u8]) -> u64 {
    let hash = mix(hash, bytes.len() as u64);
    bytes.chunks(8).fold(hash, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(hash, u64::from_le_bytes(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_events_counts() {
        let one = Trace::new();
        one.record("a", Instant::ORIGIN, &[1]);
        one.record("b", Instant::ORIGIN, &[2]);
        let other = Trace::new();
        other.record("b", Instant::ORIGIN, &[2]);
        other.record("a", Instant::ORIGIN, &[1]);
        assert_ne!(one.hash(), other.hash());
    }
}
