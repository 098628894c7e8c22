//! Members in the order of the times for which they are put down. Each is put down once at most.

use std::collections::BTreeSet;

use crate::time::Instant;

/// Whose turn comes when.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    queue: BTreeSet<(Instant, usize)>,
    /// The time under which a member stands in the queue.
    times: Vec<Option<Instant>>,
}

impl Agenda {
    /// Nobody of so many members is put down.
    pub(crate) fn new(members: usize) -> Self {
        Self {
            queue: BTreeSet::new(),
            times: vec![None; members],
        }
    }

    /// Puts a member down for `at`, whatever it was put down for.
    pub(crate) fn set(&mut self, index: usize, at: Instant) {
        self.remove(index);
        self.times[index] = Some(at);
        self.queue.insert((at, index));
    }

    /// Puts a member down for `at` unless it is put down for an earlier time.
    pub(crate) fn hurry(&mut self, index: usize, at: Instant) {
        if self.times[index].is_none_or(|before| before > at) {
            self.set(index, at);
        }
    }

    /// Strikes a member out. Returns what it was put down for.
    pub(crate) fn remove(&mut self, index: usize) -> Option<Instant> {
        let at = self.times[index].take()?;
        self.queue.remove(&(at, index));
        Some(at)
    }

    /// Is a member put down?
    pub(crate) fn contains(&self, index: usize) -> bool {
        self.times[index].is_some()
    }

    /// When the next turn is; never if nobody is put down.
    pub(crate) fn next(&self) -> Instant {
        self.queue.first().map_or(Instant::NEVER, |&(at, _)| at)
    }

    /// Strikes out the first one whose time has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<usize> {
        let &(at, index) = self.queue.first().filter(|(at, _)| *at <= now)?;
        self.queue.remove(&(at, index));
        self.times[index] = None;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn the_longest_overdue_comes_first_and_each_once() {
        let mut agenda = Agenda::new(4);
        assert_eq!((agenda.next(), agenda.pop(at(9))), (Instant::NEVER, None));
        for (index, ms) in [(0, 30), (1, 10), (2, 20), (0, 15)] {
            agenda.set(index, at(ms));
        }
        assert_eq!((agenda.next(), agenda.pop(at(9))), (at(10), None));
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop(at(100))).collect();
        assert_eq!(order, [1, 0, 2]);
    }

    #[test]
    fn hurry_only_makes_it_earlier() {
        let mut agenda = Agenda::new(2);
        for (ms, next) in [(30, 30), (40, 30), (20, 20)] {
            agenda.hurry(0, at(ms));
            assert_eq!(agenda.next(), at(next));
        }
        assert_eq!(
            [0, 0, 1].map(|index| agenda.remove(index)),
            [Some(at(20)), None, None]
        );
        assert_eq!(agenda.next(), Instant::NEVER);
    }
}
