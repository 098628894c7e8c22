//! A member: a backend inside a pool, with its live state.

use std::sync::Arc;

use crate::backend::Backend;

/// A backend inside a pool. It outlives snapshots, so its counters and health survive them.
#[derive(Debug)]
pub struct Member {
    backend: Backend,
    name: Arc<str>,
}

impl Member {
    /// The facts about the server.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The name that logs and metrics show.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}
