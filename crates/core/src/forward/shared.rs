//! What the forwarders of all workers share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::budget::Budget;
use super::hedge::{HedgeCounts, HedgeTally};
use super::replay::Memory;
use crate::config::settings::Settings;
use crate::event::Observer;
use crate::pool::SharedPool;

/// What the forwarders of all workers share: the pool, the retry budget, the replay memory, the observer.
pub struct Shared {
    /// The pool.
    pub pool: Arc<SharedPool>,
    /// Who hears about finished exchanges.
    pub observer: Arc<dyn Observer>,
    pub(super) budget: Budget,
    pub(super) memory: Arc<Memory>,
    pub(super) hedges: HedgeTally,
    cut: AtomicBool,
}

impl Shared {
    /// One for each pool; every worker's [`Forwarder`](super::Forwarder) gets the same.
    pub fn new(
        settings: &Settings,
        pool: Arc<SharedPool>,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            pool,
            observer,
            budget: Budget::new(settings.pool.limits.retry_budget_percent),
            memory: Arc::default(),
            hedges: HedgeTally::default(),
            cut: AtomicBool::new(false),
        })
    }

    /// To be called before a process that stops cuts what still runs: exchanges that are dropped from now on were not left by
    /// their clients, and are told as [`End::Shutdown`](crate::event::End::Shutdown).
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Second attempts beside the first, since the start.
    pub fn hedges(&self) -> HedgeCounts {
        self.hedges.counts()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("pool", self.pool.name())
            .field("budget", &self.budget)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}
