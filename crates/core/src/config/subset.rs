//! Which servers of a fleet this balancer uses.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use super::raw::Value;
use super::reader::Item;
use super::settings::{Balance, PoolSettings};
use crate::pool::Subset;

const EXPECTED: &str = "a table such as { size = 20, balancer = 0, of = 10 }";
/// What a table over all pairs may cost.
const BALANCERS_MAX: u32 = 1000;
const PAIRS_MAX: usize = 1 << 24;
const SIZE_MAX: u32 = 100_000;

/// The `subset` of a pool that has read the rest. `None` if somebody complained.
pub(super) fn subset(item: Item<'_>, pool: &PoolSettings) -> Option<Subset> {
    let place = item.place();
    let mut table = item.table(EXPECTED, "")?;
    let mut number = |key, bounds, what, why| {
        let Some(item) = table.take(key) else {
            table.fail_absent(key, what, EXPECTED);
            return None;
        };
        number(&item, bounds, why)
    };
    let size = number(
        "size",
        1..=SIZE_MAX,
        "servers for each balancer",
        "a balancer without servers can serve nobody",
    );
    let of = number(
        "of",
        1..=BALANCERS_MAX,
        "how many balancers share the servers",
        "the servers are shared out among so many",
    );
    let last = of.map_or(BALANCERS_MAX, |of| of) - 1;
    let balancer = number(
        "balancer",
        0..=last,
        "which of them this one is, from 0 on",
        "the first is 0, and the last is one less than of",
    );
    table.finish(&[]);
    let subset = Subset {
        size: NonZeroU32::new(size?)?,
        balancer: balancer?,
        of: NonZeroU32::new(of?)?,
    };
    fits(&place, &subset, pool).then_some(subset)
}

/// Does it go with the rest of the pool?
fn fits(place: &Item<'_>, subset: &Subset, pool: &PoolSettings) -> bool {
    let servers = pool.servers.iter().filter(|server| !server.backup).count();
    let (size, of) = (subset.size.get() as usize, subset.of.get() as usize);
    if servers * of > PAIRS_MAX {
        let problem = format!("{servers} servers and {of} balancers are too many to be matched");
        let help = "more pools, each with a part of the servers";
        place.fail(problem, "fewer of either", help);
    } else if size > servers {
        let problem = format!("{size} servers for each balancer, and there are {servers}");
        place.fail(problem, &format!("a size of at most {servers}"), "");
    } else if size * of < servers {
        let problem =
            format!("{of} balancers with {size} servers each leave some of {servers} out");
        let least = servers.div_ceil(of);
        place.fail(problem, &format!("a size of at least {least}"), "");
    } else if size == 1 && servers > 1 && has_weights(pool) {
        let problem = "each balancer has one server, and so no use for their weights";
        let help = "a weight is a share relative to the other servers of the same balancer";
        place.fail(problem, "a larger size, or no weights", help);
    } else if matches!(pool.balance, Balance::Hash(_)) && size < servers {
        let help = "leave out the subset, or balance by p2c";
        let problem = "a hash sends a key to one server, and here each balancer has others";
        place.fail(problem, "no hash", help);
    } else if pool.sticky.is_some() && size < servers {
        let problem = "sticky keeps a client at its server, and here each balancer has others";
        place.fail(problem, "no sticky", "leave out one of the two");
    } else {
        return true;
    }
    false
}

fn has_weights(pool: &PoolSettings) -> bool {
    let mut servers = pool.servers.iter().filter(|server| !server.backup);
    servers.any(|server| server.weight.get() > 1)
}

/// A number, also as a string, so that it can come from the environment.
fn number(item: &Item<'_>, bounds: RangeInclusive<u32>, why: &str) -> Option<u32> {
    let Value::String(text) = item.value() else {
        return item.integer(bounds, why);
    };
    match text.parse::<u32>() {
        Ok(number) => item
            .with(Value::Integer(number.into()))
            .integer(bounds, why),
        Err(_) => item.integer(bounds, why),
    }
}
