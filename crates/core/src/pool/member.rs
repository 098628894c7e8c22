//! A member: a backend inside a pool, with the live state that picks and leases touch.
//!
//! All of it is atomic. Health is decided in the pool, under its lock, and only the results that a pick or a
//! byte must see at once are written here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::Outcome;
use super::adaptive::Adaptive;
use super::late::Late;
use super::latency::Latency;
use super::slow_start::{self, SlowStart};
use super::view::Counters;
use crate::backend::Backend;
use crate::config::settings::PoolLimits;
use crate::health::normal::{Class, Counts, Times};
use crate::health::outlier::{self, Seen};
use crate::health::stall::Signs;
use crate::limit::concurrency::Step;
use crate::time::Instant;

/// Anybody may be sent here.
const OPEN: u8 = 0;
/// One request may be sent here, as a trial.
const TRIAL: u8 = 1;
/// Nobody may be sent here: the member is out, or its trial is taken.
const CLOSED: u8 = 2;

/// A byte is no news.
const NO_NEWS: u8 = 0;
/// A byte is news.
const NEWS: u8 = 1;
/// The member has stalled, and a byte is news.
const STALLED: u8 = 2;

/// A backend inside a pool. It outlives snapshots, so its counters survive them.
#[derive(Debug)]
pub struct Member {
    index: u32,
    backend: Backend,
    name: Arc<str>,
    gate: AtomicU8,
    /// What a byte from it would mean.
    news: AtomicU8,
    ejected: AtomicBool,
    /// Failures since the last answer, and since it came back.
    streak: AtomicU32,
    /// When it last came back, in nanoseconds; zero if it never was away.
    readmitted: AtomicU64,
    /// When the trial was picked whose answer has begun, in nanoseconds; zero if none has.
    trial_speaks: AtomicU64,
    slow_start: SlowStart,
    in_flight: AtomicU32,
    /// Attempts in flight, at most.
    limit: u32,
    /// A lower limit that is learned, where it is asked for.
    adaptive: Option<Box<Adaptive>>,
    /// Leases without a first byte.
    waiting: AtomicU32,
    /// When the first of those that wait now began to, in nanoseconds.
    waiting_since: AtomicU64,
    /// When the member last sent something, in nanoseconds.
    last_byte: AtomicU64,
    /// The mean time to the first byte, where an algorithm asks for it.
    latency: Option<Latency>,
    /// The attempts in flight at all members, for those who must know.
    crowd: Option<Arc<AtomicU32>>,
    /// How long its answers took.
    times: Times,
    /// Leases that have waited for long.
    late: Late,
    /// How long a trial may wait while the member is stalled, in nanoseconds.
    trial_wait: AtomicU64,
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
            news: AtomicU8::new(NO_NEWS),
            ejected: AtomicBool::new(false),
            streak: AtomicU32::new(0),
            readmitted: AtomicU64::new(0),
            trial_speaks: AtomicU64::new(0),
            slow_start: SlowStart::new(None),
            in_flight: AtomicU32::new(0),
            limit: u32::MAX,
            adaptive: None,
            waiting: AtomicU32::new(0),
            waiting_since: AtomicU64::new(0),
            last_byte: AtomicU64::new(0),
            latency: Some(Latency::default()),
            crowd: None,
            times: Times::default(),
            late: Late::default(),
            trial_wait: AtomicU64::new(0),
            tally: Tally::default(),
        }
    }

    /// The same member, whose attempts are counted in `crowd`, too.
    pub(crate) fn in_crowd(mut self, crowd: Option<&Arc<AtomicU32>>) -> Self {
        self.crowd = crowd.cloned();
        self
    }

    /// Attempts in flight at all members of the pool, where that is counted.
    pub(crate) fn crowd(&self) -> Option<u32> {
        let crowd = self.crowd.as_ref()?;
        Some(crowd.load(Ordering::Relaxed))
    }

    /// The same member; its time to the first byte is kept only if somebody asks for it.
    pub(crate) fn timed(mut self, asked: bool) -> Self {
        self.latency = self.latency.filter(|_| asked);
        self
    }

    /// At most so many attempts in flight.
    pub(crate) fn limited(self, limits: &PoolLimits) -> Self {
        Self {
            limit: limits.in_flight_per_server,
            adaptive: Adaptive::new(limits.adaptive),
            ..self
        }
    }

    /// How many attempts may be in flight now.
    fn limit(&self) -> u32 {
        match &self.adaptive {
            Some(adaptive) if adaptive.applied => adaptive.limit().min(self.limit),
            _ => self.limit,
        }
    }

    /// The adaptive limit, whether it is applied or only observed; `None` when it is off.
    pub fn adaptive_limit(&self) -> Option<u32> {
        self.adaptive.as_ref().map(|adaptive| adaptive.limit())
    }

    /// The same member, that takes so long to get its whole share when it was away.
    pub(crate) fn slowly(mut self, window: Option<Duration>) -> Self {
        self.slow_start = SlowStart::new(window);
        self
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

    /// Its share relative to the other members; at least one.
    pub fn weight(&self) -> u32 {
        self.backend.weight.get()
    }

    /// Its weight times its [`share`](Self::share): what counts of it at `now`, in parts of
    /// [`SHARE_FULL`](Self::SHARE_FULL).
    pub fn pull(&self, now: Instant) -> u64 {
        u64::from(self.weight()) * u64::from(self.share(now))
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
        self.gate.load(Ordering::Acquire) != CLOSED && !self.is_full()
    }

    /// Are as many attempts in flight as may be?
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) >= self.limit()
    }

    /// Lets a pick in and counts it: `Some(true)` as the one trial, `None` when somebody else has just taken that, or
    /// the last place.
    pub(crate) fn admit(&self) -> Option<bool> {
        let admitted = self.place().and_then(|()| {
            let trial = self.pass_the_gate();
            if trial.is_none() {
                self.in_flight.fetch_sub(1, Ordering::SeqCst);
            }
            trial
        })?;
        self.tally.picks.fetch_add(1, Ordering::Relaxed);
        if let Some(crowd) = &self.crowd {
            crowd.fetch_add(1, Ordering::Relaxed);
        }
        Some(admitted)
    }

    fn place(&self) -> Option<()> {
        if self.in_flight.fetch_add(1, Ordering::SeqCst) < self.limit() {
            return Some(());
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        None
    }

    fn pass_the_gate(&self) -> Option<bool> {
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
        self.trial_speaks.store(0, Ordering::Relaxed);
        self.gate.store(TRIAL, Ordering::Release);
    }

    /// The answer to the trial that was picked then has begun.
    pub(crate) fn trial_speaks(&self, picked: Instant) {
        let nanos = picked.as_nanos();
        self.trial_speaks.store(nanos, Ordering::Relaxed);
    }

    /// When the trial was picked whose answer has begun.
    pub(crate) fn speaking_trial(&self) -> Option<Instant> {
        let nanos = self.trial_speaks.load(Ordering::Relaxed);
        (nanos > 0).then(|| Instant::from_nanos(nanos))
    }

    /// From now on anybody may come.
    pub(crate) fn open(&self) {
        self.gate.store(OPEN, Ordering::Release);
    }

    /// From now on nobody may come, whoever still sees it in a snapshot.
    pub(crate) fn close(&self) {
        self.gate.store(CLOSED, Ordering::Release);
    }

    /// Leases tell the pool about bytes only while this is so.
    pub(crate) fn is_byte_news(&self) -> bool {
        self.news.load(Ordering::Relaxed) != NO_NEWS
    }

    /// Do requests wait there in vain, so that they had better go elsewhere?
    pub(crate) fn is_stalled(&self) -> bool {
        self.news.load(Ordering::Relaxed) == STALLED
    }

    pub(crate) fn set_stalled(&self, stalled: bool) {
        let news = if stalled { STALLED } else { NO_NEWS };
        self.news.store(news, Ordering::Relaxed);
    }

    /// It is out for another reason than silence, and a byte would bring it back: whoever waits there waits on.
    pub(crate) fn await_byte(&self) {
        self.news.fetch_max(NEWS, Ordering::Relaxed);
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

    /// One more waits for its first byte.
    pub(crate) fn wait(&self, now: Instant) {
        // The time goes first: whoever sees the count sees when it began.
        if self.waiting.load(Ordering::Relaxed) == 0 {
            self.waiting_since.store(now.as_nanos(), Ordering::Relaxed);
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
    }

    /// One less waits.
    pub(crate) fn stop_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// The member sent something.
    pub(crate) fn heard(&self, now: Instant) {
        self.last_byte.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Called every now and then, so that the adaptive limit needs nobody to come.
    pub(super) fn wake_limit(&self, now: Instant) {
        if let Some(adaptive) = &self.adaptive {
            adaptive.wake(now);
        }
    }

    /// An attempt had its first byte after `time`, or gave up then. Returns the step that the adaptive limit made, if it
    /// made one, and whether it is applied.
    pub(super) fn adapt(&self, time: Duration, now: Instant) -> Option<(Step, bool)> {
        let adaptive = self.adaptive.as_ref()?;
        let step = adaptive.sample(time, self.in_flight(), now)?;
        Some((step, adaptive.applied))
    }

    /// An attempt had its first byte after `time`.
    pub(crate) fn note_latency(&self, time: Duration, now: Instant) {
        if let Some(latency) = &self.latency {
            latency.observe(time, now);
        }
    }

    /// An attempt was given up after `time` without a byte: so slow it is, at least.
    pub(crate) fn note_slowness(&self, time: Duration, now: Instant) {
        let nanos = time.as_nanos() as f64;
        if self.latency(now).is_none_or(|mean| mean < nanos) {
            self.note_latency(time, now);
        }
    }

    /// The mean time to the first byte in nanoseconds, as it counts now; `None` before there was one.
    pub(crate) fn latency(&self, now: Instant) -> Option<f64> {
        self.latency.as_ref()?.read(now)
    }

    /// For how long requests have waited here without a byte.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        if self.waiting() == 0 {
            return Duration::ZERO;
        }
        let since = Instant::from_nanos(self.waiting_since.load(Ordering::Relaxed));
        now.saturating_since(since.max(self.last_byte()))
    }

    /// Counts the end of an attempt.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        if let Some(crowd) = &self.crowd {
            crowd.fetch_sub(1, Ordering::Relaxed);
        }
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

    /// When the member last sent something; the origin if never.
    pub(crate) fn last_byte(&self) -> Instant {
        Instant::from_nanos(self.last_byte.load(Ordering::Relaxed))
    }

    /// What the stall guard looks at; the process also answered something else at `answered`.
    pub(crate) fn signs(&self, answered: Instant) -> Signs {
        let heard = self.last_byte().max(answered);
        Signs {
            sent: self.late.fresh(heard),
            heard,
        }
    }

    /// The requests that have waited for long.
    pub(super) fn late(&self) -> &Late {
        &self.late
    }

    /// A first byte came after so long; the request was counted already if it had been overtaken.
    pub(super) fn classify(&self, wait: Duration, counted: Option<Class>) {
        let class = Class::of(wait);
        match counted {
            None => self.times.add(class),
            Some(before) => self.times.recount(before, class),
        }
    }

    /// A request that was sent then is not waited for any more. What was answered meanwhile has overtaken it: it is one of
    /// the slow ones, and who gives up early must not make the others look usual.
    pub(super) fn gave_up(&self, sent: Instant, counted: Option<Class>) {
        let class = Class::of(self.last_byte().saturating_since(sent));
        if class > counted.unwrap_or_default() {
            match counted {
                None => self.times.add(class),
                Some(before) => self.times.recount(before, class),
            }
        }
    }

    /// How long its answers took, those included that are still to come and overtaken.
    pub(crate) fn learned(&self) -> Counts {
        self.late.count(self.last_byte(), &self.times);
        self.times.counts()
    }

    /// Lets what was learned long ago count less, once it is much; says whether it did.
    pub(crate) fn fade(&self) -> bool {
        self.times.fade()
    }

    /// How long a trial may wait here while the member is stalled.
    pub(crate) fn trial_wait(&self) -> Duration {
        Duration::from_nanos(self.trial_wait.load(Ordering::Relaxed))
    }

    pub(crate) fn set_trial_wait(&self, wait: Duration) {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.trial_wait.store(nanos, Ordering::Relaxed);
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
