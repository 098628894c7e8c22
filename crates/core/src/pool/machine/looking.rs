//! The stall guard's looks, and the trials of those that are out.
//!
//! All members are looked at now and then. Between these looks only those get attention that asked for it: one at which a
//! request is late, one that is in doubt, one whose trial is due. So a late request costs the same in any pool.

use std::sync::Arc;
use std::time::Duration;

use super::{Pool, pause};
use crate::event::State;
use crate::health::agenda::Agenda;
use crate::health::inquiry;
use crate::health::normal::Counts;
use crate::health::outlier::TRIAL_PATIENCE;
use crate::health::stall::{self, LastBytes};
use crate::health::trial::TrialEnd;
use crate::pool::slot::Slot;
use crate::time::Instant;

/// When who is looked at.
#[derive(Debug)]
pub(super) struct Looks {
    last: Instant,
    /// When all are looked at.
    next: Instant,
    /// Who is looked at before that.
    agenda: Agenda,
    bytes: LastBytes,
    /// As of when.
    bytes_at: Instant,
}

impl Looks {
    pub(super) fn new(members: usize, now: Instant) -> Self {
        Self {
            last: now,
            next: now + stall::LOOK_EVERY,
            agenda: Agenda::new(members),
            bytes: LastBytes::default(),
            bytes_at: now,
        }
    }

    /// When somebody is looked at next.
    pub(super) fn next(&self) -> Instant {
        self.next.min(self.agenda.next())
    }

    /// A request is late at a member that is silent.
    pub(super) fn rang(&mut self, index: usize) {
        self.agenda.hurry(index, self.last + stall::LOOK_GAP);
    }

    /// A member is looked at then, at the latest.
    pub(super) fn by(&mut self, index: usize, at: Instant) {
        if at < self.next {
            self.agenda.hurry(index, at);
        }
    }
}

impl Pool {
    /// Looks at whoever is due.
    pub(super) fn look(&mut self, now: Instant) {
        if self.looks.next <= now {
            self.look_at_all(now);
        } else if self.looks.agenda.next() <= now {
            self.looks.last = now;
            self.read_bytes(now);
            while let Some(index) = self.looks.agenda.pop(now) {
                self.watch(index, now);
                self.offer_trial(index, now);
            }
            self.ask(now);
        }
    }

    fn look_at_all(&mut self, now: Instant) {
        let looked_away = stall::looked_away(self.looks.last, now);
        self.looks.last = now;
        self.looks.next = now + stall::LOOK_EVERY;
        if !looked_away {
            self.learn(now);
            self.read_bytes(now);
        }
        for index in 0..self.slots.len() {
            self.looks.agenda.remove(index);
            if !looked_away {
                self.watch(index, now);
            }
            self.end_quiet_trial(index, now);
            self.offer_trial(index, now);
        }
        if !looked_away {
            self.ask(now);
        }
        self.judge(now);
    }

    /// Learns what is normal.
    fn learn(&mut self, now: Instant) {
        self.learned = Counts::default();
        for slot in &mut self.slots {
            slot.learn();
            slot.member.wake_limit(now);
            self.learned.add(&slot.learned);
        }
    }

    /// When the others last sent something: in a large pool as of a moment ago, at which nobody is blamed too early.
    fn read_bytes(&mut self, now: Instant) {
        if now >= self.looks.bytes_at + pause(self.slots.len()).min(stall::AGAIN) {
            self.looks.bytes = LastBytes::of(self.slots.iter().map(|slot| slot.member.last_byte()));
            self.looks.bytes_at = now;
        }
    }

    fn watch(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        if let Some(since) = slot.stalled_since() {
            if slot.member.last_byte() > since {
                // The byte came while the state was being set, and its lease could not know.
                self.heard_from(index, now);
            }
            return;
        }
        let may_go = slot.is_out() || self.census.may_stall();
        let was_asked = slot.inquiry.is_some();
        let room = was_asked || self.inquiries.len() < inquiry::MOST;
        let may_ask = may_go && self.probes.is_some() && room;
        let others = self.looks.bytes.except(index);
        match slot.look(&self.learned, others, may_ask, now) {
            stall::Finding::Calm => {}
            stall::Finding::Doubtful(again) => {
                self.looks.by(index, again.max(now + stall::LOOK_GAP));
            }
            stall::Finding::Stalled { waiting, silence } if may_go => {
                self.stall(index, waiting, silence, now);
            }
            stall::Finding::Stalled { .. } => {}
        }
        match (was_asked, self.slots[index].inquiry.is_some()) {
            (false, true) => self.inquiries.push(index),
            (true, false) => self.inquiries.retain(|&about| about != index),
            _ => {}
        }
    }

    fn stall(&mut self, index: usize, waiting: u32, silence: Duration, now: Instant) {
        let slot = &mut self.slots[index];
        let trigger = slot.stall(waiting, silence, &self.learned, now);
        self.stuck.push(Arc::clone(&slot.member));
        self.settle(index, Some(trigger), now);
    }

    /// The answer to a trial has begun and does not end, and its bytes are too rare to tell: a stream, a tunnel.
    fn end_quiet_trial(&mut self, index: usize, now: Instant) {
        let slot = &self.slots[index];
        if slot.state != State::Ejected || !slot.is_on_trial() {
            return;
        }
        let picked = slot.member.speaking_trial();
        if picked.is_some_and(|picked| now >= picked + TRIAL_PATIENCE) {
            self.trial_ended(index, TrialEnd::Answered(now));
        }
    }

    fn offer_trial(&mut self, index: usize, now: Instant) {
        if self.is_desperate() {
            return; // Every request is one.
        }
        let slot = &mut self.slots[index];
        let Some(due) = slot.trials.map(|trials| trials.due()) else {
            return;
        };
        if due > now {
            self.looks.by(index, due);
        } else if slot.state != State::Stalled || slot.member.waiting() == 0 {
            self.census.track(slot, Slot::offer_trial);
            self.publishing.note();
        }
    }
}
