//! Checks: what must be true of everything that happened.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_core::event::Exchange;
use lb_core::time::Instant;

use super::executor::lock;
use super::ledger::{Asked, Change, Ledger, Outcome, Seen};

/// What happened, to be judged. Every method panics with what it found.
#[derive(Clone, Debug)]
pub struct Check {
    asked: Vec<Asked>,
    seen: Vec<Seen>,
    changes: Vec<Change>,
    exchanges: Vec<Exchange>,
    violations: Vec<String>,
}

impl Check {
    pub(super) fn new(ledger: &Ledger) -> Self {
        Self {
            asked: lock(&ledger.asked).values().cloned().collect(),
            seen: lock(&ledger.seen).clone(),
            changes: lock(&ledger.changes).clone(),
            exchanges: lock(&ledger.exchanges).clone(),
            violations: ledger.violations(),
        }
    }

    /// The requests of all clients, in the order of their tags.
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// The requests that backends saw, in the order of their arrival.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// The members' changes of state.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The exchanges that the balancer reported.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// No byte was wrong, foreign or missing in a message that looked complete, on either side.
    pub fn nothing_wrong(&self) -> &Self {
        assert_eq!(self.violations, [""; 0], "what must never happen");
        self
    }

    /// Every request has ended, and none by waiting in vain.
    pub fn all_ended(&self) -> &Self {
        for asked in &self.asked {
            match &asked.outcome {
                None => panic!("a request got no answer and no end: {asked:?}"),
                Some(Outcome::TimedOut) => panic!("a request waited in vain: {asked:?}"),
                Some(_) => {}
            }
        }
        self
    }

    /// Every GET got a whole answer from a backend.
    pub fn no_failed_get(&self) -> &Self {
        self.all_ended();
        for asked in self.asked.iter().filter(|asked| asked.idempotent) {
            let fine = match &asked.outcome {
                Some(Outcome::Answered {
                    status, backend, ..
                }) => *status < 500 && backend.is_some(),
                outcome => *outcome == Some(Outcome::Aborted),
            };
            assert!(fine, "a GET failed: {asked:?}");
        }
        self
    }

    /// A request that may not be repeated reached one backend at most; others as often as retries
    /// allow.
    pub fn retries_within(&self, retries: usize) -> &Self {
        let mut where_seen: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for seen in &self.seen {
            where_seen.entry(seen.id).or_default().push(&seen.backend);
        }
        for asked in &self.asked {
            let Some(backends) = where_seen.get(&asked.id) else {
                continue;
            };
            let limit = if asked.idempotent { 1 + retries } else { 1 };
            assert!(
                backends.len() <= limit,
                "request {} was seen at {backends:?}, idempotent: {}",
                asked.id,
                asked.idempotent
            );
        }
        for exchange in &self.exchanges {
            let attempts = usize::try_from(exchange.attempts).unwrap_or(usize::MAX);
            assert!(attempts <= 1 + retries, "too many attempts: {exchange:?}");
        }
        self
    }

    /// No request took longer than `limit`.
    pub fn none_took_longer_than(&self, limit: Duration) -> &Self {
        for asked in &self.asked {
            assert!(asked.took <= limit, "too slow: {asked:?}");
        }
        self
    }

    /// At least `count` requests got a whole answer from a backend: the scenario was not idle.
    pub fn answered_at_least(&self, count: usize) -> &Self {
        let answered = self.asked.iter().filter(|asked| {
            matches!(
                &asked.outcome,
                Some(Outcome::Answered {
                    backend: Some(_),
                    ..
                })
            )
        });
        let answered = answered.count();
        assert!(
            answered >= count,
            "only {answered} answers of {}",
            self.asked.len()
        );
        self
    }

    /// How many requests each backend saw from `from` until `until`.
    pub fn seen_between(&self, from: Instant, until: Instant) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for seen in self
            .seen
            .iter()
            .filter(|seen| from <= seen.at && seen.at < until)
        {
            *counts.entry(seen.backend.clone()).or_default() += 1;
        }
        counts
    }

    /// When a backend saw its first request since `since`.
    pub fn first_seen(&self, backend: &str, since: Instant) -> Option<Instant> {
        self.seen
            .iter()
            .filter(|seen| seen.backend == backend && seen.at >= since)
            .map(|seen| seen.at)
            .min()
    }

    /// Requests that began between `from` and `until`.
    pub fn asked_between(&self, from: Instant, until: Instant) -> impl Iterator<Item = &Asked> {
        self.asked
            .iter()
            .filter(move |asked| from <= asked.at && asked.at < until)
    }
}
