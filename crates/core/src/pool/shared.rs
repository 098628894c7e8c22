//! The pool as everybody shares it: one mutex for transitions, one published snapshot for picks.

use std::sync::Arc;

use super::Lease;
use crate::config::settings::PoolSettings;
use crate::event::Observer;
use crate::picker::Tried;
use crate::rng::Rng;
use crate::time::Instant;

/// A pool shared by all workers and the monitor.
pub struct SharedPool {
    name: Arc<str>,
}

impl SharedPool {
    /// A pool whose members are unknown, or up when it does not probe.
    pub fn new(
        settings: &PoolSettings,
        rng: Rng,
        observer: Arc<dyn Observer>,
        now: Instant,
    ) -> Arc<Self> {
        let _ = (rng, observer, now);
        Arc::new(Self {
            name: (&*settings.name).into(),
        })
    }

    /// The pool's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Chooses a member for one attempt and counts it there; `None` when nobody is eligible or all eligible
    /// members are in `tried`. The chosen one is added to `tried`.
    pub fn pick(self: &Arc<Self>, tried: &mut Tried, rng: &Rng, now: Instant) -> Option<Lease> {
        let _ = (tried, rng, now);
        None
    }
}
