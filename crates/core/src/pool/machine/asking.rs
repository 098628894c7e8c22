//! The stall guard's own questions: whom they go to, and whose answers count.

use super::Pool;
use crate::event::State;
use crate::time::Instant;

impl Pool {
    /// Asks the members that are inquired about, and witnesses.
    pub(super) fn ask(&mut self, now: Instant) {
        for about in 0..self.inquiries.len() {
            let index = self.inquiries[about];
            let Some(inquiry) = &mut self.slots[index].inquiry else {
                continue;
            };
            let (asks, calls) = (inquiry.wants_asking(), inquiry.calls_witness(now));
            if asks {
                self.demand_answer(index, now);
            }
            if calls && let Some(witness) = self.witness(index) {
                self.demand_answer(witness, now);
            }
        }
    }

    fn demand_answer(&mut self, index: usize, now: Instant) {
        self.slots[index].demand_answer();
        self.schedule.hurry(index, now);
    }

    /// Somebody else who should be able to answer: each in turn, because nobody knows who is.
    fn witness(&mut self, about: usize) -> Option<usize> {
        let is_fit = |index: usize| {
            let slot = &self.slots[index];
            index != about && slot.state == State::Up && slot.inquiry.is_none()
        };
        let count = self.slots.len();
        let start = self.next_witness % count;
        let witness = (start..count).chain(0..start).find(|&at| is_fit(at))?;
        self.next_witness = witness + 1;
        Some(witness)
    }

    /// The process of a member answered what it was asked at `started`.
    pub(super) fn testify(&mut self, index: usize, started: Instant, now: Instant) {
        for &about in self.inquiries.iter().filter(|&&about| about != index) {
            if let Some(inquiry) = &mut self.slots[about].inquiry {
                inquiry.testify(started, now);
            }
        }
    }
}
