//! Waiting for a condition, never for a time that must suffice.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a scenario waits for what must happen. Generous: only a failure ever takes so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within [`PATIENCE`].
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A value that threads wait on.
#[derive(Debug, Default)]
pub struct Watch<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watch<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the value.
    pub fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.lock())
    }

    /// Changes the value and wakes who waits.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `find` finds something; `None` after `patience`.
    pub fn wait_for<R>(
        &self,
        patience: Duration,
        mut find: impl FnMut(&T) -> Option<R>,
    ) -> Option<R> {
        let end = Instant::now() + patience;
        let mut value = self.lock();
        loop {
            if let Some(found) = find(&value) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            value = self
                .changed
                .wait_timeout(value, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// A door that is shut until somebody opens it, for good.
#[derive(Debug, Default)]
pub struct Gate(Watch<bool>);

impl Gate {
    /// Shut.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through.
    pub fn open(&self) {
        self.0.change(|open| *open = true);
    }

    /// Waits until it is open.
    ///
    /// # Panics
    /// When nobody opens it within [`PATIENCE`].
    pub fn pass(&self) {
        let passed = self.0.wait_for(PATIENCE, |open| open.then_some(()));
        assert!(passed.is_some(), "nobody opened the gate");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_holds_until_it_is_opened() {
        let gate = Gate::new();
        assert_eq!(
            gate.0
                .wait_for(Duration::from_millis(5), |open| open.then_some(())),
            None
        );
        std::thread::scope(|scope| {
            scope.spawn(|| gate.open());
            gate.pass();
        });
    }
}
