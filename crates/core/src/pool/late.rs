//! The requests that have waited at a member for longer than a fast one does.
//!
//! A lease registers here only after [`LATE`], so a request that is answered at once costs
//! nothing. It is what the stall guard judges by, and whom it wakes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::health::normal::{Class, Times};
use crate::health::stall::LATE;
use crate::time::Instant;

/// Waiting requests in the order of their registration, which is nearly that of their beginning.
#[derive(Debug, Default)]
pub(super) struct Late(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    next: u64,
    waiting: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    sent: Instant,
    /// As what it counts among the answers, because others that came later were answered before it.
    counted: Option<Class>,
    waker: Waker,
}

impl Late {
    /// A request that was sent then waits; returns its key.
    pub(super) fn register(&self, sent: Instant, waker: &Waker) -> u64 {
        let mut list = self.lock();
        let key = list.next;
        list.next += 1;
        let entry = Entry {
            sent,
            counted: None,
            waker: waker.clone(),
        };
        list.waiting.insert(key, entry);
        key
    }

    /// The request is polled by another task now, perhaps.
    pub(super) fn renew(&self, key: u64, waker: &Waker) {
        if let Some(entry) = self.lock().waiting.get_mut(&key) {
            entry.waker.clone_from(waker);
        }
    }

    /// It waits no more; returns as what it was counted.
    pub(super) fn remove(&self, key: u64) -> Option<Class> {
        self.lock().waiting.remove(&key)?.counted
    }

    /// Wakes all that wait.
    pub(super) fn wake(&self) {
        let wakers: Vec<_> = {
            let list = self.lock();
            list.waiting
                .values()
                .map(|entry| entry.waker.clone())
                .collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// When those were sent that were not late yet when the member last sent a byte; the newest first.
    pub(super) fn fresh(&self, last_byte: Instant) -> Vec<Instant> {
        let list = self.lock();
        let sent = list.waiting.values().rev().map(|entry| entry.sent);
        sent.take_while(|&sent| sent + LATE > last_byte).collect()
    }

    /// Counts those that waited while the member sent something else: they are slow, and the member is not.
    pub(super) fn count(&self, last_byte: Instant, times: &Times) {
        for entry in self.lock().waiting.values_mut() {
            let waited = last_byte.saturating_since(entry.sent);
            if waited < LATE {
                continue;
            }
            let class = Class::of(waited);
            match entry.counted.replace(class) {
                None => times.add(class),
                Some(before) if before < class => times.recount(before, class),
                Some(_) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // Every method leaves the list whole at each step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use futures::task::noop_waker_ref;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn fresh_are_those_that_were_not_late_at_the_last_byte() {
        let late = Late::default();
        for ms in [100, 200, 300] {
            late.register(at(ms), noop_waker_ref());
        }
        assert_eq!(late.fresh(at(0)), [at(300), at(200), at(100)]);
        assert_eq!(late.fresh(at(249)), [at(300), at(200)]);
        assert_eq!(late.fresh(at(250)), [at(300)]);
        assert_eq!(late.fresh(at(350)), []);
    }

    #[test]
    fn a_request_that_others_overtake_counts_once_and_as_slow_as_it_was_seen_to_be() {
        let (late, times) = (Late::default(), Times::default());
        let key = late.register(at(100), noop_waker_ref());
        late.count(at(149), &times);
        assert_eq!(times.counts(), Times::default().counts());
        for ms in [200, 200, 5_100] {
            late.count(at(ms), &times);
        }
        let expected = Times::default();
        expected.add(Class::of(Duration::from_secs(5)));
        assert_eq!(times.counts(), expected.counts());
        assert_eq!(late.remove(key), Some(Class::of(Duration::from_secs(5))));
        assert_eq!(late.remove(key), None);
    }
}
