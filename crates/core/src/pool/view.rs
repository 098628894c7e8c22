//! What logs, metrics and people read about a pool.

use std::sync::Arc;

use crate::event::{State, Trigger};
use crate::time::Instant;

/// One member at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberView {
    /// The member's name.
    pub name: Arc<str>,
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Attempts in flight.
    pub in_flight: u32,
    /// Those of them whose first byte has not come.
    pub waiting: u32,
    /// The adaptive limit on attempts in flight, whether it is applied or only observed; `None` when it is off.
    pub adaptive_limit: Option<u32>,
    /// What happened so far.
    pub counters: Counters,
}

/// What one member has been through lately.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// The member's name.
    pub name: Arc<str>,
    /// Its last transitions, at most 32, the oldest first.
    pub passages: Vec<Passage>,
}

/// One transition of a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passage {
    /// The state it left.
    pub from: State,
    /// The state it entered.
    pub to: State,
    /// Why.
    pub trigger: Trigger,
    /// When.
    pub at: Instant,
}

/// What happened at a member since the start. Each count only grows; they are not read at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Attempts sent there.
    pub picks: u64,
    /// Attempts that were answered to the end.
    pub answered: u64,
    /// Those of them that were answered 502, 503 or 504.
    pub gateway_errors: u64,
    /// Attempts that could not connect.
    pub connect_failed: u64,
    /// Attempts that failed once the connection stood.
    pub failed: u64,
    /// Attempts that the client, or this machine, gave up.
    pub abandoned: u64,
    /// Probes that passed.
    pub probes_passed: u64,
    /// Probes that failed.
    pub probes_failed: u64,
}
