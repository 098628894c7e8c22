//! Retry budget: how many retries a pool may spend, as a share of its recent requests.
//!
//! It never decides *whether* a request may be repeated (see [`retry`](super::retry)), only whether there is budget
//! left. It counts in one-second slots that are reused in turn; a slot whose second has passed counts as
//! empty, so there is no background task, and no lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Instant;

/// Seconds that count.
const WINDOW: u64 = 10;
/// Retries per second that are always allowed, so that a quiet pool can retry at all.
const FLOOR_PER_SECOND: u64 = 10;

/// Requests and retries of the last ten seconds.
#[derive(Debug)]
pub(super) struct Budget {
    slots: [AtomicU64; WINDOW as usize],
    percent: u64,
}

impl Budget {
    /// Retries up to `percent` of the requests; zero switches them off.
    pub(super) fn new(percent: u32) -> Self {
        Self {
            slots: Default::default(),
            percent: u64::from(percent),
        }
    }

    /// Counts a request.
    pub(super) fn deposit(&self, now: Instant) {
        self.update(now, |slot| Slot {
            requests: (slot.requests + 1).min(COUNT_MAX),
            ..slot
        });
    }

    /// Takes one retry, if there is budget. Callers that race may both be refused the last one; it is never
    /// spent twice.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        if self.percent == 0 {
            return false;
        }
        self.update(now, |slot| Slot {
            retries: (slot.retries + 1).min(COUNT_MAX),
            ..slot
        });
        let (requests, retries) = self.sum(now);
        let allowed = (requests * self.percent / 100).max(FLOOR_PER_SECOND * WINDOW);
        if retries <= allowed {
            return true;
        }
        self.refund(now);
        false
    }

    /// Gives a retry back that was taken and not made.
    pub(super) fn refund(&self, now: Instant) {
        self.update(now, |slot| Slot {
            retries: slot.retries.saturating_sub(1),
            ..slot
        });
    }

    fn update(&self, now: Instant, change: impl Fn(Slot) -> Slot) {
        let second = second(now);
        // The index is below the length; `get` says so without a panic.
        let Some(slot) = self.slots.get((second % WINDOW) as usize) else {
            return;
        };
        let mut seen = slot.load(Ordering::Relaxed);
        loop {
            let mut current = Slot::unpack(seen);
            if current.second != second & SECOND_MASK {
                current = Slot::at(second);
            }
            let next = change(current).pack();
            match slot.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(actual) => seen = actual,
            }
        }
    }

    fn sum(&self, now: Instant) -> (u64, u64) {
        let newest = second(now);
        self.slots
            .iter()
            .map(|slot| Slot::unpack(slot.load(Ordering::Relaxed)))
            .filter(|slot| newest.wrapping_sub(slot.second) & SECOND_MASK < WINDOW)
            .fold((0, 0), |(requests, retries), slot| {
                (requests + slot.requests, retries + slot.retries)
            })
    }
}

fn second(now: Instant) -> u64 {
    now.as_nanos() / 1_000_000_000
}

/// Bits of each count: a million a second, and it stops there.
const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// The rest is the second: it comes round after half a year, and then a slot is stale for ten seconds at most.
const SECOND_MASK: u64 = (1 << (64 - 2 * COUNT_BITS)) - 1;

/// One second, packed into one atomic so that its parts always belong together.
#[derive(Clone, Copy)]
struct Slot {
    second: u64,
    requests: u64,
    retries: u64,
}

impl Slot {
    fn at(second: u64) -> Self {
        Self {
            second: second & SECOND_MASK,
            requests: 0,
            retries: 0,
        }
    }

    fn unpack(bits: u64) -> Self {
        Self {
            second: bits >> (2 * COUNT_BITS),
            requests: (bits >> COUNT_BITS) & COUNT_MAX,
            retries: bits & COUNT_MAX,
        }
    }

    fn pack(self) -> u64 {
        self.second << (2 * COUNT_BITS) | self.requests << COUNT_BITS | self.retries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    fn withdrawals(budget: &Budget, now: Instant) -> u64 {
        let mut count = 0;
        while budget.withdraw(now) {
            count += 1;
        }
        count
    }

    #[test]
    fn a_quiet_pool_may_retry_ten_times_a_second_over_the_window() {
        let budget = Budget::new(20);
        assert_eq!(withdrawals(&budget, at(0)), 100);
        assert_eq!(withdrawals(&budget, at(9)), 0);
        assert_eq!(withdrawals(&budget, at(10)), 100);
    }

    #[test]
    fn a_busy_pool_may_retry_its_percentage_of_the_last_ten_seconds() {
        let budget = Budget::new(20);
        for second in 0..10 {
            for _ in 0..1000 {
                budget.deposit(at(second));
            }
        }
        assert_eq!(withdrawals(&budget, at(9)), 2000);
        // A second later the first thousand is forgotten, the retries are not.
        assert_eq!(withdrawals(&budget, at(10)), 0);
        // Ten seconds later everything is.
        assert_eq!(withdrawals(&budget, at(25)), 100);
    }

    #[test]
    fn requests_bring_budget_back() {
        let budget = Budget::new(20);
        assert_eq!(withdrawals(&budget, at(3)), 100);
        for _ in 0..505 {
            budget.deposit(at(4));
        }
        assert_eq!(withdrawals(&budget, at(4)), 1);
    }

    #[test]
    fn what_was_not_spent_comes_back() {
        let budget = Budget::new(20);
        assert_eq!(withdrawals(&budget, at(0)), 100);
        budget.refund(at(0));
        assert_eq!(withdrawals(&budget, at(0)), 1);
    }

    #[test]
    fn zero_percent_is_no_retry_at_all() {
        let budget = Budget::new(0);
        budget.deposit(at(0));
        assert!(!budget.withdraw(at(0)));
    }

    #[test]
    fn counts_stop_at_their_largest_value() {
        let budget = Budget::new(100);
        budget.update(at(0), |slot| Slot {
            requests: COUNT_MAX,
            ..slot
        });
        budget.deposit(at(0));
        assert_eq!(budget.sum(at(0)), (COUNT_MAX, 0));
    }

    #[test]
    fn threads_never_spend_more_than_there_is() {
        let budget = Budget::new(20);
        let spent: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100).filter(|_| budget.withdraw(at(1))).count() as u64))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert!(spent <= 100, "{spent}");
        assert!(spent >= 90, "{spent}");
    }
}
