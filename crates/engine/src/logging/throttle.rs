//! Lines that a stranger can cause: one a second, and a count of the others.

use std::sync::atomic::{AtomicU64, Ordering};

use lb_core::time::Instant;

/// Lets one line a second through.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// The second after the one in which a line went through; zero before the first.
    next: AtomicU64,
    unsaid: AtomicU64,
}

impl Throttle {
    /// May a line be written `now`? If so, how many were not since the last one.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let second = now.as_nanos() / 1_000_000_000;
        if self.next.fetch_max(second + 1, Ordering::Relaxed) > second {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_line_a_second_goes_through_and_the_others_are_counted() {
        let throttle = Throttle::default();
        let at = |ms| Instant::ORIGIN + Duration::from_millis(ms);
        let said: Vec<_> = [0, 1, 999, 1_000, 1_500, 4_000]
            .map(|ms| throttle.admit(at(ms)))
            .into();
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
