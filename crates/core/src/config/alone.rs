//! What would do nothing at a server that has no other beside it.

use super::reader::Item;
use super::settings::Balance;
use crate::backend::Backend;

/// Among how many servers a request may have the choice, at most: backups serve only where no other server can.
pub(super) fn choice(servers: &[Backend]) -> usize {
    let backups = servers.iter().filter(|server| server.backup).count();
    backups.max(servers.len() - backups)
}

/// A weight of the only backup, or of the only server that is none.
pub(super) fn refuse_a_weight(servers: &[Backend], place: &Item<'_>) {
    for (backup, whose) in [(false, "server that is no backup"), (true, "backup")] {
        let mut tier = servers.iter().filter(|server| server.backup == backup);
        if let (Some(only), None) = (tier.next(), tier.next())
            && only.weight.get() > 1
        {
            place.fail(
                format!("the only {whose} has a weight"),
                "no weight there",
                "a weight is a share relative to others, and backups serve only where no other server can",
            );
        }
    }
}

/// A hash where there is nobody to choose among.
pub(super) fn refuse_a_hash(balance: &Balance, place: &Item<'_>) {
    if matches!(balance, Balance::Hash(_)) {
        place.fail(
            "a hash of one server",
            "several servers, or no hash",
            "every key belongs to that one, and no load is too much for it",
        );
    }
}
