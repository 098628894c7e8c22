//! A member's adaptive limit: the [rule](crate::limit::concurrency), shared by all who report to it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::settings::{self, AdaptiveMode};
use crate::limit::concurrency::{Bounds, Gradient, Step};
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Adaptive {
    /// Does the member keep to it?
    pub(super) applied: bool,
    limit: AtomicU32,
    gradient: Mutex<Gradient>,
}

impl Adaptive {
    /// `None` when it is off.
    pub(super) fn new(settings: settings::Adaptive) -> Option<Box<Self>> {
        let applied = match settings.mode {
            AdaptiveMode::Off => return None,
            AdaptiveMode::Observe => false,
            AdaptiveMode::On => true,
        };
        let (min, max) = (settings.min, settings.max);
        Some(Box::new(Self {
            applied,
            limit: AtomicU32::new(max),
            gradient: Mutex::new(Gradient::new(Bounds { min, max }, applied)),
        }))
    }

    /// The limit as of now.
    pub(super) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// A first byte came after `time`, with so many attempts in flight. Returns a step when there is one.
    pub(super) fn sample(&self, time: Duration, in_flight: u32, now: Instant) -> Option<Step> {
        // A sample that panicked is lost, and the next ones are as good.
        let mut gradient = self.gradient.lock().unwrap_or_else(PoisonError::into_inner);
        let step = gradient.sample(time, in_flight, now)?;
        self.limit.store(step.limit, Ordering::Relaxed);
        Some(step)
    }

    /// The limit leaves its floor in time, also where no first byte comes.
    pub(super) fn wake(&self, now: Instant) {
        let mut gradient = self.gradient.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(step) = gradient.wake(now) {
            self.limit.store(step.limit, Ordering::Relaxed);
        }
    }
}
