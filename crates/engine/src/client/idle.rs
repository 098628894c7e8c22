//! Connections that wait for their next request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use lb_core::backend::Address;
use lb_core::time::{Instant, Timer};

use super::habit::Habit;
use super::link::Link;
use crate::http1::Stream;
use crate::rt::glance;

/// A server that closes a connection so long after a request was sent on it has read the request.
const CROSSING: Duration = Duration::from_secs(1);

/// How long those may rest of which there are more than are to be kept.
const SURPLUS_REST: Duration = Duration::from_secs(2);

/// The idle connections of one client: per server a stack, the one used last on top.
///
/// Nobody watches them. One is looked at when it is taken out, and all of them by the sweep. What is seen then, or under a
/// request, of a server's [`Habit`] outlives its connections.
///
/// Only the sweep closes those of which there are too many, once they were not needed for a while: under load
/// connections come back and go out again in bursts, and who closes the top of each burst opens it anew. There are
/// never more than were in use at a time.
pub(super) struct Idle<S: Stream, C> {
    stacks: Mutex<Stacks<S>>,
    timer: C,
    /// Connections kept per server, where they are not needed right now.
    per_server: usize,
    /// How long one may wait.
    patience: Duration,
}

type Stacks<S> = BTreeMap<Arc<Address>, Stack<S>>;

struct Stack<S: Stream> {
    kept: Vec<Kept<S>>,
    habit: Habit,
}

struct Kept<S: Stream> {
    link: Box<Link<S>>,
    since: Instant,
    /// When it was last seen to live.
    seen: Instant,
}

impl<S: Stream> Default for Stack<S> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            habit: Habit::default(),
        }
    }
}

impl<S: Stream> Stack<S> {
    fn take(&mut self, patience: Duration, now: Instant) -> Option<Box<Link<S>>> {
        while let Some(mut kept) = self.kept.pop() {
            if kept.is_good(&mut self.habit, patience, now) {
                kept.link.taken = Some((now, now.saturating_since(kept.since)));
                return Some(kept.link);
            }
        }
        None
    }

    fn sweep(&mut self, per_server: usize, patience: Duration, now: Instant) {
        let habit = &mut self.habit;
        self.kept
            .retain_mut(|kept| kept.is_good(habit, patience, now));
        // Those below have rested longest.
        let rested = self
            .kept
            .partition_point(|kept| now.saturating_since(kept.since) >= SURPLUS_REST);
        let surplus = self.kept.len().saturating_sub(per_server);
        self.kept.drain(..surplus.min(rested));
    }
}

impl<S: Stream> Kept<S> {
    fn is_good(&mut self, habit: &mut Habit, patience: Duration, now: Instant) -> bool {
        let patience = [habit.rest(now), self.link.rest]
            .into_iter()
            .flatten()
            .fold(patience, Duration::min);
        if now >= self.link.expires || now.saturating_since(self.since) >= patience {
            return false;
        }
        // Whoever sends on it polls it with a waker of its own; nobody is to be woken for an idle one.
        if self.link.check(&mut Context::from_waker(glance())).is_err() {
            let rested = self.seen.saturating_since(self.since);
            habit.closed(self.link.served, rested, now);
            return false;
        }
        self.seen = now;
        true
    }
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
        self.stacks().get_mut(address)?.take(self.patience, now)
    }

    /// Keeps a connection whose exchange is over, or closes it when none are kept, or its server is about to.
    pub(super) fn put(&self, mut link: Box<Link<S>>) {
        let since = self.timer.now();
        link.served = link.served.saturating_add(1);
        let mut stacks = self.stacks();
        let stack = stacks.entry(link.address.clone()).or_default();
        let used_up = stack
            .habit
            .requests(since)
            .is_some_and(|most| link.served >= most);
        if self.per_server > 0 && since < link.expires && !used_up {
            stack.kept.push(Kept {
                link,
                since,
                seen: since,
            });
        }
    }

    /// A connection was closed before its answer began. If it had been kept, the close and the request may have crossed:
    /// then it is one of the server's habit.
    pub(super) fn closed(&self, link: &Link<S>) {
        let now = self.timer.now();
        if let Some((taken, rested)) = link.taken
            && now.saturating_since(taken) < CROSSING
        {
            let mut stacks = self.stacks();
            let stack = stacks.entry(link.address.clone()).or_default();
            stack.habit.closed(link.served, rested, now);
        }
    }

    /// Closes those that are too old, or that the server closed.
    pub(super) fn sweep(&self) {
        let now = self.timer.now();
        self.stacks().retain(|_, stack| {
            stack.sweep(self.per_server, self.patience, now);
            !stack.kept.is_empty() || !stack.habit.is_unknown()
        });
    }

    /// Closes all of them; was there any?
    pub(super) fn clear(&self) -> bool {
        let mut closed = Vec::new();
        for stack in self.stacks().values_mut() {
            closed.append(&mut stack.kept);
        }
        !closed.is_empty()
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.stacks().values().map(|stack| stack.kept.len()).sum()
    }

    fn stacks(&self) -> MutexGuard<'_, Stacks<S>> {
        // Nothing is left half done in there by a panic: stacks are only pushed to and popped from.
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
