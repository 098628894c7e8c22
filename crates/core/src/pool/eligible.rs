//! Who may be picked. This is the only place that says so.

use super::slot::Slot;
use crate::config::settings::WhenAllDown;
use crate::event::State;

/// The tiers, the best first: servers that are known good, and then those of whom nothing is known yet; in each,
/// backups only where no other server is.
const TIERS: [(State, bool); 4] = [
    (State::Up, false),
    (State::Up, true),
    (State::Unknown, false),
    (State::Unknown, true),
];

/// The members of the best tier that has any, and whoever is on trial; a backup's trial waits until backups are needed.
/// Where there is no tier, those on trial, or everybody who is wanted if the pool shall try anyway.
pub(super) fn eligible(slots: &[Slot], when_all_down: WhenAllDown) -> Vec<usize> {
    let is_in = |slot: &Slot, (state, backup)| slot.state == state && slot.is_backup() == backup;
    let tier = TIERS
        .into_iter()
        .find(|tier| slots.iter().any(|slot| is_in(slot, *tier)));
    let eligible = |slot: &Slot| match tier {
        Some(tier @ (_, backups)) => {
            is_in(slot, tier) || slot.is_on_trial() && (backups || !slot.is_backup())
        }
        None if when_all_down == WhenAllDown::TryAnyway => slot.is_wanted(),
        None => slot.is_on_trial(),
    };
    (0..slots.len())
        .filter(|&index| eligible(&slots[index]))
        .collect()
}
