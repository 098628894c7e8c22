//! Counters of the demo's traffic: totals, and what the last second was like. It is told the time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lb_core::time::Instant;

use super::programme::SERVERS;

/// A request that took longer was stuck.
pub(super) const STUCK: Duration = Duration::from_millis(250);

/// Length of a slot; so many make the second that is looked at.
const SLOT: Duration = Duration::from_millis(100);
const SLOTS: u64 = 10;

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// This server answered.
    Answered(usize),
    /// It failed although somebody could have answered.
    Failed,
    /// It failed because nobody was there.
    Excused,
}

/// Totals and the last second.
#[derive(Debug)]
pub(super) struct Tally {
    start: Instant,
    slots: VecDeque<Slot>,
    waiting: BTreeMap<u64, Instant>,
    /// Requests sent.
    pub(super) sent: u64,
    /// Requests answered by a server.
    pub(super) answered: u64,
    /// Requests that failed although somebody could have answered.
    pub(super) failed: u64,
    /// Requests that failed while nobody was there.
    pub(super) excused: u64,
    stuck: u64,
}

#[derive(Debug, Default)]
struct Slot {
    number: u64,
    sent: u32,
    answered: [u32; SERVERS],
    slowest: Duration,
}

/// What the last second was like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Second {
    /// Requests sent.
    pub(super) sent: u32,
    /// Answers, by server.
    pub(super) answered: [u32; SERVERS],
    /// The longest time that an answer took.
    pub(super) slowest: Duration,
}

impl Tally {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            start: now,
            slots: VecDeque::new(),
            waiting: BTreeMap::new(),
            sent: 0,
            answered: 0,
            failed: 0,
            excused: 0,
            stuck: 0,
        }
    }

    /// Request `id` was sent.
    pub(super) fn sent(&mut self, id: u64, now: Instant) {
        self.sent += 1;
        self.waiting.insert(id, now);
        self.slot(now).sent += 1;
    }

    /// Request `id` came to its end.
    pub(super) fn ended(&mut self, id: u64, ending: Ending, now: Instant) {
        let Some(sent) = self.waiting.remove(&id) else {
            // Sent before this count began.
            return;
        };
        let took = now.saturating_since(sent);
        if took > STUCK {
            self.stuck += 1;
        }
        let slot = self.slot(now);
        slot.slowest = slot.slowest.max(took);
        match ending {
            Ending::Answered(server) => {
                slot.answered[server] += 1;
                self.answered += 1;
            }
            Ending::Failed => self.failed += 1,
            Ending::Excused => self.excused += 1,
        }
    }

    /// When request `id` was sent, while it waits.
    pub(super) fn sent_at(&self, id: u64) -> Option<Instant> {
        self.waiting.get(&id).copied()
    }

    /// Requests without an answer so far.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests that took, or take, longer than [`STUCK`].
    pub(super) fn stuck(&self, now: Instant) -> u64 {
        self.stuck + self.still_stuck(now)
    }

    /// Requests that have been waiting for longer than [`STUCK`].
    pub(super) fn still_stuck(&self, now: Instant) -> u64 {
        let late = |sent: &&Instant| now.saturating_since(**sent) > STUCK;
        self.waiting.values().filter(late).count() as u64
    }

    /// The last ten full slots, as a rate per second: at the beginning fewer.
    pub(super) fn last_second(&self, now: Instant) -> Second {
        let number = self.number(now);
        let full = number.min(SLOTS);
        let mut sum = Second::default();
        for slot in &self.slots {
            if slot.number < number && slot.number + SLOTS >= number {
                sum.sent += slot.sent;
                sum.slowest = sum.slowest.max(slot.slowest);
                for (sum, answered) in sum.answered.iter_mut().zip(slot.answered) {
                    *sum += answered;
                }
            }
        }
        // `full` is at most ten.
        let rate = |count: u32| (count * SLOTS as u32).checked_div(full as u32).unwrap_or(0);
        sum.sent = rate(sum.sent);
        sum.answered = sum.answered.map(rate);
        sum
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_since(self.start).as_nanos() as u64 / SLOT.as_nanos() as u64
    }

    fn slot(&mut self, now: Instant) -> &mut Slot {
        let number = self.number(now);
        if self.slots.back().is_none_or(|last| last.number < number) {
            self.slots.push_back(Slot {
                number,
                ..Slot::default()
            });
        }
        while self
            .slots
            .front()
            .is_some_and(|first| first.number + SLOTS < number)
        {
            self.slots.pop_front();
        }
        let last = self.slots.len() - 1;
        &mut self.slots[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    /// A request every 10 ms from `from` to `to`, answered after 2 ms by each server in turn.
    fn traffic(tally: &mut Tally, from: u64, to: u64) {
        for id in from / 10..to / 10 {
            tally.sent(id, at(id * 10));
            tally.ended(id, Ending::Answered((id % 3) as usize), at(id * 10 + 2));
        }
    }

    #[test]
    fn rates_are_those_of_the_last_full_second() {
        let mut tally = Tally::new(at(0));
        traffic(&mut tally, 0, 3_000);
        let second = tally.last_second(at(3_000));
        assert_eq!(second.sent, 100);
        assert_eq!(second.answered.iter().sum::<u32>(), 100);
        assert!(
            second
                .answered
                .iter()
                .all(|count| (33..=34).contains(count))
        );
        assert_eq!(second.slowest, Duration::from_millis(2));
        assert_eq!(tally.last_second(at(3_500)).sent, 50);
        assert_eq!(tally.last_second(at(4_100)), Second::default());
    }

    #[test]
    fn the_first_second_is_no_dip() {
        let mut tally = Tally::new(at(0));
        traffic(&mut tally, 0, 400);
        assert_eq!(tally.last_second(at(50)).sent, 0);
        assert_eq!(tally.last_second(at(400)).sent, 100);
    }

    #[test]
    fn a_request_is_stuck_after_a_quarter_of_a_second_whether_it_ends_or_not() {
        let mut tally = Tally::new(at(0));
        (0..3).for_each(|id| tally.sent(id, at(0)));
        tally.ended(0, Ending::Answered(0), at(250));
        assert_eq!((tally.stuck(at(250)), tally.waiting()), (0, 2));
        tally.ended(1, Ending::Failed, at(251));
        assert_eq!((tally.stuck(at(260)), tally.waiting()), (2, 1));
        assert_eq!((tally.sent, tally.answered, tally.failed), (3, 1, 1));
        assert_eq!(
            tally.last_second(at(300)).slowest,
            Duration::from_millis(251)
        );
    }

    #[test]
    fn a_request_of_an_earlier_count_is_not_counted() {
        let mut tally = Tally::new(at(0));
        tally.ended(7, Ending::Failed, at(1));
        assert_eq!((tally.sent, tally.failed, tally.waiting()), (0, 0, 0));
    }

    #[test]
    fn memory_does_not_grow_with_time() {
        let mut tally = Tally::new(at(0));
        traffic(&mut tally, 0, 100_000);
        assert!(tally.slots.len() <= 12 && tally.waiting.is_empty());
    }
}
