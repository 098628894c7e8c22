//! The ledger: what clients asked, what backends saw, what the balancer said. Checks read it afterwards.
//!
//! Every byte of a body is a function of its request's id, its direction and its place, so a byte of somebody else's
//! message is seen wherever it turns up.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lb_core::event::{Exchange, Observer, State, Transition};
use lb_core::time::Instant;

use super::executor::lock;
use super::trace::mix;

/// Which way a body goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Up,
    Down,
}

/// The bytes `from..from + count` of the body of request `id`.
pub(super) fn content(id: u64, way: Way, from: u64, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 8);
    let salt = mix(id, way as u64 + 1);
    let mut word = from / 8;
    let skip = usize::try_from(from % 8).unwrap_or(0);
    while bytes.len() < count + skip {
        bytes.extend_from_slice(&mix(salt, word).to_le_bytes());
        word += 1;
    }
    bytes.drain(..skip);
    bytes.truncate(count);
    bytes
}

/// How a request ended, as its client saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A whole answer.
    Answered {
        /// Its status.
        status: u16,
        /// The backend that it came from; `None` is the balancer itself.
        backend: Option<String>,
        /// It carried `Retry-After`.
        retry_after: bool,
    },
    /// The connection broke visibly.
    Broken(String),
    /// Nothing came for longer than any client waits.
    TimedOut,
    /// The client went away by itself.
    Aborted,
}

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its tag.
    pub id: u64,
    /// May it be repeated?
    pub idempotent: bool,
    /// When it began.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
}

/// A request as a backend saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its tag.
    pub id: u64,
    /// Where.
    pub backend: String,
    /// When its head was complete.
    pub at: Instant,
}

/// A member's change of state.
#[derive(Clone, Debug)]
pub struct Change {
    /// When.
    pub at: Instant,
    /// Whose.
    pub member: String,
    /// To what.
    pub to: State,
}

#[derive(Default)]
pub(super) struct Ledger {
    next: AtomicU64,
    pub(super) asked: Mutex<BTreeMap<u64, Asked>>,
    pub(super) seen: Mutex<Vec<Seen>>,
    pub(super) changes: Mutex<Vec<Change>>,
    pub(super) exchanges: Mutex<Vec<Exchange>>,
    violations: Mutex<Vec<String>>,
}

impl Ledger {
    /// Opens a request and gives it its tag.
    pub(super) fn ask(&self, idempotent: bool, at: Instant) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let asked = Asked {
            id,
            idempotent,
            at,
            took: Duration::ZERO,
            outcome: None,
        };
        lock(&self.asked).insert(id, asked);
        id
    }

    pub(super) fn end(&self, id: u64, outcome: Outcome, now: Instant) {
        if let Some(asked) = lock(&self.asked).get_mut(&id) {
            asked.took = now.saturating_since(asked.at);
            asked.outcome = Some(outcome);
        }
    }

    pub(super) fn see(&self, id: u64, backend: &str, at: Instant) {
        let backend = backend.to_owned();
        lock(&self.seen).push(Seen { id, backend, at });
    }

    /// Something happened that must never happen.
    pub(super) fn violation(&self, what: String) {
        lock(&self.violations).push(what);
    }

    pub(super) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }
}

impl Observer for Ledger {
    fn transition(&self, transition: &Transition<'_>) {
        lock(&self.changes).push(Change {
            at: transition.at,
            member: transition.member.to_owned(),
            to: transition.to,
        });
    }

    fn exchange(&self, exchange: &Exchange) {
        lock(&self.exchanges).push(exchange.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_of_a_body_is_the_same_however_it_is_cut() {
        let whole = content(7, Way::Up, 0, 100);
        for from in 0..100 {
            let piece = content(7, Way::Up, from as u64, 100 - from);
            assert_eq!(piece, whole[from..]);
        }
        assert_ne!(whole, content(8, Way::Up, 0, 100));
        assert_ne!(whole, content(7, Way::Down, 0, 100));
    }
}
