//! What is remembered of a request's way, for those who ask why it went as it did.
//!
//! Nothing is, until an attempt fails or a trusted peer asks: a request that succeeds at once pays for one empty pointer.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::decision::{AttemptEnd, Attempted, Decision, Obstacle};
use crate::error::Reason;
use crate::pool::{Lease, Member, SharedPool};

/// The longest value of a decision's header, in bytes.
const VALUE_MAX: usize = 2048;

/// The way of one request.
#[derive(Default)]
pub(super) struct Trail(Option<Box<Steps>>);

#[derive(Default)]
struct Steps {
    /// The last pick, as it was foreseen.
    foreseen: Option<Decision>,
    attempts: Vec<Attempted>,
    stopped: Option<Obstacle>,
}

impl Trail {
    /// What the next pick will be.
    pub(super) fn foresee(&mut self, decision: Decision) {
        self.steps().foreseen = Some(decision);
    }

    /// That was the pick.
    pub(super) fn chosen(&mut self, lease: &Lease) {
        let foreseen = self.0.as_mut().and_then(|steps| steps.foreseen.as_mut());
        if let Some(pick) = foreseen.and_then(|decision| decision.pick.as_mut()) {
            pick.settle(lease.member().name());
        }
    }

    /// An attempt has ended.
    pub(super) fn attempt(&mut self, member: &Member, end: AttemptEnd) {
        let member = Arc::clone(member.name());
        self.steps().attempts.push(Attempted { member, end });
    }

    /// Nobody is asked any more: if that was not the first time, it is no further attempt.
    pub(super) fn ended(&mut self, reason: Reason) {
        if self
            .0
            .as_ref()
            .is_some_and(|steps| !steps.attempts.is_empty())
        {
            self.stop(match reason {
                Reason::TotalTimeout => Obstacle::TimedOut,
                _ => Obstacle::Nobody,
            });
        }
    }

    /// There will be no further one.
    pub(super) fn stop(&mut self, obstacle: Obstacle) {
        self.steps().stopped = Some(obstacle);
    }

    /// The decision behind a local answer for `reason`, if it is one about balancing.
    pub(super) fn refused(&mut self, reason: Reason, pool: &SharedPool) -> Option<Box<Decision>> {
        let gateway = [
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        gateway.contains(&reason.status()).then(|| {
            let foreseen = self.0.as_mut().and_then(|steps| steps.foreseen.take());
            let mut decision = foreseen.unwrap_or_else(|| pool.survey());
            // It goes to the log, too.
            decision.shorten();
            Box::new(self.follow(decision))
        })
    }

    /// The decision behind an answer, if one was foreseen.
    pub(super) fn answered(&mut self, lease: &Lease, status: StatusCode) -> Option<Decision> {
        self.0.as_ref()?.foreseen.as_ref()?;
        self.attempt(lease.member(), AttemptEnd::Answered(status));
        let foreseen = self.steps().foreseen.take()?;
        Some(self.follow(foreseen))
    }

    /// `decision` with what came of it.
    fn follow(&mut self, decision: Decision) -> Decision {
        let steps = self.0.take().unwrap_or_default();
        Decision {
            attempts: steps.attempts,
            stopped: steps.stopped,
            ..decision
        }
    }

    fn steps(&mut self) -> &mut Steps {
        self.0.get_or_insert_default()
    }
}

/// Puts the compact form of `decision` under `name`.
pub(super) fn tell(headers: &mut HeaderMap, name: &HeaderName, decision: &Decision) {
    let mut text = decision.to_string();
    if text.len() > VALUE_MAX {
        text.truncate(text.floor_char_boundary(VALUE_MAX));
        text.push_str("...");
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}
