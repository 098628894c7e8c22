//! A lease: one attempt in flight at one member. It reports exactly one outcome.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use http::StatusCode;

use super::{Member, SharedPool};
use crate::backend::Backend;
use crate::error::Cause;
use crate::health::normal::Class;
use crate::health::outlier::{Evidence, TRIAL_PATIENCE, evidence};
use crate::health::stall::LATE;
use crate::health::trial::TrialEnd;
use crate::time::Instant;

/// As what a failed attempt counts in a member's time to the first byte, at least: who fails quickly is not fast.
const FAILURE: Duration = Duration::from_secs(1);

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
#[must_use = "dropping a lease ends the attempt"]
pub struct Lease {
    pool: Arc<SharedPool>,
    member: Arc<Member>,
    picked: Instant,
    /// Since when it counts as waiting for its first byte.
    waiting: Option<Instant>,
    /// Its place among those that have waited for long.
    late: Option<u64>,
    answered: bool,
    /// It is the one trial of its member, and has shown nothing yet.
    trial: bool,
    ended: bool,
}

impl Lease {
    pub(super) fn begin(
        pool: Arc<SharedPool>,
        member: Arc<Member>,
        trial: bool,
        now: Instant,
    ) -> Self {
        let mut lease = Self {
            pool,
            member,
            picked: now,
            waiting: None,
            late: None,
            answered: false,
            trial,
            ended: false,
        };
        lease.sent(now);
        lease
    }

    /// When it began.
    pub fn picked(&self) -> Instant {
        self.picked
    }

    /// The member it counts at.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// The facts about that member's server.
    pub fn backend(&self) -> &Backend {
        self.member.backend()
    }

    /// The request is still on its way, perhaps for long: until [`sent`](Self::sent) says otherwise the attempt does
    /// not count as waiting for an answer, because nobody can expect one.
    pub fn sending(&mut self) {
        self.stop_waiting();
    }

    /// The whole request is sent: from `now` on the attempt waits for its first byte. A new lease waits already.
    pub fn sent(&mut self, now: Instant) {
        if self.answered || self.waiting.is_some() {
            return;
        }
        self.waiting = Some(now);
        self.member.wait(now);
    }

    /// When after `now` the answer of [`is_stuck`](Self::is_stuck) may become another one without a wake.
    pub(crate) fn stuck_at(&self, now: Instant) -> Option<Instant> {
        let sent = self.waiting?;
        let at = match self.late {
            None => sent + LATE,
            Some(_) if self.is_trial() => sent + self.member.trial_wait(),
            Some(_) => return None,
        };
        (at > now).then_some(at)
    }

    /// Does the attempt wait at a member that has stalled, so that its request had better go elsewhere? Once it has
    /// waited for [`LATE`], `waker` is woken when the member stalls.
    pub(crate) fn is_stuck(&mut self, waker: &Waker, now: Instant) -> bool {
        let Some(sent) = self.waiting.filter(|&sent| sent + LATE <= now) else {
            return false;
        };
        match self.late {
            Some(key) => self.member.late().renew(key, waker),
            None => self.is_late(sent, waker, now),
        }
        // A trial is made because the member has stalled: it has its own time.
        let tests = self.is_trial() && now < sent + self.member.trial_wait();
        self.member.is_stalled() && !tests
    }

    fn is_late(&mut self, sent: Instant, waker: &Waker, now: Instant) {
        self.late = Some(self.member.late().register(sent, waker));
        if self.member.last_byte() + LATE / 2 <= now {
            self.pool.look_soon(self.member.index());
        }
    }

    /// The request goes elsewhere, because the member has stalled: a failure only of a trial.
    pub(crate) fn leave(self, now: Instant) {
        let outcome = if self.is_trial() {
            Outcome::Failed(Cause::TimedOut)
        } else {
            Outcome::Abandoned
        };
        self.finish(outcome, now);
    }

    /// Is it the one request that tests its member?
    pub(crate) fn is_trial(&self) -> bool {
        // What was picked before the member came back tests nothing any more.
        self.trial && self.picked >= self.member.readmitted()
    }

    /// Is it the one request that tests whether a stalled member is back?
    pub(crate) fn tests_a_stalled_member(&self) -> bool {
        self.is_trial() && self.member.is_stalled()
    }

    /// The member sent something: it is alive, and this attempt no longer waits for its first byte.
    ///
    /// Called at the head and at each frame of the body; it costs two relaxed accesses unless something changes.
    pub fn byte(&mut self, now: Instant) {
        self.member.heard(now);
        self.answered = true;
        if let Some(sent) = self.waiting {
            let counted = self.stop_waiting();
            let time = now.saturating_since(sent);
            self.member.classify(time, counted);
            self.member.note_latency(time, now);
            self.adapt(time, now);
        }
        if self.is_trial() {
            if self.member.is_ejected() && now < self.picked + TRIAL_PATIENCE {
                self.member.trial_speaks(self.picked);
            } else {
                self.trial = false;
                self.pool.trial_ended(&self.member, TrialEnd::Answered(now));
            }
        }
        if self.member.is_byte_news() {
            self.pool.heard_from(&self.member, now);
        }
    }

    /// Ends the attempt.
    pub fn finish(mut self, outcome: Outcome, now: Instant) {
        if matches!(outcome, Outcome::Answered(_)) && !self.answered {
            self.byte(now);
        }
        if matches!(outcome, Outcome::Failed(_)) {
            let time = now.saturating_since(self.picked).max(FAILURE);
            self.member.note_latency(time, now);
        }
        if let (Outcome::Failed(Cause::TimedOut), Some(sent)) = (outcome, self.waiting) {
            self.adapt(now.saturating_since(sent), now);
        }
        self.end(outcome);
        if let Outcome::ConnectFailed(cause) = outcome {
            self.pool
                .connect_failed(&self.member, cause, self.picked, now);
        }
        let evidence = evidence(outcome);
        if self.is_trial() {
            let end = match (evidence, outcome) {
                (_, Outcome::Abandoned) => TrialEnd::Abandoned,
                (Evidence::Good, _) => TrialEnd::Answered(now),
                _ => TrialEnd::Failed(now),
            };
            self.pool.trial_ended(&self.member, end);
        }
        self.weigh(evidence);
    }

    /// The member's adaptive limit hears how long the first byte took.
    fn adapt(&self, time: Duration, now: Instant) {
        if let Some((step, applied)) = self.member.adapt(time, now) {
            self.pool.adapted(&self.member, step, applied, now);
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        let sent = self.waiting;
        let counted = self.stop_waiting();
        if outcome == Outcome::Abandoned
            && let Some(sent) = sent
        {
            self.member.gave_up(sent, counted);
        }
        self.member.end(outcome);
        self.pool.queue().call();
    }

    /// What the outcome does to the member's streak of failures.
    fn weigh(&self, evidence: Evidence) {
        if evidence == Evidence::None || self.picked < self.member.readmitted() {
            return;
        }
        match evidence {
            Evidence::Bad(failure) => {
                let streak = self.member.did_badly();
                self.pool
                    .request_failed(&self.member, streak, failure, self.picked);
            }
            _ => self.member.did_well(),
        }
    }

    /// Returns as what the attempt was counted among the answers already.
    fn stop_waiting(&mut self) -> Option<Class> {
        self.waiting.take()?;
        self.member.stop_waiting();
        self.member.late().remove(self.late.take()?)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.end(Outcome::Abandoned);
        if self.is_trial() {
            self.pool.trial_ended(&self.member, TrialEnd::Abandoned);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("member", self.member.name())
            .field("picked", &self.picked)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
