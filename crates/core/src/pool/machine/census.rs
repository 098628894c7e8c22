//! How many members are in which state: what a transition must know of all members, without a look at each of them.

use crate::event::State;
use crate::health::stall;
use crate::pool::slot::Slot;

const STATES: usize = State::Maintenance as usize + 1;

/// Counts of members by state, backups apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pool) struct Census {
    states: [[usize; 2]; STATES],
    trials: [usize; 2],
}

/// As what a member is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    state: State,
    backup: bool,
    on_trial: bool,
}

impl Entry {
    fn of(slot: &Slot) -> Self {
        Self {
            state: slot.state,
            backup: slot.is_backup(),
            on_trial: slot.is_on_trial(),
        }
    }
}

impl Census {
    pub(super) fn of(slots: &[Slot]) -> Self {
        let mut census = Self::default();
        slots.iter().for_each(|slot| census.add(Entry::of(slot)));
        census
    }

    fn add(&mut self, entry: Entry) {
        let backup = usize::from(entry.backup);
        self.states[entry.state as usize][backup] += 1;
        self.trials[backup] += usize::from(entry.on_trial);
    }

    /// Changes a slot, and counts it as what it is then.
    pub(super) fn track<R>(&mut self, slot: &mut Slot, change: impl FnOnce(&mut Slot) -> R) -> R {
        let before = Entry::of(slot);
        let result = change(slot);
        self.moved(before, Entry::of(slot));
        result
    }

    fn moved(&mut self, from: Entry, to: Entry) {
        let backup = usize::from(from.backup);
        self.states[from.state as usize][backup] -= 1;
        self.trials[backup] -= usize::from(from.on_trial);
        self.add(to);
    }

    /// Members in this state, backups or others.
    pub(in crate::pool) fn tier(&self, state: State, backup: bool) -> usize {
        self.states[state as usize][usize::from(backup)]
    }

    /// Members on trial, backups or others.
    pub(in crate::pool) fn trials(&self, backup: bool) -> usize {
        self.trials[usize::from(backup)]
    }

    /// All members in this state.
    pub(super) fn count(&self, state: State) -> usize {
        self.states[state as usize].iter().sum()
    }

    /// Members that are not out.
    pub(super) fn present(&self) -> usize {
        self.count(State::Up) + self.count(State::Unknown)
    }

    /// May one more of those that are in be found stalled?
    pub(super) fn may_stall(&self) -> bool {
        let stalled = self.count(State::Stalled);
        stall::may_go(stalled, self.serving(), self.present().saturating_sub(1))
    }

    /// Members that somebody wants and whose probes do not fail: those among whom something goes wrong with the requests.
    fn serving(&self) -> usize {
        self.wanted() - self.count(State::Down)
    }

    /// Members that nobody has asked to leave.
    pub(in crate::pool) fn wanted(&self) -> usize {
        let all: usize = self.states.iter().flatten().sum();
        all - self.count(State::Draining) - self.count(State::Maintenance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::*;

    fn entry(state: State, backup: bool) -> Entry {
        Entry {
            state,
            backup,
            on_trial: false,
        }
    }

    #[test]
    fn it_knows_who_is_in_and_among_how_many() {
        // states, present, serving, wanted
        let table: [(&[State], _, _, _); 4] = [
            (&[Up, Unknown, Up], 3, 3, 3),
            (&[Up, Down, Draining, Maintenance], 1, 1, 2),
            (&[Up, Suspect, Stalled, Ejected], 1, 4, 4),
            (&[], 0, 0, 0),
        ];
        for (states, present, serving, wanted) in table {
            let mut census = Census::default();
            for &state in states {
                census.add(entry(Up, false));
                census.moved(entry(Up, false), entry(state, false));
            }
            let found = (census.present(), census.serving(), census.wanted());
            assert_eq!(found, (present, serving, wanted), "{states:?}");
        }
    }

    #[test]
    fn backups_and_trials_are_counted_apart() {
        let mut census = Census::default();
        census.add(entry(Up, true));
        census.add(entry(Up, false));
        let trial = Entry {
            on_trial: true,
            ..entry(Stalled, true)
        };
        census.moved(entry(Up, true), trial);
        let both = |count: &dyn Fn(bool) -> usize| [false, true].map(count);
        assert_eq!(both(&|backup| census.tier(Up, backup)), [1, 0]);
        assert_eq!(both(&|backup| census.trials(backup)), [0, 1]);
        census.moved(trial, entry(Down, true));
        assert_eq!(both(&|backup| census.trials(backup)), [0, 0]);
        assert_eq!((census.count(Up), census.count(Down)), (1, 1));
    }
}
