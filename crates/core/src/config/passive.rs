//! What failing requests do to a member.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::limits::percent;
use super::reader::{Item, set};
use super::settings::Passive;
use super::table::Table;

const EXPECTED: &str = "\"off\", or a table such as { failures = 5, eject = \"30s\" }";
/// More failures in a row than this are no limit.
const FAILURES_MAX: u32 = 10_000;

/// A server that takes less than twice as long as its neighbours is an ordinary one.
const FACTORS: RangeInclusive<u32> = 2..=1000;

/// A pool's `passive`, for so many servers: `Some(None)` is off.
pub(super) fn passive(item: Item<'_>, servers: Option<usize>) -> Option<Option<Passive>> {
    if item.is_off() {
        return Some(None);
    }
    let place = item.place();
    let table = item.table(EXPECTED, "")?;
    if servers == Some(1) {
        place.fail(
            "rules for the only server",
            "\"off\", or several servers",
            "the last server that is up always stays; leave this out",
        );
    }
    Some(Some(rules(table, servers)))
}

fn rules(mut table: Table<'_>, servers: Option<usize>) -> Passive {
    let mut rules = Passive::default();
    let failures = table.take("failures").and_then(|item| {
        let why = "it is a number of failures in a row; passive = \"off\" ejects nobody";
        NonZeroU32::new(item.integer(1..=FAILURES_MAX, why)?)
    });
    set(&mut rules.failures, failures);
    if let Some(item) = table.take("share") {
        rules.share_percent = if item.is_off() { None } else { share(&item) };
    }
    if let Some(item) = table.take("latency") {
        let why = "it is a factor: so many times the median of the others";
        rules.latency_factor = if item.is_off() {
            None
        } else {
            item.integer(FACTORS, why)
        };
    }
    set(
        &mut rules.eject,
        table.take("eject").and_then(|item| eject(&item)),
    );
    if let Some(item) = table.take("max-ejected")
        && let Some(percent) = share(&item)
    {
        rules.max_ejected_percent = percent;
        warn_of_nobody(&item, percent, servers);
    }
    table.finish(&[]);
    rules
}

fn share(item: &Item<'_>) -> Option<u32> {
    let percent = percent(item)?;
    if percent == 0 {
        let help = "\"off\" switches a rule off";
        item.fail(
            "found no share at all",
            "a share from \"1%\" to \"100%\"",
            help,
        );
        return None;
    }
    Some(percent)
}

fn eject(item: &Item<'_>) -> Option<Duration> {
    let time = item.duration()?;
    if time > Passive::EJECT_MAX {
        let help = "this is the first ejection; those that follow last longer, up to 5m";
        item.fail("longer than any ejection", "at most \"5m\"", help);
        return None;
    }
    Some(time)
}

/// A share of the pool that is less than one server would switch the rules off without saying so.
fn warn_of_nobody(item: &Item<'_>, percent: u32, servers: Option<usize>) {
    let Some(servers) = servers.filter(|servers| *servers > 1) else {
        return;
    };
    if servers.saturating_mul(percent as usize) < 100 {
        let least = 100_usize.div_ceil(servers);
        item.fail(
            format!("{percent}% of {servers} servers is less than one"),
            &format!("at least \"{least}%\""),
            "nobody would ever be ejected; passive = \"off\" says so",
        );
    }
}
