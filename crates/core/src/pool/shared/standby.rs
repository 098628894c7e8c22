//! Backups, for whoever has failed everywhere else.

use std::sync::Arc;

use super::SharedPool;
use crate::picker::{Query, Tried};
use crate::pool::{Lease, Member};
use crate::rng::Rng;
use crate::time::Instant;

impl SharedPool {
    /// A backup that waits because others are eligible, for a request that none of those can serve: any of the untried ones,
    /// by weight. It is counted and added to `tried` as by [`pick`](Self::pick).
    ///
    /// It takes the lock of transitions, if the pool has backups: it is for those who would fail otherwise.
    pub(crate) fn pick_standby(
        self: &Arc<Self>,
        tried: &mut Tried,
        rng: &Rng,
        now: Instant,
    ) -> Option<Lease> {
        if !self.has_backups {
            return None;
        }
        let mut waiting = self.lock().standby();
        let query = Query::new(tried, now, rng);
        waiting.retain(|member| query.allows(member));
        // A round is lost only to somebody who took a member's last place.
        while let Some(index) = draw(&waiting, rng) {
            let member = waiting.swap_remove(index);
            if let Some(trial) = member.admit() {
                tried.insert(&member);
                return Some(Lease::begin(Arc::clone(self), member, trial, now));
            }
        }
        None
    }
}

/// The index of one of them, by weight.
fn draw(members: &[Arc<Member>], rng: &Rng) -> Option<usize> {
    let weight = |member: &Arc<Member>| u64::from(member.backend().weight.get());
    let mut drawn = rng.below(members.iter().map(weight).sum());
    members.iter().position(|member| {
        let below = drawn < weight(member);
        drawn = drawn.saturating_sub(weight(member));
        below
    })
}
