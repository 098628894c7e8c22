//! Connections that wait for their next request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use lb_core::backend::Address;
use lb_core::time::{Instant, Timer};

use super::link::{Link, Stream};
use crate::rt::glance;

/// The idle connections of one client: per server a stack, the one used last on top.
///
/// Nobody watches them. One is looked at when it is taken out, and all of them by the sweep.
pub(super) struct Idle<S: Stream, C> {
    stacks: Mutex<Stacks<S>>,
    timer: C,
    /// Connections kept per server.
    per_server: usize,
    /// How long one may wait.
    patience: Duration,
}

type Stacks<S> = BTreeMap<Arc<Address>, Vec<Kept<S>>>;

struct Kept<S: Stream> {
    link: Box<Link<S>>,
    since: Instant,
}

impl<S: Stream, C: Timer> Idle<S, C> {
    pub(super) fn new(timer: C, per_server: usize, patience: Duration) -> Self {
        Self {
            stacks: Mutex::default(),
            timer,
            per_server,
            patience,
        }
    }

    /// The connection to `address` that was used last and still lives.
    pub(super) fn take(&self, address: &Address) -> Option<Box<Link<S>>> {
        let now = self.timer.now();
        loop {
            let mut kept = self.stacks().get_mut(address)?.pop()?;
            if self.still_good(&mut kept, now) {
                return Some(kept.link);
            }
        }
    }

    /// Keeps a connection whose exchange is over, or closes it when there are enough.
    pub(super) fn put(&self, link: Box<Link<S>>) {
        let since = self.timer.now();
        let mut stacks = self.stacks();
        let stack = stacks.entry(link.address.clone()).or_default();
        if stack.len() < self.per_server && since < link.expires {
            stack.push(Kept { link, since });
        }
    }

    /// Closes those that are too old, or that the server closed.
    pub(super) fn sweep(&self) {
        let now = self.timer.now();
        self.stacks().retain(|_, stack| {
            stack.retain_mut(|kept| self.still_good(kept, now));
            !stack.is_empty()
        });
    }

    /// Closes all of them; was there any?
    pub(super) fn clear(&self) -> bool {
        let stacks = std::mem::take(&mut *self.stacks());
        stacks.values().any(|stack| !stack.is_empty())
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.stacks().values().map(Vec::len).sum()
    }

    fn still_good(&self, kept: &mut Kept<S>, now: Instant) -> bool {
        if now >= kept.link.expires || now.saturating_since(kept.since) >= self.patience {
            return false;
        }
        // Whoever sends on it drives it with a waker of its own; nobody is to be woken for an idle one.
        kept.link.drive(&mut Context::from_waker(glance()));
        kept.link.is_idle()
    }

    fn stacks(&self) -> MutexGuard<'_, Stacks<S>> {
        // Nothing is left half done in there by a panic: stacks are only pushed to and popped from.
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
