//! Hedging: when an attempt keeps its client waiting, a second one asks another member, and the first head wins.
//!
//! It is for requests that may be sent twice without a thought: a safe method (RFC 9110 §9.2.1), no body, no upgrade.
//! One hedge a request, paid from the retry budget, so that a pool that is slow as a whole does not get its load twice.
//! After Dean and Barroso, *The Tail at Scale*, Communications of the ACM 56(2), 2013.
//!
//! What follows when both attempts failed is not decided here but in [`retry`](super::retry).

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use http::{Request, Response};

use super::attempt::Failure;
use super::errand::Errand;
use super::{Forwarder, Visit, name_host};
use crate::body::Body;
use crate::config::settings::HedgeAfter;
use crate::decision::AttemptEnd;
use crate::health::outlier::is_gateway_error;
use crate::picker::Tried;
use crate::pool::{Lease, Outcome};
use crate::time::{Instant, Timer};
use crate::transport::Transport;

/// Hedges since the start. Each count only grows; they are not read at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HedgeCounts {
    /// Second attempts that were begun.
    pub started: u64,
    /// Those of them whose answer the client got.
    pub won: u64,
}

/// Where hedges are counted.
#[derive(Debug, Default)]
pub(super) struct HedgeTally {
    started: AtomicU64,
    won: AtomicU64,
}

impl HedgeTally {
    pub(super) fn counts(&self) -> HedgeCounts {
        HedgeCounts {
            started: self.started.load(Ordering::Relaxed),
            won: self.won.load(Ordering::Relaxed),
        }
    }
}

/// What came of an attempt.
pub(super) struct Sent {
    pub(super) lease: Lease,
    pub(super) result: Result<Response<Body>, Failure>,
}

impl Sent {
    /// Is there nothing to hope for from another attempt?
    fn is_good(&self) -> bool {
        matches!(&self.result, Ok(response) if !is_gateway_error(response.status()))
    }
}

/// Whom the attempts of one request may ask, and whether there are two of them.
struct Race<'a> {
    tried: &'a mut Tried,
    retries: u32,
    both: bool,
}

type Racing<'a> = Mutex<Race<'a>>;

fn change<R>(race: &Racing<'_>, change: impl FnOnce(&mut Race<'_>) -> R) -> R {
    change(&mut race.lock().unwrap_or_else(PoisonError::into_inner))
}

impl<T: Transport, C: Timer> Forwarder<T, C> {
    /// After what time an attempt is hedged; `None` where it is not. A client that is kept at its member stays there,
    /// and a trial that nobody waits for tells nothing.
    pub(super) fn hedge_after(
        &self,
        errand: &Errand<C>,
        lease: &Lease,
        retries: u32,
    ) -> Option<Duration> {
        let after = match self.rules.hedge? {
            HedgeAfter::Time(after) => after,
            HedgeAfter::Percentile(_) => self.shared.pool.usual_first_byte()?,
        };
        let may = retries < self.rules.retries
            && errand.may_be_sent_twice()
            && errand.shown.is_none()
            && !lease.is_trial();
        may.then_some(after)
    }

    /// One attempt, and `after` that time another one beside it. Returns whether there was one, too.
    ///
    /// The first head wins; but a 502, 503 or 504 waits for the other attempt and yields to a better answer, because
    /// whoever fails fast must not win over whoever is slow. An attempt that fails leaves the client to the other one.
    /// The loser is dropped, and says nothing about its member. Dropping the future cancels both.
    pub(super) async fn hedged(
        &self,
        after: Duration,
        (lease, request): (Lease, Request<Body>),
        errand: &Errand<C>,
        (tried, retries): (&mut Tried, u32),
        visit: &mut Visit<C>,
    ) -> (Sent, bool) {
        let began = self.timer.now();
        let slow = Arc::clone(lease.member());
        let race = Mutex::new(Race {
            tried,
            retries,
            both: false,
        });
        let total = visit.total;
        let attempt = |lease, request| self.attempt_in(&race, lease, request, errand, total);
        let mut first = pin!(attempt(lease, request));
        let sleep = pin!(self.timer.sleep_until(began + after));
        if let Either::Left((sent, _)) = select(first.as_mut(), sleep).await {
            return (sent, false);
        }
        let Some((lease, request)) = self.hedge(&race, errand) else {
            return (first.await, false);
        };
        visit.record.hedged(&lease);
        self.shared.hedges.started.fetch_add(1, Ordering::Relaxed);
        let hedge = Arc::clone(lease.member());
        let mut second = pin!(attempt(lease, request));
        let (sent, other, by_hedge) = match select(first.as_mut(), second.as_mut()).await {
            Either::Left((sent, _)) => (sent, second, false),
            Either::Right((sent, _)) => (sent, first, true),
        };
        let (sent, by_hedge) = if sent.is_good() {
            if by_hedge {
                let now = self.timer.now();
                slow.note_slowness(now.saturating_since(began), now);
            }
            if visit.explain {
                let loser = if by_hedge { &slow } else { &hedge };
                visit.trail.attempt(loser, AttemptEnd::Dropped);
            }
            (sent, by_hedge)
        } else {
            change(&race, |race| race.both = false);
            let before = self.keep(sent, visit);
            let (sent, last) = self.better(before, other.await, visit);
            (sent, by_hedge != last)
        };
        let won = by_hedge && sent.result.is_ok();
        visit.record.settled(&sent.lease, won);
        if won {
            self.shared.hedges.won.fetch_add(1, Ordering::Relaxed);
        }
        (sent, true)
    }

    /// An attempt that is rescued from a stalled member only while it is the only one: two are each other's rescue.
    async fn attempt_in(
        &self,
        race: &Racing<'_>,
        mut lease: Lease,
        mut request: Request<Body>,
        errand: &Errand<C>,
        total: Instant,
    ) -> Sent {
        let mut rescue = |now| {
            change(race, |race| {
                let alone = !race.both;
                alone
                    .then(|| self.rescue(race.tried, errand, race.retries, now))
                    .flatten()
            })
        };
        let result = self
            .attempt(&mut lease, &mut request, errand, total, &mut rescue)
            .await;
        Sent { lease, result }
    }

    /// Somebody else to ask as well, and what to send there. Nobody hedges while others wait for a place.
    fn hedge(&self, race: &Racing<'_>, errand: &Errand<C>) -> Option<(Lease, Request<Body>)> {
        let (pool, now) = (&self.shared.pool, self.timer.now());
        if !pool.queue().is_empty() || !self.shared.budget.withdraw(now) {
            return None;
        }
        let lease = change(race, |race| {
            let mut pick = || pool.pick_by(errand.key, race.tried, &self.rng, now);
            // Whoever is on trial is no help; the next one may be.
            let lease = pick().and_then(|lease| match lease.is_trial() {
                true => pick().filter(|lease| !lease.is_trial()),
                false => Some(lease),
            })?;
            race.both = true;
            race.retries += 1;
            Some(lease)
        });
        let made = lease.and_then(|lease| {
            let mut request = errand.twin()?;
            if errand.hostless {
                name_host(&mut request, &lease);
            }
            Some((lease, request))
        });
        if made.is_none() {
            self.shared.budget.refund(now);
        }
        made
    }

    /// An answer that may yet be wanted; a failure is reported at once.
    fn keep(&self, mut sent: Sent, visit: &mut Visit<C>) -> Option<Sent> {
        if sent.result.is_ok() {
            sent.lease.byte(self.timer.now());
            return Some(sent);
        }
        self.end(sent, visit);
        None
    }

    /// The answer of two, the later one if both have one; the end of the other is reported. Returns whether it is the later.
    /// A bad answer yields to a rescue, too, because that is paid for and may bring a better one.
    fn better(&self, before: Option<Sent>, last: Sent, visit: &mut Visit<C>) -> (Sent, bool) {
        match before {
            None => (last, true),
            Some(before) if matches!(&last.result, Err(failure) if failure.rescue.is_none()) => {
                self.end(last, visit);
                (before, false)
            }
            Some(before) => {
                self.end(before, visit);
                (last, true)
            }
        }
    }

    /// Reports an attempt of which nobody wants anything any more.
    fn end(&self, sent: Sent, visit: &mut Visit<C>) {
        let now = self.timer.now();
        let end = match &sent.result {
            Ok(response) => AttemptEnd::Answered(response.status()),
            Err(failure) => AttemptEnd::Failed(failure.reason),
        };
        visit.trail.attempt(sent.lease.member(), end);
        let outcome = match &sent.result {
            Ok(response) => Outcome::Answered(response.status()),
            Err(failure) => failure.outcome(visit.hurries(&sent.lease, now)),
        };
        sent.lease.finish(outcome, now);
    }
}
