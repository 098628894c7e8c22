//! The record of one exchange: filled along its way, handed to the observer exactly once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::Shared;
use crate::decision::Decision;
use crate::error::{BodyCause, Reason};
use crate::event::{End, Exchange, Hedge};
use crate::pool::{Lease, Outcome};
use crate::time::{Instant, Timer};

/// An open record. Dropping it reports who ended the exchange: mostly a client that went away.
pub(super) struct Record<C: Timer> {
    /// Nothing where nobody wants to hear of it. Boxed, because it is moved along with the exchange, and large.
    open: Option<Box<(Arc<Shared>, Exchange)>>,
    timer: C,
}

impl<C: Timer> Record<C> {
    pub(super) fn open(
        shared: &Arc<Shared>,
        timer: &C,
        head: &Parts,
        id: &HeaderValue,
        client: SocketAddr,
        now: Instant,
    ) -> Self {
        let open = shared.observer.wants_exchanges().then(|| {
            let exchange = Exchange {
                started: now,
                duration: Duration::ZERO,
                request_id: id.clone(),
                client,
                method: head.method.clone(),
                uri: head.uri.clone(),
                status: None,
                body_bytes: 0,
                pool: Arc::clone(shared.pool.name()),
                member: None,
                attempts: 0,
                hedge: None,
                reason: None,
                decision: None,
                end: End::ClientGone,
            };
            Box::new((Arc::clone(shared), exchange))
        });
        Self {
            open,
            timer: timer.clone(),
        }
    }

    /// Another attempt begins.
    pub(super) fn attempt(&mut self, lease: &Lease) {
        if let Some((_, exchange)) = self.open.as_deref_mut() {
            exchange.attempts = exchange.attempts.saturating_add(1);
            exchange.member = Some(Arc::clone(lease.member().name()));
        }
    }

    /// A second attempt begins beside the one that runs.
    pub(super) fn hedged(&mut self, lease: &Lease) {
        self.attempt(lease);
        if let Some((_, exchange)) = self.open.as_deref_mut() {
            exchange.hedge = Some(Hedge::Lost);
        }
    }

    /// Of two attempts that ran side by side this one counts; it `won` if it is the second and has an answer.
    pub(super) fn settled(&mut self, lease: &Lease, won: bool) {
        if let Some((_, exchange)) = self.open.as_deref_mut() {
            exchange.member = Some(Arc::clone(lease.member().name()));
            if won {
                exchange.hedge = Some(Hedge::Won);
            }
        }
    }

    /// The answer's head is there.
    pub(super) fn answered(&mut self, status: StatusCode) {
        if let Some((_, exchange)) = self.open.as_deref_mut() {
            exchange.status = Some(status);
        }
    }

    /// So many more bytes were handed to the client.
    pub(super) fn bytes(&mut self, count: u64) {
        if let Some((_, exchange)) = self.open.as_deref_mut() {
            exchange.body_bytes = exchange.body_bytes.saturating_add(count);
        }
    }

    /// Does anybody want to hear of it?
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The answer is a local one, for this reason and by this decision, and that was all.
    pub(super) fn refused(
        &mut self,
        reason: Reason,
        decision: Option<Box<Decision>>,
        body_bytes: u64,
        now: Instant,
    ) {
        if let Some((_, exchange)) = self.open.as_deref_mut() {
            exchange.reason = Some(reason);
            exchange.decision = decision;
        }
        if reason == Reason::ClientGone {
            // Nobody is there to read the answer: 499 in other balancers' logs.
            self.close(End::ClientGone, now);
        } else {
            self.answered(reason.status());
            self.bytes(body_bytes);
            self.close(End::Complete, now);
        }
    }

    /// The exchange is over; later calls do nothing.
    pub(super) fn close(&mut self, end: End, now: Instant) {
        if let Some(open) = self.open.take() {
            let (shared, mut exchange) = *open;
            exchange.duration = now.saturating_since(exchange.started);
            exchange.end = end;
            shared.observer.exchange(&exchange);
        }
    }

    /// What it means that the exchange is dropped now.
    fn dropped(&self) -> End {
        if std::thread::panicking() {
            return End::Panicked;
        }
        match self.open.as_deref() {
            Some((shared, _)) if shared.is_cut() => End::Shutdown,
            _ => End::ClientGone,
        }
    }
}

impl<C: Timer> Drop for Record<C> {
    fn drop(&mut self) {
        if self.open.is_some() {
            let end = self.dropped();
            if end == End::Panicked {
                // What a front end answers that catches it.
                self.answered(Reason::Internal.status());
            }
            let now = self.timer.now();
            self.close(end, now);
        }
    }
}

/// What is settled when an answer ends: the attempt's lease and the exchange's record.
pub(super) struct Ending<C: Timer> {
    lease: Option<Lease>,
    record: Record<C>,
    status: StatusCode,
    /// Who drops it later than this has waited too long for a client that took nothing.
    until: Instant,
}

impl<C: Timer> Ending<C> {
    /// The head of the answer has come.
    pub(super) fn new(
        mut lease: Lease,
        mut record: Record<C>,
        status: StatusCode,
        now: Instant,
    ) -> Self {
        lease.byte(now);
        record.answered(status);
        Self {
            lease: Some(lease),
            record,
            status,
            until: Instant::NEVER,
        }
    }

    /// A limit for all of it.
    pub(super) fn must_be_by(&mut self, until: Instant) {
        self.until = until;
    }

    /// The backend sent something, so many bytes of it for the client.
    pub(super) fn progress(&mut self, bytes: u64, now: Instant) {
        if let Some(lease) = &mut self.lease {
            lease.byte(now);
        }
        self.record.bytes(bytes);
    }

    /// All of it has been handed on.
    pub(super) fn complete(&mut self, now: Instant) {
        self.settle(Outcome::Answered(self.status), End::Complete, now);
    }

    /// It broke off. Later calls do nothing.
    pub(super) fn settle(&mut self, outcome: Outcome, end: End, now: Instant) {
        if let Some(lease) = self.lease.take() {
            lease.finish(outcome, now);
        }
        self.record.close(end, now);
    }
}

impl<C: Timer> Drop for Ending<C> {
    fn drop(&mut self) {
        if self.lease.is_some() {
            let now = self.record.timer.now();
            let end = if now < self.until {
                self.record.dropped()
            } else {
                End::Truncated(BodyCause::Deadline)
            };
            self.settle(Outcome::Abandoned, end, now);
        }
    }
}
