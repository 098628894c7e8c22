//! A member: a backend inside a pool, with the live state that picks and leases touch.
//!
//! All of it is atomic. Health is decided in the pool, under its lock, and only the results that a pick or a
//! byte must see at once are written here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::Outcome;
use super::slow_start::{self, SlowStart};
use super::view::Counters;
use crate::backend::Backend;
use crate::health::outlier::{self, Seen};
use crate::health::stall::Signs;
use crate::time::Instant;

/// Anybody may be sent here.
const OPEN: u8 = 0;
/// One request may be sent here, as a trial.
const TRIAL: u8 = 1;
/// The trial is taken.
const CLOSED: u8 = 2;

/// A backend inside a pool. It outlives snapshots, so its counters survive them.
#[derive(Debug)]
pub struct Member {
    index: u32,
    backend: Backend,
    name: Arc<str>,
    gate: AtomicU8,
    stalled: AtomicBool,
    ejected: AtomicBool,
    /// Failures since the last answer, and since it came back.
    streak: AtomicU32,
    /// When it last came back, in nanoseconds; zero if it never was away.
    readmitted: AtomicU64,
    slow_start: SlowStart,
    in_flight: AtomicU32,
    /// Leases without a first byte.
    waiting: AtomicU32,
    /// When the oldest uninterrupted wait began, in nanoseconds.
    waiting_since: AtomicU64,
    /// When the member last sent something, in nanoseconds.
    last_byte: AtomicU64,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    picks: AtomicU64,
    answered: AtomicU64,
    gateway_errors: AtomicU64,
    connect_failed: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    probes_passed: AtomicU64,
    probes_failed: AtomicU64,
}

impl Member {
    /// The [`share`](Self::share) of a member that is not fresh.
    pub const SHARE_FULL: u32 = slow_start::FULL;

    pub(crate) fn new(index: u32, backend: Backend) -> Self {
        Self {
            index,
            name: (&*backend.name).into(),
            backend,
            gate: AtomicU8::new(OPEN),
            stalled: AtomicBool::new(false),
            ejected: AtomicBool::new(false),
            streak: AtomicU32::new(0),
            readmitted: AtomicU64::new(0),
            slow_start: SlowStart::new(None),
            in_flight: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            waiting_since: AtomicU64::new(0),
            last_byte: AtomicU64::new(0),
            tally: Tally::default(),
        }
    }

    /// The same member, that takes so long to get its whole share when it was away.
    pub(crate) fn slowly(self, window: Option<Duration>) -> Self {
        Self {
            slow_start: SlowStart::new(window),
            ..self
        }
    }

    /// The facts about the server.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The name that logs and metrics show.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its place in the pool, in file order.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Attempts in flight whose first byte has not come.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Would a pick be let in?
    pub(crate) fn is_open(&self) -> bool {
        self.gate.load(Ordering::Acquire) != CLOSED
    }

    /// Lets a pick in: `Some(true)` as the one trial, `None` when somebody else has just taken that.
    pub(crate) fn admit(&self) -> Option<bool> {
        match self.gate.load(Ordering::Acquire) {
            OPEN => Some(false),
            TRIAL => self
                .gate
                .compare_exchange(TRIAL, CLOSED, Ordering::AcqRel, Ordering::Acquire)
                .ok()
                .map(|_| true),
            _ => None,
        }
    }

    /// From now on one request at a time may come, as a trial.
    pub(crate) fn offer_trial(&self) {
        self.gate.store(TRIAL, Ordering::Release);
    }

    /// From now on anybody may come.
    pub(crate) fn open(&self) {
        self.gate.store(OPEN, Ordering::Release);
    }

    /// Leases tell the pool about bytes only while this is set.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Is it out because its answers failed? Then its trial is judged by a whole answer.
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ejected(&self, ejected: bool) {
        self.ejected.store(ejected, Ordering::Relaxed);
    }

    /// It is back: what was picked before says nothing about it any more.
    pub(crate) fn readmit(&self, now: Instant) {
        self.streak.store(0, Ordering::Relaxed);
        self.readmitted.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// It begins with a part of its share.
    pub(crate) fn start_slowly(&self, now: Instant) {
        self.slow_start.begin(now);
    }

    /// How much of its weight counts at `now`, up to [`SHARE_FULL`](Self::SHARE_FULL): less for a while after it came
    /// back, and never zero. An algorithm that weighs multiplies with it.
    pub fn share(&self, now: Instant) -> u32 {
        self.slow_start.share(now)
    }

    /// A turn falls on it: does it take it, or is it too fresh? For algorithms that do not weigh.
    pub(crate) fn takes_turn(&self, now: Instant) -> bool {
        self.slow_start.takes_turn(now)
    }

    /// The same without taking it; `ahead` begins at zero and counts the turns foreseen.
    pub(crate) fn would_take_turn(&self, now: Instant, ahead: &mut u32) -> bool {
        self.slow_start.would_take_turn(now, ahead)
    }

    /// When it last came back; the origin if it never was away.
    pub(crate) fn readmitted(&self) -> Instant {
        Instant::from_nanos(self.readmitted.load(Ordering::Relaxed))
    }

    /// An answer that was no failure ends the streak of failures.
    pub(crate) fn did_well(&self) {
        // Almost always it is zero, and then nobody's cache is disturbed.
        if self.streak.load(Ordering::Relaxed) != 0 {
            self.streak.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a failure, and returns how many that makes in a row.
    pub(crate) fn did_badly(&self) -> u32 {
        let before = self.streak.fetch_add(1, Ordering::Relaxed);
        before.wrapping_add(1)
    }

    /// Counts a pick.
    pub(crate) fn begin(&self) {
        self.tally.picks.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// One more waits for its first byte. `true` when it is the second, and the member has been silent for too long
    /// already.
    pub(crate) fn wait(&self, now: Instant) -> bool {
        // The time goes first: whoever sees the count sees when it began.
        if self.waiting.load(Ordering::Relaxed) == 0 {
            self.waiting_since.store(now.as_nanos(), Ordering::Relaxed);
        }
        let others = self.waiting.fetch_add(1, Ordering::AcqRel);
        others == 1 && self.signs().crosses_at().is_some_and(|at| at <= now)
    }

    /// One less waits.
    pub(crate) fn stop_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// The member sent something.
    pub(crate) fn heard(&self, now: Instant) {
        self.last_byte.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Counts the end of an attempt.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        if matches!(outcome, Outcome::Answered(status) if outlier::is_gateway_error(status)) {
            self.tally.gateway_errors.fetch_add(1, Ordering::Relaxed);
        }
        let counter = match outcome {
            Outcome::Answered(_) => &self.tally.answered,
            Outcome::ConnectFailed(_) => &self.tally.connect_failed,
            Outcome::Failed(_) => &self.tally.failed,
            Outcome::Abandoned => &self.tally.abandoned,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_probe(&self, passed: bool) {
        let counter = if passed {
            &self.tally.probes_passed
        } else {
            &self.tally.probes_failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What the stall guard looks at.
    pub(crate) fn signs(&self) -> Signs {
        let waiting = self.waiting();
        let last_byte = Instant::from_nanos(self.last_byte.load(Ordering::Relaxed));
        let since = Instant::from_nanos(self.waiting_since.load(Ordering::Relaxed));
        Signs {
            waiting,
            last_byte,
            silent_since: since.max(last_byte),
        }
    }

    /// What the share of failures is taken from.
    pub(crate) fn seen(&self) -> Seen {
        let counters = self.counters();
        Seen {
            all: counters.answered.saturating_add(counters.failed),
            failed: counters.gateway_errors.saturating_add(counters.failed),
        }
    }

    /// The counts so far.
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            picks: read(&self.tally.picks),
            answered: read(&self.tally.answered),
            gateway_errors: read(&self.tally.gateway_errors),
            connect_failed: read(&self.tally.connect_failed),
            failed: read(&self.tally.failed),
            abandoned: read(&self.tally.abandoned),
            probes_passed: read(&self.tally.probes_passed),
            probes_failed: read(&self.tally.probes_failed),
        }
    }
}
