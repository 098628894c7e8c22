//! The transitions that are no probe's: ejection and recall, and what people ask.

use std::collections::BTreeMap;

use super::{Pool, pause};
use crate::event::{Command, RequestFailure, State, Trigger};
use crate::health::normal::Counts;
use crate::health::outlier::{self, Seen};
use crate::health::slow;
use crate::pool::slot::Slot;
use crate::time::Instant;

/// Members at which so many requests failed in a row that somebody must look.
#[derive(Debug, Default)]
pub(super) struct Accused {
    of: BTreeMap<usize, Accusation>,
    not_before: Instant,
}

#[derive(Debug)]
struct Accusation {
    trigger: Trigger,
    picked: Instant,
}

impl Accused {
    /// When they are heard; never if there are none.
    pub(super) fn next(&self) -> Instant {
        match self.of.is_empty() {
            true => Instant::NEVER,
            false => self.not_before,
        }
    }
}

impl Pool {
    /// Requests at a member failed, so many in a row. Whether that takes it out is for the monitor's step to say, because it
    /// depends on all others.
    pub(in crate::pool) fn request_failed(
        &mut self,
        index: usize,
        streak: u32,
        failure: RequestFailure,
        picked: Instant,
    ) {
        let accusation = Accusation {
            trigger: Trigger::RequestsFailed(streak, failure),
            picked,
        };
        self.accused.of.entry(index).or_insert(accusation);
        self.urgent = true;
    }

    /// Takes those out whose requests failed, unless their neighbours fail, too.
    pub(super) fn hear(&mut self, now: Instant) {
        if now < self.accused.next() {
            return;
        }
        let accused = std::mem::take(&mut self.accused.of);
        self.accused.not_before = now + pause(self.slots.len());
        let lately = |slot: &Slot| slot.lately();
        let all = total(self.slots.iter().map(lately));
        for (index, Accusation { trigger, picked }) in accused {
            let slot = &self.slots[index];
            let own = lately(slot);
            if picked >= slot.member.readmitted() && own.stands_out(all.since(own)) {
                self.eject(index, trigger, now);
            }
        }
    }

    /// Takes a member out whose answers fail, if the pool can spare it.
    fn eject(&mut self, index: usize, trigger: Trigger, now: Instant) {
        let Some(rules) = &self.passive else { return };
        if self.slots[index].is_out() {
            return;
        }
        let count = |state| self.census.count(state);
        let others_up = count(State::Up) - usize::from(self.slots[index].state == State::Up);
        if outlier::may_eject(rules, count(State::Ejected), self.slots.len(), others_up) {
            let all = total(self.slots.iter().map(|slot| slot.member.seen()));
            let slot = &mut self.slots[index];
            let others = all.since(slot.member.seen());
            slot.eject(rules, others, &self.rng, now);
            self.settle(index, Some(trigger), now);
        }
    }

    /// Looks at whose answers fail, how often, and at those that were ejected just now.
    pub(super) fn judge(&mut self, now: Instant) {
        let Some(rules) = &self.passive else { return };
        let (share, latency) = (rules.share_percent, rules.latency_factor);
        self.reconsider(now);
        if let Some(share) = share {
            self.compare(share, now);
        }
        if now >= self.window + outlier::WINDOW {
            if let Some(factor) = latency {
                self.compare_times(factor, now);
            }
            self.window = now;
            self.slots.iter_mut().for_each(Slot::begin_window);
        }
    }

    /// An ejection may have hit the first of many that fail.
    fn reconsider(&mut self, now: Instant) {
        if self.census.count(State::Ejected) == 0 {
            return;
        }
        let all = total(self.slots.iter().map(|slot| slot.member.seen()));
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let trigger = slot.acquit(all.since(slot.member.seen()), now);
            if trigger.is_some() {
                // Times have changed for all of them.
                self.slots.iter_mut().for_each(Slot::start_over);
            }
            self.settle(index, trigger, now);
        }
    }

    /// Looks for members of whose answers too large a share fails.
    fn compare(&mut self, share: u32, now: Instant) {
        let seen: Vec<_> = self.slots.iter().map(Slot::in_window).collect();
        let all = total(seen.iter().copied());
        for (index, seen) in seen.into_iter().enumerate() {
            if seen.too_much(share, all.since(seen)) {
                let (failed, of) = (seen.failed, seen.all);
                self.eject(index, Trigger::FailureShare { failed, of }, now);
            }
        }
    }

    /// Looks for members whose answers take much longer to begin than those of the others that serve.
    fn compare_times(&mut self, factor: u32, now: Instant) {
        let serving: Vec<_> = (0..self.slots.len())
            .filter(|&index| !self.slots[index].is_out())
            .map(|index| (index, self.slots[index].learned_in_window()))
            .collect();
        let mut all = Counts::default();
        serving.iter().for_each(|(_, counts)| all.add(counts));
        for (index, own) in serving {
            if let Some((median, others)) = slow::outlier(&own, &all.since(&own), factor) {
                self.eject(index, Trigger::Slow { median, others }, now);
            }
        }
    }

    /// Nobody is left but those that were ejected: their answers may fail, and yet they are the best there is.
    pub(super) fn recall(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            if self.slots[index].state == State::Ejected {
                let trigger = self.slots[index].recall(now);
                self.change(index, trigger, now);
            }
        }
    }

    /// Somebody asks something of the member with this name. `None`: there is none.
    pub(in crate::pool) fn command(
        &mut self,
        name: &str,
        command: Command,
        now: Instant,
    ) -> Option<()> {
        let named = |slot: &Slot| **slot.member.name() == *name;
        let index = self.slots.iter().position(named)?;
        let trigger = self.slots[index].ask(command, now);
        self.settle(index, Some(trigger), now);
        if self.probes.is_some() {
            match self.slots[index].state {
                State::Maintenance => self.schedule.set(index, Instant::NEVER),
                _ => self.schedule.hurry(index, now),
            }
        }
        Some(())
    }
}

fn total(seen: impl Iterator<Item = Seen>) -> Seen {
    seen.fold(Seen::default(), Seen::plus)
}
