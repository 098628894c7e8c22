//! What the pool knows about one member: the facts from which its one visible state follows.

use std::sync::Arc;
use std::time::Duration;

use super::Member;
use crate::error::Cause;
use crate::event::{ProbeFailure, State, Trigger};
use crate::health::normal::{self, Counts};
use crate::health::probe::Probe;
use crate::health::stall::Finding;
use crate::health::tracker::{Tracker, Verdict};
use crate::health::trial::Trials;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) member: Arc<Member>,
    /// The state that was last reported, and since when.
    pub(super) state: State,
    pub(super) since: Instant,
    pub(super) trials: Option<Trials>,
    tracker: Tracker,
    /// Since when a connect failure stands against it.
    suspect: Option<Instant>,
    /// Since when requests wait there in vain.
    stalled: Option<Instant>,
    /// Since when others answer and it does not.
    doubt: Option<Instant>,
    /// How long its answers took, as of the last regular look.
    pub(super) learned: Counts,
    /// When the process itself last answered a probe.
    answered_probe: Instant,
    /// When it last came back. What began before then says nothing about now.
    readmitted: Instant,
}

impl Slot {
    pub(super) fn new(member: Arc<Member>, tracker: Tracker, now: Instant) -> Self {
        let mut slot = Self {
            member,
            state: State::Unknown,
            since: now,
            trials: None,
            tracker,
            suspect: None,
            stalled: None,
            doubt: None,
            learned: Counts::default(),
            answered_probe: Instant::ORIGIN,
            readmitted: Instant::ORIGIN,
        };
        slot.state = slot.follows();
        slot
    }

    /// The state that follows from the facts.
    fn follows(&self) -> State {
        match self.tracker.verdict() {
            Verdict::Down => State::Down,
            _ if self.suspect.is_some() => State::Suspect,
            _ if self.stalled.is_some() => State::Stalled,
            Verdict::Unknown => State::Unknown,
            Verdict::Up => State::Up,
        }
    }

    /// Brings the visible state in line with the facts. Returns the state before if that changed it.
    ///
    /// A stalled member gets trials, and so does a suspect one that nobody probes.
    pub(super) fn settle(&mut self, probed: bool, now: Instant) -> Option<State> {
        let to = self.follows();
        let from = std::mem::replace(&mut self.state, to);
        if from == to {
            return None;
        }
        self.since = now;
        self.trials = match self.state {
            State::Stalled => Some(Trials::after(now)),
            State::Suspect if !probed => Some(Trials::after(now)),
            _ => None,
        };
        if !self.is_out() {
            self.member.open();
            if from != State::Unknown {
                self.readmitted = now;
            }
        }
        Some(from)
    }

    /// Is it suspect, down or stalled?
    pub(super) fn is_out(&self) -> bool {
        !matches!(self.state, State::Up | State::Unknown)
    }

    pub(super) fn is_on_trial(&self) -> bool {
        self.trials.is_some_and(|trials| trials.is_offered())
    }

    /// Since when it counts as stalled, whatever else is wrong with it.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled
    }

    /// The stall guard looks: `pool` is what is normal everywhere, `others_byte` when another member last sent something.
    pub(super) fn look(&mut self, pool: &Counts, others_byte: Instant, now: Instant) -> Finding {
        let signs = self.member.signs(self.answered_probe);
        signs.judge((&self.learned, pool), others_byte, &mut self.doubt, now)
    }

    /// A probe passed. `alone`: nobody is up, so one pass is enough.
    pub(super) fn passed(&mut self, probe: &Probe, alone: bool, now: Instant) -> Option<Trigger> {
        if self.outdates(probe) {
            return None;
        }
        if probe.asks_the_process() {
            self.answered_probe = now;
            self.recover();
        }
        self.suspect = None;
        let count = match self.tracker.record(true) {
            Some(count) => count,
            None if alone && self.tracker.verdict() == Verdict::Down => self.tracker.decide(true),
            None => 1,
        };
        Some(Trigger::ProbesPassed(count))
    }

    /// A probe failed. That leaves a suspect member out, and counts.
    pub(super) fn failed(&mut self, failure: ProbeFailure, now: Instant) -> Option<Trigger> {
        if failure == ProbeFailure::Transport(Cause::Refused) && self.stalled.is_some() {
            self.suspect.get_or_insert(now);
            // A frozen process refuses nothing: whatever was silent there is gone.
            self.recover();
        }
        let count = self.tracker.record(false);
        if count.is_some() {
            self.suspect = None;
        }
        Some(Trigger::ProbesFailed(count.unwrap_or(1), failure))
    }

    /// Did the probe begin before the suspicion? Then it may have met the server that has failed since.
    pub(super) fn outdates(&self, probe: &Probe) -> bool {
        self.suspect.is_some_and(|since| probe.started < since)
    }

    /// A connection for an attempt that was picked at `picked` failed.
    pub(super) fn connect_failed(
        &mut self,
        cause: Cause,
        picked: Instant,
        now: Instant,
    ) -> Option<Trigger> {
        if picked < self.readmitted || self.suspect.is_some() {
            return None;
        }
        if cause == Cause::Refused {
            self.recover();
        }
        if self.tracker.verdict() != Verdict::Down {
            self.suspect = Some(now);
        }
        Some(Trigger::ConnectFailed(cause))
    }

    /// So many requests waited for so long, and nothing came.
    pub(super) fn stall(
        &mut self,
        waiting: u32,
        silence: Duration,
        pool: &Counts,
        now: Instant,
    ) -> Trigger {
        self.member
            .set_trial_wait(normal::patience(&self.learned, pool));
        self.stalled = Some(now);
        self.member.set_stalled(true);
        Trigger::Silent { waiting, silence }
    }

    /// A byte came.
    pub(super) fn answered(&mut self) -> Trigger {
        self.recover();
        Trigger::Answered
    }

    /// The trial request was answered.
    pub(super) fn trial_answered(&mut self) -> Trigger {
        self.suspect = None;
        self.recover();
        Trigger::TrialAnswered
    }

    fn recover(&mut self) {
        self.stalled = None;
        self.member.set_stalled(false);
    }
}
