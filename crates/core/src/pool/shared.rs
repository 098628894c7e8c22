//! The pool as everybody shares it: one mutex for transitions, one published snapshot for picks.

mod explain;
mod standby;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::task::AtomicWaker;

use super::machine::{Pool, Report};
use super::outbox::Outbox;
use super::queue::Queue;
use super::sticky::{Token, Tokens};
use super::{Lease, Member, MemberView, Snapshot, Timeline};
use crate::config::settings::{HedgeAfter, PoolSettings};
use crate::error::Cause;
use crate::event::{Adapted, Command, Observer, RequestFailure, Transition};
use crate::health::probe::{Finding, Probe};
use crate::health::trial::TrialEnd;
use crate::limit::concurrency::Step;
use crate::picker::{Query, Tried};
use crate::rng::Rng;
use crate::time::Instant;

/// Where an attempt could go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// To some eligible member.
    Now,
    /// To one that is at its limit, once an attempt there has ended.
    Later,
    /// Nowhere: nobody is eligible.
    Never,
}

/// A pool shared by all workers and the monitor.
///
/// Picks and leases touch atomics; whatever changes who is eligible goes through one mutex, which is never held
/// while the observer hears of it.
///
/// Somebody must drive [`monitor`](crate::health::monitor), whether the pool probes or not: without it no member that
/// went out comes back, and nobody notices one that has stalled or whose answers fail.
pub struct SharedPool {
    name: Arc<str>,
    pool: Mutex<Pool>,
    snapshot: ArcSwap<Snapshot>,
    observer: Arc<dyn Observer>,
    /// Transitions that the observer has still to hear of, with the number of eligible members after each.
    untold: Outbox<(Report, usize)>,
    /// How many members there are.
    members: usize,
    has_backups: bool,
    /// So many failures in a row are reported to the pool; zero is never.
    failures: u32,
    /// How clients name members, where they are kept at theirs.
    tokens: Option<Tokens>,
    /// Members that may have stalled, as leases saw.
    rang: Mutex<BTreeSet<u32>>,
    /// Something is due before the monitor's time.
    rung: AtomicBool,
    monitor: AtomicWaker,
    queue: Arc<Queue>,
    /// How long most answers take, where somebody asks for it.
    usual: Option<Usual>,
}

/// A percentile of the pool's time to the first byte.
struct Usual {
    percent: u32,
    /// Zero while too little is known.
    nanos: AtomicU64,
}

impl SharedPool {
    /// A pool whose members are unknown, or up when it does not probe.
    pub fn new(
        settings: &PoolSettings,
        rng: Rng,
        observer: Arc<dyn Observer>,
        now: Instant,
    ) -> Arc<Self> {
        let (pool, snapshot) = Pool::new(settings, rng, now);
        Arc::new(Self {
            name: (&*settings.name).into(),
            pool: Mutex::new(pool),
            snapshot: ArcSwap::from_pointee(snapshot),
            observer,
            untold: Outbox::new(),
            members: settings.servers.len(),
            has_backups: settings.servers.iter().any(|server| server.backup),
            failures: settings
                .passive
                .as_ref()
                .map_or(0, |passive| passive.failures.get()),
            tokens: settings
                .sticky
                .as_ref()
                .map(|sticky| Tokens::new(sticky, &settings.servers)),
            rang: Mutex::default(),
            rung: AtomicBool::new(false),
            monitor: AtomicWaker::new(),
            queue: Queue::new(settings.limits.queue.size),
            usual: match settings.limits.hedge {
                Some(HedgeAfter::Percentile(percent)) => Some(Usual {
                    percent,
                    nanos: AtomicU64::new(0),
                }),
                Some(HedgeAfter::Time(_)) | None => None,
            },
        })
    }

    /// The pool's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Chooses a member for one attempt and counts it there; `None` when nobody is eligible or all eligible
    /// members are in `tried`. The chosen one is added to `tried`.
    pub fn pick(self: &Arc<Self>, tried: &mut Tried, rng: &Rng, now: Instant) -> Option<Lease> {
        self.pick_by(None, tried, rng, now)
    }

    /// The same for a request with this [`digest`](crate::picker::digest) of its key, for algorithms that hash.
    pub fn pick_by(
        self: &Arc<Self>,
        key: Option<u64>,
        tried: &mut Tried,
        rng: &Rng,
        now: Instant,
    ) -> Option<Lease> {
        let snapshot = self.snapshot.load();
        // A round is lost only to somebody who took a member's one trial or last place, so there are few.
        for _ in 0..=snapshot.members().len() {
            let query = Query::new(tried, now, rng).with_key(key);
            let member = snapshot.pick(&query)?;
            if let Some(trial) = member.admit() {
                tried.insert(member);
                let member = Arc::clone(member);
                return Some(Lease::begin(Arc::clone(self), member, trial, now));
            }
        }
        None
    }

    /// The member that the client showed to have been at, or else whoever is next.
    pub(crate) fn pick_for(
        self: &Arc<Self>,
        key: Option<u64>,
        shown: Option<Token>,
        tried: &mut Tried,
        rng: &Rng,
        now: Instant,
    ) -> Option<Lease> {
        shown
            .and_then(|token| self.pick_named(token, tried, rng, now))
            .or_else(|| self.pick_by(key, tried, rng, now))
    }

    /// Is there room for a first attempt, or will there be when one ends?
    pub(crate) fn room(&self) -> Room {
        let snapshot = self.snapshot.load();
        let members = snapshot.members();
        if members.iter().any(|member| member.is_open()) {
            Room::Now
        } else if members.iter().any(|member| member.is_full()) {
            Room::Later
        } else {
            Room::Never
        }
    }

    /// Those that wait for a place.
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// As long as the percentage of answers that hedging waits for took until their first byte, as of the last second;
    /// `None` while too little is known, or when nobody asks.
    pub(crate) fn usual_first_byte(&self) -> Option<Duration> {
        let nanos = self.usual.as_ref()?.nanos.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// How many requests wait for a place, because every eligible member is at its limit.
    pub fn queued(&self) -> usize {
        self.queue.length()
    }

    /// The member that `token` names, if it may be picked; nobody else. It is counted and added to `tried` as by
    /// [`pick`](Self::pick), and takes no turn.
    pub fn pick_named(
        self: &Arc<Self>,
        token: Token,
        tried: &mut Tried,
        rng: &Rng,
        now: Instant,
    ) -> Option<Lease> {
        let snapshot = self.snapshot.load();
        let member = self.named(token, &snapshot, &Query::new(tried, now, rng))?;
        let trial = member.admit()?;
        tried.insert(member);
        Some(Lease::begin(
            Arc::clone(self),
            Arc::clone(member),
            trial,
            now,
        ))
    }

    /// The member that `token` names, if it may be picked.
    fn named<'s>(
        &self,
        token: Token,
        snapshot: &'s Snapshot,
        query: &Query<'_>,
    ) -> Option<&'s Arc<Member>> {
        let index = self.tokens.as_ref()?.find(token)?;
        let members = snapshot.members();
        let at = members.binary_search_by_key(&index, |member| member.index());
        let member = &members[at.ok()?];
        query.allows(member).then_some(member)
    }

    /// What a client shows to get to `member` again, where clients are kept at theirs.
    pub fn token(&self, member: &Member) -> Option<Token> {
        self.tokens.as_ref()?.of(member.index())
    }

    /// The eligible members as the monitor last published them: whoever went out since is among them still, and gets nothing.
    /// [`Snapshot::explain`] tells whom the next pick would choose.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Every member with its state and counts, in file order.
    pub fn view(&self) -> Vec<MemberView> {
        self.lock().view()
    }

    /// The last transitions of every member, each with its cause, in file order.
    pub fn timeline(&self) -> Vec<Timeline> {
        self.lock().timeline()
    }

    /// From now on the member gets no new attempt; those that run there end in their own time, tunnels too. Its
    /// [`view`](Self::view) tells how many are left. It goes on being probed.
    ///
    /// # Errors
    /// When no member has this name.
    pub fn drain(&self, member: &str, now: Instant) -> Result<(), UnknownMember> {
        self.command(member, Command::Drain, now)
    }

    /// From now on the member gets no new attempt and no probe.
    ///
    /// # Errors
    /// When no member has this name.
    pub fn maintain(&self, member: &str, now: Instant) -> Result<(), UnknownMember> {
        self.command(member, Command::Maintain, now)
    }

    /// The member is wanted again. After maintenance nothing is known about it until its first probe; where there are
    /// none it is up at once.
    ///
    /// # Errors
    /// When no member has this name.
    pub fn ready(&self, member: &str, now: Instant) -> Result<(), UnknownMember> {
        self.command(member, Command::Ready, now)
    }

    /// [`drain`](Self::drain), [`maintain`](Self::maintain) or [`ready`](Self::ready). What a member does already
    /// changes nothing.
    ///
    /// # Errors
    /// When no member has this name.
    pub fn command(
        &self,
        member: &str,
        command: Command,
        now: Instant,
    ) -> Result<(), UnknownMember> {
        self.apply(|pool| pool.command(member, command, now))
            .ok_or(UnknownMember)
    }

    /// What the monitor has to start now, and when it must ask again at the latest.
    pub(crate) fn due(&self, now: Instant) -> (Vec<Probe>, Instant) {
        let rang = std::mem::take(&mut *self.rang());
        let due = self.apply(|pool| {
            let due = pool.due(rang, now);
            if let Some(usual) = &self.usual {
                let time = pool.learned().percentile(usual.percent);
                let nanos = time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0));
                usual.nanos.store(nanos, Ordering::Relaxed);
            }
            due
        });
        // A limit may have grown.
        self.queue.call();
        due
    }

    /// A probe has its verdict.
    pub(crate) fn probed(&self, probe: &Probe, finding: Finding, now: Instant) {
        self.apply(|pool| pool.probed(probe, finding, now));
    }

    /// A probe is over; `judged`: it had a verdict.
    pub(crate) fn probe_over(&self, probe: &Probe, judged: bool) {
        self.lock().probe_over(probe, judged);
    }

    pub(super) fn connect_failed(
        &self,
        member: &Member,
        cause: Cause,
        picked: Instant,
        now: Instant,
    ) {
        let index = member.index() as usize;
        self.apply(|pool| pool.connect_failed(index, cause, picked, now));
    }

    /// The attempt that was picked at `picked` failed, the `streak`-th in a row. A streak that changed nothing, because
    /// nobody else may go, is worth another look when it has grown by as much again.
    pub(super) fn request_failed(
        &self,
        member: &Member,
        streak: u32,
        failure: RequestFailure,
        picked: Instant,
    ) {
        if streak.checked_rem(self.failures) == Some(0) {
            let index = member.index() as usize;
            self.apply(|pool| pool.request_failed(index, streak, failure, picked));
        }
    }

    /// A member's adaptive limit made a step.
    pub(super) fn adapted(&self, member: &Member, step: Step, applied: bool, now: Instant) {
        if applied {
            // It may have grown.
            self.queue.call();
        }
        if step.much {
            self.observer.adapted(&Adapted {
                pool: &self.name,
                member: member.name(),
                limit: step.limit,
                in_flight: member.in_flight(),
                applied,
                at: now,
            });
        }
    }

    pub(super) fn heard_from(&self, member: &Member, now: Instant) {
        self.apply(|pool| pool.heard_from(member.index() as usize, now));
    }

    pub(super) fn trial_ended(&self, member: &Member, end: TrialEnd) {
        self.apply(|pool| pool.trial_ended(member.index() as usize, end));
    }

    /// Makes the stall guard look at a member at once.
    pub(super) fn look_soon(&self, index: u32) {
        self.rang().insert(index);
        self.ring();
    }

    /// Makes the monitor ask again at once.
    fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        self.monitor.wake();
    }

    /// Did somebody ring? If not, the task of `cx` is woken when somebody does.
    pub(crate) fn poll_rung(&self, cx: &Context<'_>) -> bool {
        self.monitor.register(cx.waker());
        self.rung.swap(false, Ordering::SeqCst)
    }

    /// Makes a transition, publishes if it is time to, and then tells the observer: of this one after all earlier ones.
    pub(super) fn apply<R>(&self, change: impl FnOnce(&mut Pool) -> R) -> R {
        let mut pool = self.lock();
        let result = change(&mut pool);
        if let Some(snapshot) = pool.publish(&self.snapshot.load()) {
            self.snapshot.store(Arc::new(snapshot));
            self.queue.call();
        }
        let reports = pool.take_reports();
        let news = !reports.is_empty();
        if news {
            let eligible = pool.eligible();
            let reports = reports.into_iter().map(|report| (report, eligible));
            self.untold.put(reports);
        }
        let urgent = pool.take_urgent();
        let stuck = pool.take_stuck();
        drop(pool);
        if news {
            // Somebody may be back who has not left the snapshot.
            self.queue.call();
        }
        stuck.iter().for_each(|member| member.late().wake());
        if urgent {
            self.ring();
        }
        if news {
            self.untold
                .tell(|(report, eligible)| self.tell(&report, eligible));
        }
        result
    }

    fn tell(&self, report: &Report, eligible: usize) {
        self.observer.transition(&Transition {
            pool: &self.name,
            member: report.member.name(),
            from: report.from,
            to: report.to,
            trigger: report.trigger,
            eligible,
            members: self.members,
            at: report.at,
        });
    }

    fn rang(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        // A set is whole at each step.
        self.rang.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // A transition that panicked has changed one member's facts at most; the next one settles them.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pool has no member with this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMember;

impl fmt::Display for UnknownMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no member has this name")
    }
}

impl std::error::Error for UnknownMember {}

impl fmt::Debug for SharedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPool")
            .field("name", &self.name)
            .field("eligible", &self.snapshot.load())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use http::StatusCode;

    use super::*;
    use crate::config::settings::Health;
    use crate::pool::Outcome;
    use crate::pool::testing::pool_of;

    #[test]
    fn a_pick_and_its_lease_take_no_lock() {
        let pool = pool_of(3, Health::Off, &Arc::default());
        let (done, finished) = channel();
        let held = pool.lock();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut tried, rng, now) = (Tried::new(), Rng::new(1), Instant::ORIGIN);
                for _ in 0..3 {
                    let mut lease = pool.pick(&mut tried, &rng, now).unwrap();
                    lease.byte(now);
                    lease.finish(Outcome::Answered(StatusCode::OK), now);
                }
                done.send(()).unwrap();
            });
            // Patience for a slow machine: a pick that waits for the lock waits until it is dropped below.
            let result = finished.recv_timeout(Duration::from_secs(20));
            drop(held);
            assert!(result.is_ok());
        });
    }
}
