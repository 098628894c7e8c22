//! What a decision says about the members, in file order, and what may be supposed about them.

use std::sync::Arc;

use super::Pool;
use crate::decision::{Considered, LISTED_MAX};
use crate::error::Cause;
use crate::event::ProbeFailure;
use crate::health::probe::{Finding, Probe};
use crate::picker::Standing;
use crate::pool::Member;
use crate::pool::slot::Slot;
use crate::time::Instant;

impl Pool {
    /// Those who may be picked from now on, in order.
    pub(super) fn set_published(&mut self, eligible: Vec<usize>) {
        let out = |index: &usize| eligible.binary_search(index).is_err();
        let all = 0..self.slots.len();
        self.out = all.filter(out).take(LISTED_MAX).collect();
        self.slots
            .iter_mut()
            .for_each(|slot| slot.published = false);
        self.published_in = 0;
        for &index in &eligible {
            let slot = &mut self.slots[index];
            slot.published = true;
            self.published_in += usize::from(self.bar.takes(slot.state, slot.is_backup()));
            if !slot.is_out() {
                slot.member.open();
            }
        }
        self.published = eligible;
    }

    /// All members.
    pub(in crate::pool) fn considered(&self) -> Vec<Considered> {
        self.slots.iter().map(|slot| self.consider(slot)).collect()
    }

    /// At most [`LISTED_MAX`] that are out and as many that are eligible, in a time that does not grow with the pool.
    pub(in crate::pool) fn sample(&self) -> Vec<Considered> {
        let eligible = self.published.iter().take(LISTED_MAX);
        let mut indexes: Vec<usize> = eligible.chain(&self.out).copied().collect();
        indexes.sort_unstable();
        let slots = indexes.into_iter().map(|index| &self.slots[index]);
        slots.map(|slot| self.consider(slot)).collect()
    }

    /// Those who wait only because they are backups.
    pub(in crate::pool) fn standby(&self) -> Vec<Arc<Member>> {
        let slots = self.slots.iter().filter(|slot| self.bar.holds_back(slot));
        slots.map(|slot| Arc::clone(&slot.member)).collect()
    }

    fn consider(&self, slot: &Slot) -> Considered {
        let backend = slot.member.backend();
        Considered {
            name: Arc::clone(slot.member.name()),
            weight: backend.weight,
            backup: backend.backup,
            state: slot.state,
            in_flight: slot.member.in_flight(),
            standing: match self.bar.excludes(slot) {
                Some(exclusion) => Err(exclusion),
                None => Ok(Standing::of(&slot.member)),
            },
            score: None,
        }
    }

    /// Nobody listens at the member with this name. `None`: there is none.
    pub(in crate::pool) fn suppose_refused(&mut self, name: &str, now: Instant) -> Option<()> {
        let named = |slot: &Slot| **slot.member.name() == *name;
        let index = self.slots.iter().position(named)?;
        match &self.probes {
            None => self.connect_failed(index, Cause::Refused, now, now),
            Some(settings) => {
                let probe = Probe {
                    member: Arc::clone(&self.slots[index].member),
                    settings: Arc::clone(settings),
                    started: now,
                    needs_answer: false,
                };
                let refused = ProbeFailure::Transport(Cause::Refused);
                self.probed(&probe, Finding::Failed(refused), now);
            }
        }
        Some(())
    }
}
