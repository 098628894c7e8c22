//! Decisions as data: for people and logs, never for a pick.

use std::sync::Arc;

use super::{Pool, SharedPool, UnknownMember};
use crate::decision::{Considered, Decision, Pick};
use crate::picker::Query;
use crate::pool::{Snapshot, Token};
use crate::time::Instant;

impl SharedPool {
    /// Whom a pick by this query would choose now, among whom, and why; `shown` is what the client showed of
    /// [`token`](Self::token). It changes nothing.
    ///
    /// It lists every member, and takes the lock of transitions to do so: it is for those who ask, not for each request.
    pub fn explain(&self, query: &Query<'_>, shown: Option<Token>) -> Decision {
        let (mut decision, snapshot) = self.listing(Pool::considered);
        let trace = snapshot.explain(query);
        let name = |index: &usize| Some(Arc::clone(&trace.candidates.get(*index)?.name));
        let stuck = shown.and_then(|token| self.named(token, &snapshot, query));
        decision.pick = Some(match stuck {
            Some(member) => Pick {
                choice: Some(Arc::clone(member.name())),
                drawn: Vec::new(),
                reason: "sticky: the client was there before",
            },
            None => Pick {
                choice: trace.choice.as_ref().and_then(name),
                drawn: trace.drawn.iter().filter_map(name).collect(),
                reason: trace.reason,
            },
        });
        // Both are in file order, and the snapshot may be a moment behind.
        let mut members = decision.members.iter_mut();
        for candidate in &trace.candidates {
            let own = members.find(|member| member.name == candidate.name);
            if let Some(member) = own.filter(|member| member.is_eligible()) {
                member.standing = Ok(candidate.standing);
                member.score = candidate.score;
            }
        }
        decision
    }

    /// Who is eligible now, who is not, and why: for a request that failed. It lists at most
    /// [`LISTED_MAX`](crate::decision::LISTED_MAX) of each, and counts all.
    pub fn survey(&self) -> Decision {
        self.listing(Pool::sample).0
    }

    fn listing(&self, list: impl FnOnce(&Pool) -> Vec<Considered>) -> (Decision, Arc<Snapshot>) {
        let pool = self.lock();
        let snapshot = self.snapshot.load_full();
        let (members, eligible) = (list(&pool), pool.eligible());
        drop(pool);
        let decision = Decision {
            pool: Arc::clone(&self.name),
            size: self.members,
            eligible,
            members,
            pick: None,
            attempts: Vec::new(),
            stopped: None,
        };
        (decision, snapshot)
    }

    /// Takes a member out as if nobody listened there: its first probe, or where nobody probes the first connection, is
    /// refused.
    ///
    /// # Errors
    /// When no member has this name.
    pub(crate) fn suppose_refused(&self, member: &str, now: Instant) -> Result<(), UnknownMember> {
        self.apply(|pool| pool.suppose_refused(member, now))
            .ok_or(UnknownMember)
    }
}
