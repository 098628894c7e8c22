//! One attempt: a send with a deadline over it, and what a failure means.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};

use super::deadline::{Patience, Stage, Verdict, Waiting, judge};
use super::upload::Progress;
use crate::body::Body;
use crate::error::{Cause, Delivered, Fault, Phase, Reason, TransportError};
use crate::pool::{Lease, Outcome};
use crate::time::{Instant, Timer};
use crate::transport::{Attempt, Reuse, Transport};

/// An attempt that brought no response head.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the client is told if nobody else is asked.
    pub(super) reason: Reason,
    /// What the member is told, as a rule.
    outcome: Outcome,
    /// May the backend have seen the request?
    pub(super) delivered: Delivered,
    /// The request, when nothing of it was sent.
    pub(super) unsent: Option<Box<Request<Body>>>,
    /// Who is asked next, when the member stalled and the request is rescued.
    pub(super) rescue: Option<Lease>,
}

impl Failure {
    /// What the member is told. What the queue or earlier attempts left of the total may be too short for anybody to be
    /// judged by: then the attempt was `hurried`.
    pub(super) fn outcome(&self, hurried: bool) -> Outcome {
        match self.timed_out() && hurried {
            true => Outcome::Abandoned,
            false => self.outcome,
        }
    }

    /// The client's or this machine's fault: elsewhere it would be the same.
    pub(super) fn is_ours(&self) -> bool {
        self.outcome == Outcome::Abandoned
    }

    /// Time ran out.
    pub(super) fn timed_out(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Failed(Cause::TimedOut) | Outcome::ConnectFailed(Cause::TimedOut)
        )
    }

    /// What a transport's error means; `upload` is why the request body broke off, if it did.
    fn transport(error: TransportError, upload: Option<Reason>) -> Self {
        let outcome = match error.fault() {
            Fault::Client | Fault::Local => Outcome::Abandoned,
            // A request body that broke off makes the transport give up: that is no news about the backend.
            Fault::Backend if upload.is_some() => Outcome::Abandoned,
            Fault::Backend if error.is_connect_failure() => Outcome::ConnectFailed(error.cause),
            Fault::Backend => Outcome::Failed(error.cause),
        };
        Self {
            reason: upload.unwrap_or_else(|| reason(&error)),
            outcome,
            delivered: error.delivered,
            unsent: error.unsent,
            rescue: None,
        }
    }

    /// If it is time that ran out, and the total is over, the total it was.
    fn within(mut self, total: Instant, now: Instant) -> Self {
        if self.timed_out() && now >= total {
            self.reason = Reason::TotalTimeout;
        }
        self
    }

    /// What a deadline that passed means.
    fn expired(reason: Reason, upload: Option<&Progress>) -> Self {
        let waits_for_client = upload.is_some_and(|upload| upload.stage().0 == Stage::Client);
        let outcome = if reason == Reason::RequestStalled || waits_for_client {
            Outcome::Abandoned
        } else {
            Outcome::Failed(Cause::TimedOut)
        };
        Self {
            reason,
            outcome,
            delivered: Delivered::Maybe,
            unsent: None,
            rescue: None,
        }
    }

    /// The member has stalled, and somebody else takes over.
    fn stalled(rescue: Lease) -> Self {
        Self {
            reason: Reason::FirstByteTimeout,
            outcome: Outcome::Abandoned,
            delivered: Delivered::Maybe,
            unsent: None,
            rescue: Some(rescue),
        }
    }
}

/// What the client is told about a transport's error.
fn reason(error: &TransportError) -> Reason {
    match error.cause {
        Cause::RequestBody => Reason::ClientGone,
        Cause::LocalLimit => Reason::LocalLimit,
        Cause::Unsupported => Reason::Unsupported("the message cannot be carried"),
        Cause::TimedOut if error.is_connect_failure() => Reason::ConnectTimeout,
        Cause::TimedOut if matches!(error.phase, Phase::SendHead | Phase::SendBody) => {
            Reason::SendTimeout
        }
        Cause::TimedOut => Reason::FirstByteTimeout,
        _ if error.is_connect_failure() => Reason::Refused,
        Cause::Invalid => Reason::InvalidAnswer,
        Cause::Refused
        | Cause::Unreachable
        | Cause::NameNotFound
        | Cause::Closed
        | Cause::Other => Reason::BackendClosed,
    }
}

/// What bounds the wait for a response head.
pub(super) struct Limits<'a> {
    /// How the request body stands; `None` without one.
    pub(super) upload: Option<&'a Arc<Progress>>,
    pub(super) patience: &'a Patience,
    /// The time to connect.
    pub(super) connect: Duration,
    /// When the whole exchange must be over.
    pub(super) total: Instant,
}

/// Takes `request`, sends it and waits for the response head, with one sleep at a time. While its member is stalled, every wake
/// asks `rescue` for another one: what it grants ends the attempt.
///
/// Dropping the future cancels the attempt.
pub(super) async fn send<T: Transport, C: Timer>(
    transport: &T,
    timer: &C,
    lease: &mut Lease,
    request: &mut Request<Body>,
    limits: Limits<'_>,
    rescue: &mut (dyn FnMut(Instant) -> Option<Lease> + Send),
) -> Result<Response<Body>, Failure> {
    let Limits {
        upload,
        patience,
        connect,
        total,
    } = limits;
    let began = lease.picked();
    let member = Arc::clone(lease.member());
    let attempt = Attempt {
        backend: member.backend(),
        connect_deadline: total.min(began + connect),
        reuse: Reuse::Allowed,
    };
    // At the first poll no time has passed.
    let mut first = Some(began);
    let mut sending = pin!(transport.send(&attempt, mem::take(request)));
    let mut sleep = pin!(None::<C::Sleep>);
    // Nobody can answer a request that is still going up, so that time is no silence of the member's.
    let mut going_up = upload;
    if going_up.is_some() {
        lease.sending();
    }
    poll_fn(|cx| {
        if let Poll::Ready(result) = sending.as_mut().poll(cx) {
            let upload = upload.and_then(|upload| upload.failure());
            return Poll::Ready(
                result
                    .map_err(|error| Failure::transport(error, upload).within(total, timer.now())),
            );
        }
        if going_up.is_some_and(|upload| upload.stage().0 == Stage::Sent) {
            going_up = None;
            lease.sent(timer.now());
            sleep.set(None);
        }
        let mut now = first.take().unwrap_or_else(|| timer.now());
        loop {
            if lease.is_stuck(cx.waker(), now)
                && let Some(next) = rescue(now)
            {
                return Poll::Ready(Err(Failure::stalled(next)));
            }
            if let Some(running) = sleep.as_mut().as_pin_mut() {
                if running.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                sleep.set(None);
                now = timer.now();
                continue;
            }
            let waiting = Waiting {
                began,
                connected_by: attempt.connect_deadline,
                total,
                upload: upload.map(|upload| upload.stage()),
            };
            match judge(&waiting, patience, now) {
                Verdict::Wait(until) => {
                    let until = lease.stuck_at(now).map_or(until, |at| at.min(until));
                    sleep.set(Some(timer.sleep_until(until)));
                }
                Verdict::Expired(reason) => {
                    let upload = upload.map(|upload| &**upload);
                    return Poll::Ready(Err(Failure::expired(reason, upload)));
                }
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_transport_errors() {
        use Cause::*;
        let table = [
            (
                Phase::Connect,
                Refused,
                Reason::Refused,
                Outcome::ConnectFailed(Refused),
            ),
            (
                Phase::Resolve,
                NameNotFound,
                Reason::Refused,
                Outcome::ConnectFailed(NameNotFound),
            ),
            (
                Phase::Connect,
                TimedOut,
                Reason::ConnectTimeout,
                Outcome::ConnectFailed(TimedOut),
            ),
            (
                Phase::Connect,
                LocalLimit,
                Reason::LocalLimit,
                Outcome::Abandoned,
            ),
            (
                Phase::SendHead,
                Closed,
                Reason::BackendClosed,
                Outcome::Failed(Closed),
            ),
            (
                Phase::SendBody,
                TimedOut,
                Reason::SendTimeout,
                Outcome::Failed(TimedOut),
            ),
            (
                Phase::SendBody,
                RequestBody,
                Reason::ClientGone,
                Outcome::Abandoned,
            ),
            (
                Phase::ReceiveHead,
                Closed,
                Reason::BackendClosed,
                Outcome::Failed(Closed),
            ),
            (
                Phase::ReceiveHead,
                TimedOut,
                Reason::FirstByteTimeout,
                Outcome::Failed(TimedOut),
            ),
            (
                Phase::ReceiveHead,
                Invalid,
                Reason::InvalidAnswer,
                Outcome::Failed(Invalid),
            ),
        ];
        for (phase, cause, reason, outcome) in table {
            let failure = Failure::transport(TransportError::delivered(phase, cause), None);
            assert_eq!(
                (failure.reason, failure.outcome),
                (reason, outcome),
                "{phase:?} {cause:?}"
            );
        }
    }

    #[test]
    fn a_request_body_that_broke_off_is_not_the_backends_fault() {
        let error = TransportError::delivered(Phase::SendBody, Cause::Closed);
        let failure = Failure::transport(error, Some(Reason::BodyTooLarge));
        assert_eq!(failure.reason, Reason::BodyTooLarge);
        assert_eq!(failure.outcome, Outcome::Abandoned);
        assert!(failure.is_ours());
    }
}
