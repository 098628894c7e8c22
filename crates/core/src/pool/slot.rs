//! What the pool knows about one member: the facts from which its one visible state follows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Member;
use super::view::Passage;
use crate::config::settings::{Passive, ProbeSettings};
use crate::error::Cause;
use crate::event::{Command, ProbeFailure, State, Trigger};
use crate::health::alarm::Alarms;
use crate::health::inquiry::Inquiry;
use crate::health::normal::{self, Counts};
use crate::health::outlier::{Ejections, Seen};
use crate::health::probe::{Finding, Probe};
use crate::health::stall;
use crate::health::tracker::{Tracker, Verdict};
use crate::health::trial::Trials;
use crate::rng::Rng;
use crate::time::Instant;

/// Transitions that are remembered.
const PASSAGES_MAX: usize = 32;

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) member: Arc<Member>,
    /// The state that was last reported, and since when.
    pub(super) state: State,
    pub(super) since: Instant,
    pub(super) trials: Option<Trials>,
    /// Is it in the snapshot?
    pub(super) published: bool,
    /// The last transitions, the oldest first.
    pub(super) passages: VecDeque<Passage>,
    tracker: Tracker,
    /// As it was before the first probe.
    untold: Tracker,
    /// What it was last asked, if that was not to come back.
    asked: Option<Command>,
    /// What was probed before it was asked back says nothing.
    asked_back: Instant,
    /// Something happened to it from which a process comes back cold.
    cold: bool,
    /// Since when a connect failure stands against it.
    suspect: Option<Instant>,
    /// Since when requests wait there in vain.
    stalled: Option<Instant>,
    /// How often that turned out wrong.
    alarms: Alarms,
    /// Since when others answer and it does not.
    doubt: Option<Instant>,
    /// How long its answers took, as of the last regular look.
    pub(super) learned: Counts,
    ejections: Ejections,
    /// What all others had been counted when it was last ejected.
    others_before: Seen,
    /// What had been counted when the window began, and when the one before it did.
    before_window: Seen,
    before_last_window: Seen,
    /// How long its answers had taken when the window began.
    learned_before_window: Counts,
    /// When the process itself last answered a probe.
    answered_probe: Instant,
    /// When the running probe began that only the process can answer.
    probing: Option<Instant>,
    /// The next probe must be such a one.
    needs_answer: bool,
    /// What the stall guard asks about it.
    pub(super) inquiry: Option<Inquiry>,
}

impl Slot {
    pub(super) fn new(member: Arc<Member>, tracker: Tracker, now: Instant) -> Self {
        let mut slot = Self {
            member,
            state: State::Unknown,
            since: now,
            trials: None,
            published: false,
            passages: VecDeque::new(),
            tracker,
            untold: tracker,
            asked: None,
            asked_back: Instant::ORIGIN,
            cold: false,
            suspect: None,
            stalled: None,
            alarms: Alarms::default(),
            doubt: None,
            learned: Counts::default(),
            ejections: Ejections::default(),
            others_before: Seen::default(),
            before_window: Seen::default(),
            before_last_window: Seen::default(),
            learned_before_window: Counts::default(),
            answered_probe: Instant::ORIGIN,
            probing: None,
            needs_answer: false,
            inquiry: None,
        };
        slot.state = slot.follows();
        slot
    }

    /// The state that follows from the facts.
    fn follows(&self) -> State {
        match self.tracker.verdict() {
            _ if self.asked == Some(Command::Maintain) => State::Maintenance,
            _ if self.asked.is_some() => State::Draining,
            Verdict::Down => State::Down,
            _ if self.ejections.until().is_some() => State::Ejected,
            _ if self.suspect.is_some() => State::Suspect,
            _ if self.stalled.is_some() => State::Stalled,
            Verdict::Unknown => State::Unknown,
            Verdict::Up => State::Up,
        }
    }

    /// Brings the visible state in line with the facts. Returns the state before if that changed it.
    ///
    /// A stalled member gets trials, and so does a suspect one that nobody probes, and an ejected one after its time.
    pub(super) fn settle(&mut self, probed: bool, now: Instant) -> Option<State> {
        let to = self.follows();
        let from = std::mem::replace(&mut self.state, to);
        if from == to {
            return None;
        }
        self.since = now;
        self.member.set_ejected(to == State::Ejected);
        self.trials = match self.state {
            State::Ejected => self.ejections.until().map(Trials::at),
            State::Stalled => Some(Trials::after(now)),
            State::Suspect if !probed => Some(Trials::after(now)),
            _ => None,
        };
        if !self.is_out() {
            self.member.open();
            self.member.set_stalled(self.stalled.is_some());
            if from != State::Unknown {
                self.member.readmit(now);
                self.start_over();
            }
        }
        match to {
            State::Up if std::mem::take(&mut self.cold) => self.member.start_slowly(now),
            // A process that was merely silent for a while is as warm as it was.
            State::Up | State::Unknown | State::Stalled | State::Draining => {}
            State::Down | State::Suspect | State::Ejected | State::Maintenance => self.cold = true,
        }
        Some(from)
    }

    /// Remembers a transition that happened just now.
    pub(super) fn remember(&mut self, passage: Passage) {
        if self.passages.len() == PASSAGES_MAX {
            self.passages.pop_front();
        }
        self.passages.push_back(passage);
    }

    /// Does somebody want it to be in?
    pub(super) fn is_wanted(&self) -> bool {
        self.asked.is_none()
    }

    pub(super) fn is_backup(&self) -> bool {
        self.member.backend().backup
    }

    /// Somebody asks something of it.
    pub(super) fn ask(&mut self, command: Command, now: Instant) -> Trigger {
        let before = self.asked;
        self.asked = Some(command).filter(|command| *command != Command::Ready);
        if before == Some(Command::Maintain) && self.asked != before {
            // Whatever was known is out of date.
            self.tracker = self.untold;
            self.suspect = None;
            self.ejections = Ejections::default();
            self.recover();
            self.asked_back = now;
        }
        Trigger::Asked(command)
    }

    /// Nobody is eligible, and requests come anyway: a byte brings back whom only a connect failure keeps out.
    pub(super) fn try_anyway(&mut self) {
        self.member.open();
        if let Some(trials) = &mut self.trials {
            trials.withdraw();
        }
        if self.state == State::Suspect {
            self.member.await_byte();
        }
    }

    /// One request may find out whether it is back.
    pub(super) fn offer_trial(&mut self) {
        if let Some(trials) = &mut self.trials {
            trials.offer();
            self.member.offer_trial();
        }
    }

    /// Is it out, for whatever reason?
    pub(super) fn is_out(&self) -> bool {
        self.state.is_out()
    }

    pub(super) fn is_on_trial(&self) -> bool {
        self.trials.is_some_and(|trials| trials.is_offered())
    }

    /// Since when it counts as stalled, whatever else is wrong with it.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled
    }

    /// The stall guard looks: `pool` is what is normal everywhere, `others_byte` when another member last sent something;
    /// `may_ask`: it may have a question of its own.
    pub(super) fn look(
        &mut self,
        pool: &Counts,
        others_byte: Instant,
        may_ask: bool,
        now: Instant,
    ) -> stall::Finding {
        let signs = self.member.signs(self.answered_probe);
        let normal = (&self.learned, pool);
        let mut finding = signs.judge(normal, others_byte, &mut self.doubt, now);
        if may_ask {
            let (probing, inquiry) = (self.probing, &mut self.inquiry);
            finding = finding.and(signs.inquire(normal, others_byte, probing, inquiry, now));
        } else {
            self.inquiry = None;
        }
        finding.after(self.alarms.needed(now), now)
    }

    /// Its process is to be asked next.
    pub(super) fn demand_answer(&mut self) {
        self.needs_answer = true;
    }

    /// A probe starts: must the process itself answer it?
    pub(super) fn probe_starts(&mut self, settings: &Arc<ProbeSettings>, now: Instant) -> Probe {
        let needs_answer = std::mem::take(&mut self.needs_answer) || self.stalled.is_some();
        let probe = Probe {
            member: Arc::clone(&self.member),
            settings: Arc::clone(settings),
            started: now,
            needs_answer,
        };
        self.probing = probe.asks_the_process().then_some(now);
        if let (Some(inquiry), Some(began)) = (&mut self.inquiry, self.probing) {
            inquiry.ask(began);
        }
        probe
    }

    /// The probe has this verdict: did the process answer, well or not?
    pub(super) fn probe_ends(&mut self, probe: &Probe, finding: Finding, now: Instant) -> bool {
        self.probing = None;
        let answered = probe.asks_the_process() && finding.is_answer();
        if answered && !self.outdates(probe) {
            self.answered_probe = now;
        }
        answered
    }

    /// A probe passed. `alone`: nobody is up, so one pass is enough.
    pub(super) fn passed(&mut self, probe: &Probe, alone: bool, now: Instant) -> Option<Trigger> {
        if self.outdates(probe) {
            return None;
        }
        if probe.asks_the_process() {
            self.end_alarm(now);
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
        let refused = failure == ProbeFailure::Transport(Cause::Refused);
        if refused && (self.stalled.is_some() || self.ejections.until().is_some()) {
            self.suspect.get_or_insert(now);
            self.new_process(now);
        }
        let count = self.tracker.record(false);
        if count.is_some() {
            self.suspect = None;
            // From here on the probes see what is wrong, and when it no longer is.
            self.ejections.lift(now);
        }
        Some(Trigger::ProbesFailed(count.unwrap_or(1), failure))
    }

    /// Did the probe begin before the suspicion, or before it was asked back? Then it may have met the server that
    /// has failed or was replaced since.
    pub(super) fn outdates(&self, probe: &Probe) -> bool {
        let since = self.suspect.unwrap_or(Instant::ORIGIN);
        probe.started < since.max(self.asked_back)
    }

    /// A connection for an attempt that was picked at `picked` failed.
    pub(super) fn connect_failed(
        &mut self,
        cause: Cause,
        picked: Instant,
        now: Instant,
    ) -> Option<Trigger> {
        if picked < self.member.readmitted() || self.suspect.is_some() {
            return None;
        }
        if cause == Cause::Refused {
            self.new_process(now);
        } else if self.ejections.until().is_some() {
            return None;
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
        self.alarms.raised(silence);
        self.inquiry = None;
        self.member.set_stalled(true);
        Trigger::Silent { waiting, silence }
    }

    /// A byte came. `desperate`: nobody is eligible, and this is the best that can be known.
    pub(super) fn answered(&mut self, desperate: bool, now: Instant) -> Trigger {
        self.end_alarm(now);
        self.recover();
        if desperate {
            self.suspect = None;
        }
        Trigger::Answered
    }

    /// The trial request was answered.
    pub(super) fn trial_answered(&mut self, now: Instant) -> Trigger {
        self.suspect = None;
        self.recover();
        self.ejections.lift(now);
        Trigger::TrialAnswered
    }

    /// The trial request failed.
    pub(super) fn trial_failed(&mut self, passive: Option<&Passive>, rng: &Rng, now: Instant) {
        let ejected = self.state == State::Ejected;
        if let Some(rules) = passive.filter(|_| ejected) {
            self.trials = Some(Trials::at(self.ejections.eject(rules, rng, now)));
        } else if let Some(trials) = &mut self.trials {
            trials.failed(now);
        }
    }

    /// Its answers fail; `others` is what was counted of the other members so far.
    pub(super) fn eject(&mut self, rules: &Passive, others: Seen, rng: &Rng, now: Instant) {
        self.ejections.eject(rules, rng, now);
        self.others_before = others;
    }

    /// It was ejected just now. If the `others` have failed since, it was only the first of them and comes back, as warm
    /// as it went.
    pub(super) fn acquit(&mut self, others: Seen, now: Instant) -> Option<Trigger> {
        let since = others.since(self.others_before);
        if self.state != State::Ejected
            || !self.ejections.is_fresh(self.since, now)
            || !since.fail_too()
        {
            return None;
        }
        self.ejections.lift(now);
        self.cold = false;
        Some(Trigger::OthersFail {
            failed: since.failed,
            of: since.all,
        })
    }

    /// Nobody else is left: a bad answer is better than none.
    pub(super) fn recall(&mut self, now: Instant) -> Trigger {
        self.ejections.lift(now);
        Trigger::LastResort
    }

    /// Answers and failures since the window began, or since it came back.
    pub(super) fn in_window(&self) -> Seen {
        self.member.seen().since(self.before_window)
    }

    /// The same since the window before.
    pub(super) fn lately(&self) -> Seen {
        self.member.seen().since(self.before_last_window)
    }

    /// How long its answers took since the window began, as of the last regular look.
    pub(super) fn learned_in_window(&self) -> Counts {
        self.learned.since(&self.learned_before_window)
    }

    /// Learns how long its answers take.
    pub(super) fn learn(&mut self) {
        if self.member.fade() {
            self.learned_before_window.fade();
        }
        self.learned = self.member.learned();
    }

    /// A new window begins.
    pub(super) fn begin_window(&mut self) {
        self.before_last_window = self.before_window;
        self.before_window = self.member.seen();
        self.learned_before_window = self.learned;
    }

    /// What was counted so far compares with nothing that follows.
    pub(super) fn start_over(&mut self) {
        self.member.did_well();
        self.before_window = self.member.seen();
        self.before_last_window = self.before_window;
        self.learned_before_window = self.member.learned();
    }

    /// It refuses connections, which neither a frozen process does nor one that answers badly: whatever was wrong
    /// there is gone, and what listens next is another one.
    fn new_process(&mut self, now: Instant) {
        self.recover();
        self.ejections.lift(now);
    }

    fn end_alarm(&mut self, now: Instant) {
        if let Some(since) = self.stalled {
            self.alarms.over(since, now);
        }
    }

    fn recover(&mut self) {
        self.stalled = None;
        self.member.set_stalled(false);
    }
}
