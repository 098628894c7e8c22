//! Who may be picked, and why the others may not. This is the only place that says so.

use super::machine::Census;
use super::slot::Slot;
use crate::config::settings::WhenAllDown;
use crate::decision::Exclusion;
use crate::event::State;

/// The tiers, the best first: servers that are known good, and then those of whom nothing is known yet; in each,
/// backups only where no other server is.
const TIERS: [(State, bool); 4] = [
    (State::Up, false),
    (State::Up, true),
    (State::Unknown, false),
    (State::Unknown, true),
];

/// What is asked of a member at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bar {
    /// The best tier that has any member.
    tier: Option<(State, bool)>,
    when_all_down: WhenAllDown,
}

impl Bar {
    /// What is asked among these.
    pub(super) fn among(census: &Census, when_all_down: WhenAllDown) -> Self {
        let tier = TIERS
            .into_iter()
            .find(|&(state, backups)| census.tier(state, backups) > 0);
        Self {
            tier,
            when_all_down,
        }
    }

    /// The members of the best tier that has any, and whoever is on trial; a backup's trial waits until backups are needed.
    /// Where there is no tier, those on trial, or everybody who is wanted if the pool shall try anyway.
    fn admits(self, slot: &Slot) -> bool {
        match self.tier {
            Some(tier @ (_, backups)) => {
                is_in(slot, tier) || slot.is_on_trial() && (backups || !slot.is_backup())
            }
            None if self.when_all_down == WhenAllDown::TryAnyway => slot.is_wanted(),
            None => slot.is_on_trial(),
        }
    }

    /// Why a member may not be picked; `None`: it may.
    pub(super) fn excludes(self, slot: &Slot) -> Option<Exclusion> {
        if self.admits(slot) {
            return None;
        }
        let standby = slot.is_backup() && self.tier.is_some_and(|(_, backups)| !backups);
        Some(match slot.state {
            State::Up | State::Unknown if standby => Exclusion::Standby,
            State::Unknown => Exclusion::Unproven,
            _ => Exclusion::State(slot.passages.back().map(|passage| passage.trigger)),
        })
    }

    /// Could it serve as well as those who are asked now, and waits only because it is a backup?
    pub(super) fn holds_back(self, slot: &Slot) -> bool {
        let backup = self.tier.map(|(state, _)| (state, true));
        self.excludes(slot) == Some(Exclusion::Standby)
            && (slot.state == State::Up || backup.is_some_and(|tier| is_in(slot, tier)))
    }

    /// Is a member in this state of the best tier?
    pub(super) fn takes(self, state: State, backup: bool) -> bool {
        self.tier == Some((state, backup))
    }

    /// Is there anybody by right?
    pub(super) fn is_met(self) -> bool {
        self.tier.is_some()
    }

    /// How many may be picked.
    pub(super) fn count(self, census: &Census) -> usize {
        match self.tier {
            Some((state, backups)) => {
                let standby = usize::from(backups) * census.trials(true);
                census.tier(state, backups) + census.trials(false) + standby
            }
            None if self.when_all_down == WhenAllDown::TryAnyway => census.wanted(),
            None => census.trials(false) + census.trials(true),
        }
    }

    /// The indexes of those who may be picked.
    pub(super) fn eligible(self, slots: &[Slot]) -> Vec<usize> {
        (0..slots.len())
            .filter(|&index| self.admits(&slots[index]))
            .collect()
    }
}

fn is_in(slot: &Slot, (state, backup): (State, bool)) -> bool {
    slot.state == state && slot.is_backup() == backup
}
