//! What happened and has still to be told: in the order in which it happened, by one teller at a time.
//!
//! Whoever makes a transition puts it in while the pool is locked, which is what the order comes from, and tells once
//! it is not. While somebody tells, others leave theirs to that one: nobody waits for a listener, and a listener may
//! make transitions itself. What is told, and to whom, is the caller's business.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// No longer than what happens while one item is told: those who listen must not block.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    waiting: Mutex<VecDeque<T>>,
    /// Held by the teller.
    turn: Mutex<()>,
}

impl<T> Outbox<T> {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            turn: Mutex::default(),
        }
    }

    /// Puts these behind all that were put in before.
    pub(super) fn put(&self, items: impl IntoIterator<Item = T>) {
        self.lock().extend(items);
    }

    /// Tells all that wait, unless somebody else is about to.
    pub(super) fn tell(&self, tell: impl Fn(T)) {
        // Asked again after each turn: who came during its end has left something and gone.
        while !self.lock().is_empty() {
            let Some(_turn) = self.turn() else { return };
            while let Some(item) = self.next() {
                tell(item);
            }
        }
    }

    fn next(&self) -> Option<T> {
        self.lock().pop_front()
    }

    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            // A listener that panicked has heard what it heard; the others are told the rest.
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        // Nothing that can panic runs under this lock but moving items in and out.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(outbox: &Outbox<u32>) -> Vec<u32> {
        let told = Mutex::new(Vec::new());
        outbox.tell(|item| told.lock().unwrap().push(item));
        told.into_inner().unwrap()
    }

    #[test]
    fn what_waits_is_told_once_and_in_order() {
        let outbox = Outbox::new();
        outbox.put([1, 2]);
        outbox.put([3]);
        assert_eq!(told(&outbox), [1, 2, 3]);
        assert_eq!(told(&outbox), [0; 0]);
    }

    #[test]
    fn what_comes_while_somebody_tells_is_told_by_that_one() {
        let outbox = Outbox::new();
        outbox.put([1]);
        let heard = Mutex::new(Vec::new());
        outbox.tell(|item| {
            if item < 3 {
                outbox.put([item + 1]);
                assert_eq!(told(&outbox), [0; 0]);
            }
            heard.lock().unwrap().push(item);
        });
        assert_eq!(heard.into_inner().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn a_listener_that_panics_loses_nothing_but_what_it_was_told() {
        let outbox = Outbox::new();
        outbox.put([1, 2]);
        let listen = std::panic::AssertUnwindSafe(|| outbox.tell(|_| panic!("a bad listener")));
        assert!(std::panic::catch_unwind(listen).is_err());
        assert_eq!(told(&outbox), [2]);
    }

    #[test]
    fn several_threads_leave_nothing_behind() {
        let outbox = Outbox::new();
        let heard = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (outbox, heard) = (&outbox, &heard);
                scope.spawn(move || {
                    for number in 0..1000 {
                        outbox.put([(thread, number)]);
                        outbox.tell(|item| heard.lock().unwrap().push(item));
                    }
                });
            }
        });
        let heard = heard.into_inner().unwrap();
        for thread in 0..4 {
            let own = heard.iter().filter(|item| item.0 == thread);
            assert!(own.map(|item| item.1).eq(0..1000));
        }
    }
}
