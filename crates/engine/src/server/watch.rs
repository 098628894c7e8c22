//! The watch: one sweep per worker looks at the deadlines of all its connections.
//!
//! A timer per connection would have to be made at accept and moved with each request; a sweep costs nothing on
//! the request path and closes a connection at most one tick late. The rules are in [`judge`], told the time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, select};
use futures::task::AtomicWaker;
use lb_core::config::settings::Limits;
use lb_core::time::{Instant, Timer};

use super::drain::{Drain, Phase};

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Accepted; not a byte yet.
    Fresh,
    /// Some of a request head is there.
    Head,
    /// A request is being answered.
    Busy,
    /// Between two requests.
    Idle,
    /// Upgraded; the tunnel has an idle timeout of its own.
    Tunnel,
}

impl Stage {
    fn from_u8(stage: u8) -> Self {
        [
            Self::Fresh,
            Self::Head,
            Self::Busy,
            Self::Idle,
            Self::Tunnel,
        ][usize::from(stage)]
    }
}

/// What shall become of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Verdict {
    Keep,
    /// Close it; a head that has begun to arrive is still answered.
    Close,
    /// Close it whatever it does.
    Cut,
}

/// The time that each stage may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    /// Bytes that the client does not take.
    pub(crate) write: Duration,
    /// An idle connection while the process drains: a request that is under way to us still arrives.
    pub(crate) drain: Duration,
}

impl Patience {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            head: limits.head_timeout,
            idle: limits.keep_alive_idle,
            write: limits.body_idle,
            drain: Duration::from_millis(500).min(limits.shutdown_grace / 2),
        }
    }

    /// How often to look: a tenth of the shortest patience, within reason.
    fn tick(&self, draining: bool) -> Duration {
        let shortest = self.head.min(self.idle).min(self.write);
        let shortest = if draining {
            shortest.min(self.drain)
        } else {
            shortest
        };
        (shortest / 10).clamp(Duration::from_millis(5), Duration::from_millis(500))
    }
}

/// A connection's situation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    pub(crate) stage: Stage,
    pub(crate) since: Instant,
    /// Since when bytes wait that the client does not take.
    pub(crate) blocked_since: Option<Instant>,
    /// When the exchange that runs, or is to come, must be over.
    pub(crate) until: Instant,
}

/// The rules. `draining_since` is the moment from which idle connections are unwanted.
pub(crate) fn judge(
    at: Situation,
    patience: &Patience,
    draining_since: Option<Instant>,
    now: Instant,
) -> Verdict {
    let spent = now.saturating_since(at.since);
    if at.stage != Stage::Tunnel
        && at
            .blocked_since
            .is_some_and(|since| now.saturating_since(since) >= patience.write)
    {
        return Verdict::Cut;
    }
    let drained = |since: Instant| now.saturating_since(since.max(at.since)) >= patience.drain;
    match at.stage {
        // One deadline spans accept and first head: hostile-traffic row 49.
        Stage::Fresh | Stage::Head if spent >= patience.head => Verdict::Cut,
        // Whoever reads is told by the answer's body; this is for those who do not.
        Stage::Fresh | Stage::Head | Stage::Busy if now >= at.until => Verdict::Cut,
        Stage::Idle if spent >= patience.idle => Verdict::Close,
        Stage::Fresh | Stage::Idle if draining_since.is_some_and(drained) => Verdict::Close,
        _ => Verdict::Keep,
    }
}

/// One watched connection. All stores come from the task that drives it; the sweep reads.
#[derive(Debug)]
pub(crate) struct Watched {
    stage: AtomicU8,
    since: AtomicU64,
    blocked_since: AtomicU64,
    until: AtomicU64,
    verdict: AtomicU8,
    waker: AtomicWaker,
}

/// "Nothing is blocked" in `blocked_since`.
const FLOWING: u64 = u64::MAX;

impl Watched {
    fn new(now: Instant) -> Self {
        Self {
            stage: AtomicU8::new(Stage::Fresh as u8),
            since: AtomicU64::new(now.as_nanos()),
            blocked_since: AtomicU64::new(FLOWING),
            until: AtomicU64::new(Instant::NEVER.as_nanos()),
            verdict: AtomicU8::new(Verdict::Keep as u8),
            waker: AtomicWaker::new(),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage::from_u8(self.stage.load(Ordering::Relaxed))
    }

    pub(crate) fn enter(&self, stage: Stage, now: Instant) {
        self.since.store(now.as_nanos(), Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// The exchange that runs must be over then. Where there is no such limit it costs nothing.
    pub(crate) fn end_by(&self, until: Instant) {
        if until != Instant::NEVER {
            self.until.store(until.as_nanos(), Ordering::Relaxed);
        }
    }

    /// A request is there as a whole: an exchange runs.
    pub(crate) fn run(&self) {
        // Since when it does matters to nobody.
        self.stage.store(Stage::Busy as u8, Ordering::Relaxed);
    }

    /// The exchange is over.
    pub(crate) fn rest(&self, now: Instant) {
        let never = Instant::NEVER.as_nanos();
        if self.until.load(Ordering::Relaxed) != never {
            self.until.store(never, Ordering::Relaxed);
        }
        self.enter(Stage::Idle, now);
    }

    /// A part of a head is there.
    ///
    /// The deadline of a fresh connection's head runs from the accept on, so its `since` stays.
    pub(crate) fn head_begun(&self, now: impl FnOnce() -> Instant) {
        match self.stage() {
            Stage::Fresh => self.stage.store(Stage::Head as u8, Ordering::Relaxed),
            Stage::Idle => self.enter(Stage::Head, now()),
            Stage::Head | Stage::Busy | Stage::Tunnel => {}
        }
    }

    /// The client does not take what we write.
    pub(crate) fn write_blocked(&self, now: impl FnOnce() -> Instant) {
        if self.blocked_since.load(Ordering::Relaxed) == FLOWING {
            self.blocked_since
                .store(now().as_nanos(), Ordering::Relaxed);
        }
    }

    /// It took something.
    pub(crate) fn write_flows(&self) {
        if self.blocked_since.load(Ordering::Relaxed) != FLOWING {
            self.blocked_since.store(FLOWING, Ordering::Relaxed);
        }
    }

    fn situation(&self) -> Situation {
        let blocked = self.blocked_since.load(Ordering::Relaxed);
        Situation {
            stage: self.stage(),
            since: Instant::from_nanos(self.since.load(Ordering::Relaxed)),
            blocked_since: (blocked != FLOWING).then(|| Instant::from_nanos(blocked)),
            until: Instant::from_nanos(self.until.load(Ordering::Relaxed)),
        }
    }

    fn pronounce(&self, verdict: Verdict) {
        if self.verdict.fetch_max(verdict as u8, Ordering::Relaxed) < verdict as u8 {
            self.waker.wake();
        }
    }

    /// Is it to be closed?
    pub(crate) fn is_unwanted(&self) -> bool {
        self.verdict.load(Ordering::Relaxed) != Verdict::Keep as u8
    }

    /// The verdict so far; the task is woken when it gets worse.
    pub(crate) fn poll_verdict(&self, cx: &mut Context<'_>) -> Verdict {
        self.waker.register(cx.waker());
        match self.verdict.load(Ordering::Relaxed) {
            0 => Verdict::Keep,
            1 => Verdict::Close,
            _ => Verdict::Cut,
        }
    }
}

/// All connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    connections: Mutex<Connections>,
    emptied: AtomicWaker,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    open: BTreeMap<u64, Arc<Watched>>,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a new connection until the guard is dropped.
    pub(crate) fn add(self: &Arc<Self>, now: Instant) -> Guard {
        let connection = Arc::new(Watched::new(now));
        let mut connections = self.lock();
        let id = connections.next;
        connections.next += 1;
        connections.open.insert(id, connection.clone());
        Guard {
            watch: self.clone(),
            id,
            connection,
        }
    }

    /// Completes when no connection is open.
    pub(crate) fn empty(&self) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(|cx| {
            self.emptied.register(cx.waker());
            if self.lock().open.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }

    /// Cuts every connection; says how many were still busy.
    pub(crate) fn cut_all(&self) -> usize {
        let connections = self.lock();
        let mut busy = 0;
        for connection in connections.open.values() {
            let runs = matches!(
                connection.stage(),
                Stage::Busy | Stage::Tunnel | Stage::Head
            );
            busy += usize::from(runs);
            connection.pronounce(Verdict::Cut);
        }
        busy
    }

    /// Looks at every connection, tick by tick, until dropped.
    pub(crate) async fn sweep<C: Timer>(
        &self,
        patience: Patience,
        drain: &Drain,
        timer: &C,
    ) -> Infallible {
        let mut draining_since = None;
        loop {
            let draining = draining_since.is_some();
            let sleep = pin!(timer.sleep_until(timer.now() + patience.tick(draining)));
            if draining {
                sleep.await;
            } else if let Either::Right(_) =
                select(sleep, pin!(drain.reached(Phase::Draining))).await
            {
                draining_since = Some(timer.now());
            }
            let now = timer.now();
            for connection in self.lock().open.values() {
                let verdict = judge(connection.situation(), &patience, draining_since, now);
                if verdict != Verdict::Keep {
                    connection.pronounce(verdict);
                }
            }
        }
    }
}

/// Keeps a connection watched.
#[derive(Debug)]
pub(crate) struct Guard {
    watch: Arc<Watch>,
    id: u64,
    pub(crate) connection: Arc<Watched>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut connections = self.watch.lock();
        connections.open.remove(&self.id);
        if connections.open.is_empty() {
            self.watch.emptied.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        write: Duration::from_secs(30),
        drain: Duration::from_secs(1),
    };

    fn at(second: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(second))
    }

    #[test]
    fn each_stage_has_its_own_patience() {
        let table = [
            (Stage::Fresh, 9, Verdict::Keep),
            (Stage::Fresh, 10, Verdict::Cut),
            (Stage::Head, 9, Verdict::Keep),
            (Stage::Head, 10, Verdict::Cut),
            (Stage::Busy, 1_000, Verdict::Keep),
            (Stage::Idle, 59, Verdict::Keep),
            (Stage::Idle, 60, Verdict::Close),
            (Stage::Tunnel, 1_000, Verdict::Keep),
        ];
        for (stage, second, verdict) in table {
            let situation = Situation {
                stage,
                since: at(0),
                blocked_since: None,
                until: Instant::NEVER,
            };
            assert_eq!(
                judge(situation, &PATIENCE, None, at(second)),
                verdict,
                "{stage:?} after {second} s"
            );
        }
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut() {
        let situation = Situation {
            stage: Stage::Busy,
            since: at(0),
            blocked_since: Some(at(5)),
            until: Instant::NEVER,
        };
        assert_eq!(judge(situation, &PATIENCE, None, at(34)), Verdict::Keep);
        assert_eq!(judge(situation, &PATIENCE, None, at(35)), Verdict::Cut);
    }

    #[test]
    fn the_limit_of_an_exchange_cuts_it_and_says_nothing_about_the_next() {
        let connection = Watched::new(at(0));
        let verdict = |second| judge(connection.situation(), &PATIENCE, None, at(second));
        connection.run();
        connection.end_by(Instant::NEVER);
        assert_eq!(verdict(1_000), Verdict::Keep);
        connection.end_by(at(5));
        assert_eq!((verdict(4), verdict(5)), (Verdict::Keep, Verdict::Cut));
        connection.rest(at(4));
        assert_eq!(verdict(6), Verdict::Keep);
        connection.run();
        assert_eq!(verdict(1_000), Verdict::Keep, "its answer has not come");
    }

    #[test]
    fn draining_closes_idle_connections_after_a_grace_and_leaves_busy_ones() {
        let idle = |since| Situation {
            stage: Stage::Idle,
            since: at(since),
            blocked_since: None,
            until: Instant::NEVER,
        };
        assert_eq!(judge(idle(0), &PATIENCE, Some(at(5)), at(5)), Verdict::Keep);
        assert_eq!(
            judge(idle(0), &PATIENCE, Some(at(5)), at(6)),
            Verdict::Close
        );
        assert_eq!(
            judge(idle(6), &PATIENCE, Some(at(5)), at(6)),
            Verdict::Keep,
            "it has just become idle"
        );
        let busy = Situation {
            stage: Stage::Busy,
            since: at(0),
            blocked_since: None,
            until: Instant::NEVER,
        };
        assert_eq!(judge(busy, &PATIENCE, Some(at(5)), at(60)), Verdict::Keep);
    }

    #[test]
    fn the_deadline_of_the_first_head_runs_from_the_accept_on() {
        let connection = Watched::new(at(0));
        connection.head_begun(|| at(9));
        assert_eq!(connection.stage(), Stage::Head);
        assert_eq!(
            judge(connection.situation(), &PATIENCE, None, at(10)),
            Verdict::Cut
        );
    }

    #[test]
    fn the_deadline_of_a_later_head_runs_from_its_first_byte_on() {
        let connection = Watched::new(at(0));
        connection.run();
        connection.enter(Stage::Idle, at(2));
        connection.head_begun(|| at(50));
        connection.head_begun(|| at(58));
        assert_eq!(
            judge(connection.situation(), &PATIENCE, None, at(59)),
            Verdict::Keep
        );
        assert_eq!(
            judge(connection.situation(), &PATIENCE, None, at(60)),
            Verdict::Cut
        );
    }

    #[test]
    fn a_connection_is_watched_until_its_guard_goes() {
        let watch = Arc::new(Watch::default());
        let (first, second) = (watch.add(at(0)), watch.add(at(0)));
        first.connection.run();
        assert_eq!(watch.cut_all(), 1);
        drop(first);
        assert_eq!(watch.lock().open.len(), 1);
        drop(second);
        assert!(futures::FutureExt::now_or_never(watch.empty()).is_some());
    }
}
