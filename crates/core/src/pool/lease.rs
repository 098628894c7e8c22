//! A lease: one attempt in flight at one member. It reports exactly one outcome.

use http::StatusCode;

use super::Member;
use crate::backend::Backend;
use crate::error::Cause;
use crate::time::Instant;
use std::sync::Arc;

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The backend answered, down to the end of the body.
    Answered(StatusCode),
    /// No connection could be made.
    ConnectFailed(Cause),
    /// The backend failed after the connection stood: reset, invalid, too slow, truncated.
    Failed(Cause),
    /// The client, or this machine, ended it. It says nothing about the backend.
    Abandoned,
}

/// One attempt in flight at one member. Dropping it reports [`Outcome::Abandoned`].
#[derive(Debug)]
pub struct Lease {
    member: Arc<Member>,
}

impl Lease {
    /// The member it counts at.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// The facts about that member's server.
    pub fn backend(&self) -> &Backend {
        self.member.backend()
    }

    /// The member sent something: it is alive, and this attempt no longer waits for its first byte.
    pub fn byte(&mut self, now: Instant) {
        let _ = now;
    }

    /// Ends the attempt.
    pub fn finish(self, outcome: Outcome, now: Instant) {
        let _ = (outcome, now);
    }
}
