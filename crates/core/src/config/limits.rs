//! What a request may cost a pool, and what a client may cost.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::raw::Value;
use super::reader::{Item, set};
use super::settings::{HedgeAfter, Limits, Network, PoolLimits};
use super::source::quoted;
use super::table::Table;
use super::value;
use super::{adaptive, address};

const RETRIES_MAX: u32 = 10;
const IDLE_MAX: u32 = 10_000;
pub(super) const IN_FLIGHT_MAX: u32 = 1_000_000;
const QUEUE_MAX: u32 = 65_536;
/// Below, most requests would be made twice; above, too few answers tell.
const HEDGE_PERCENT: RangeInclusive<u32> = 50..=99;
const HEAD_MIN: u64 = 8 << 10;
const HEAD_MAX: u64 = 1 << 20;
const FIELDS_MIN: u32 = 16;
const FIELDS_MAX: u32 = 1000;
const CONNECTIONS_MAX: u32 = 1_000_000;

/// `pool.NAME.limits`, where a request has the choice among so many servers.
pub(super) fn pool(item: Option<Item<'_>>, choice: Option<usize>) -> PoolLimits {
    let mut limits = PoolLimits::default();
    let Some(mut table) = item.and_then(|item| item.table("a table", "")) else {
        return limits;
    };
    let retries = table.take("retries");
    let why = "each retry multiplies the load of an incident";
    set(
        &mut limits.retries,
        retries.and_then(|item| item.integer(0..=RETRIES_MAX, why)),
    );
    if let Some(item) = table.take("retry-budget") {
        let share = percent(&item);
        if limits.retries == 0 && share.is_some_and(|share| share > 0) {
            let help = "with retries = 0 nothing is retried; leave the budget out";
            item.fail(
                "a budget of which nothing is spent",
                "retries above 0",
                help,
            );
        }
        set(&mut limits.retry_budget_percent, share);
    }
    let hedge_item = table.take("hedge");
    duration(&mut table, "connect", &mut limits.connect);
    duration(&mut table, "first-byte", &mut limits.first_byte);
    duration(&mut table, "body-idle", &mut limits.body_idle);
    if let Some(item) = table.take("total") {
        limits.total = if item.is_off() { None } else { item.duration() };
    }
    if let Some(item) = hedge_item {
        hedge(&item, &mut limits, choice);
    }
    let idle = table.take("idle-per-worker");
    let idle = idle.and_then(|item| item.integer(0..=IDLE_MAX, "0 keeps none"));
    set(
        &mut limits.idle_per_worker,
        idle.and_then(|n| usize::try_from(n).ok()),
    );
    let in_flight = table.take("in-flight-per-server");
    let why = "more than a server can do at once only makes all of it slow";
    let off =
        "without this limit nobody would ever wait in the queue; a large number is as good as none";
    set(
        &mut limits.in_flight_per_server,
        in_flight.and_then(|item| bound(&item, IN_FLIGHT_MAX, why, off)),
    );
    limits.adaptive.max = limits.in_flight_per_server;
    if let Some(item) = table.take("adaptive-concurrency") {
        adaptive::adaptive(item, &mut limits.adaptive, limits.in_flight_per_server);
    }
    if let Some(item) = table.take("queue") {
        let place = item.place();
        queue(item, &mut limits, &place);
    }
    table.finish(&[]);
    limits
}

/// `hedge`: `"off"`, a time, or a percentile such as `"p95"`.
fn hedge(item: &Item<'_>, limits: &mut PoolLimits, choice: Option<usize>) {
    if item.is_off() {
        limits.hedge = None;
        return;
    }
    limits.hedge = match item.value() {
        Value::String(text) if text.starts_with('p') => percentile(item, text),
        _ => item.duration().map(HedgeAfter::Time),
    };
    let Some(after) = limits.hedge else { return };
    let paid = "a hedge is one of the retries, and paid from their budget";
    let over = "by then the attempt is over";
    let (with, expected, help) = if limits.retries == 0 {
        ("retries = 0", "\"off\"", paid)
    } else if limits.retry_budget_percent == 0 {
        ("retry-budget = \"0%\"", "\"off\"", paid)
    } else if choice == Some(1) {
        let help = "it goes to a second server, and never to a backup while others serve";
        ("one server", "\"off\", or several servers", help)
    } else if matches!(after, HedgeAfter::Time(after) if after >= limits.first_byte) {
        (
            "a first-byte that is not longer",
            "less than first-byte",
            over,
        )
    } else if matches!(after, HedgeAfter::Time(after) if limits.total.is_some_and(|total| after >= total))
    {
        ("a total that is not longer", "less than total", over)
    } else {
        return;
    };
    let problem = format!("a hedge together with {with} is never made");
    item.fail(problem, expected, help);
}

fn percentile(item: &Item<'_>, text: &str) -> Option<HedgeAfter> {
    let percent = text.strip_prefix('p')?.parse().ok();
    let percent = percent.filter(|percent| HEDGE_PERCENT.contains(percent));
    if percent.is_none() {
        let help = "so many of a hundred answers begin sooner; the others are asked for twice";
        let expected = "a percentile from \"p50\" to \"p99\", or a duration such as \"50ms\"";
        item.fail(format!("found {}", quoted(text)), expected, help);
    }
    percent.map(HedgeAfter::Percentile)
}

/// A number from 1 on; `off` says why there must be one.
fn bound(item: &Item<'_>, most: u32, why: &str, off: &str) -> Option<u32> {
    if item.is_off() {
        let expected = format!("a number from 1 to {most}");
        item.fail("this can't be switched off", &expected, off);
        return None;
    }
    item.integer(1..=most, why)
}

/// `queue`: `"off"`, or a table.
fn queue(item: Item<'_>, limits: &mut PoolLimits, place: &Item<'_>) {
    let queue = &mut limits.queue;
    if item.is_off() {
        queue.size = 0;
        return;
    }
    let Some(mut table) = item.table("\"off\", or a table", "") else {
        return;
    };
    let size = table.take("size");
    let why = "\"off\" is no queue; each request that waits costs memory";
    let off = "a queue without a bound fills the memory; queue = \"off\" is no queue";
    set(
        &mut queue.size,
        size.and_then(|item| bound(&item, QUEUE_MAX, why, off))
            .and_then(|n| usize::try_from(n).ok()),
    );
    let stated = table.has("timeout");
    duration(&mut table, "timeout", &mut queue.timeout);
    table.finish(&[]);
    if stated
        && limits
            .total
            .is_some_and(|total| total < limits.queue.timeout)
    {
        let help = "the wait is a part of the whole: it would end with the total, and this time never come";
        place.fail(
            "its timeout is longer than total",
            "a timeout of at most total",
            help,
        );
    }
}

/// `limits`.
pub(super) fn client(item: Option<Item<'_>>) -> Limits {
    let mut limits = Limits::default();
    let Some(mut table) = item.and_then(|item| item.table("a table", "")) else {
        return limits;
    };
    let proxies = table.take("trusted-proxies");
    set(&mut limits.trusted_proxies, proxies.and_then(networks));
    let head = table.take("head-bytes");
    let why = "smaller heads refuse ordinary requests, larger ones cost memory per connection";
    let head = head.and_then(|item| item.size(HEAD_MIN..=HEAD_MAX, why));
    set(
        &mut limits.head_bytes,
        head.and_then(|n| usize::try_from(n).ok()),
    );
    let fields = table.take("header-count");
    let why = "fewer refuse ordinary requests, more cost memory per connection";
    let fields = fields.and_then(|item| item.integer(FIELDS_MIN..=FIELDS_MAX, why));
    set(
        &mut limits.header_count,
        fields.and_then(|n| usize::try_from(n).ok()),
    );
    duration(&mut table, "head-timeout", &mut limits.head_timeout);
    duration(&mut table, "body-idle", &mut limits.body_idle);
    duration(&mut table, "keep-alive-idle", &mut limits.keep_alive_idle);
    let connections = table.take("connections");
    let why = "the system's limit of open files counts, too";
    let connections = connections.and_then(|item| item.integer(1..=CONNECTIONS_MAX, why));
    set(
        &mut limits.connections,
        connections.and_then(|n| usize::try_from(n).ok()),
    );
    if let Some(item) = table.take("body-bytes") {
        limits.body_bytes = if item.is_off() {
            None
        } else {
            item.size(1..=u64::MAX, "\"off\" is no limit")
        };
    }
    duration(&mut table, "tunnel-idle", &mut limits.tunnel_idle);
    for (key, slot) in [
        ("shutdown-delay", &mut limits.shutdown_delay),
        ("shutdown-grace", &mut limits.shutdown_grace),
    ] {
        let item = table.take(key);
        set(slot, item.and_then(|item| item.duration_or_zero()));
    }
    table.finish(&[]);
    limits
}

fn duration(table: &mut Table<'_>, key: &'static str, slot: &mut Duration) {
    set(slot, table.take(key).and_then(|item| item.duration()));
}

/// A share such as "20%".
pub(super) fn percent(item: &Item<'_>) -> Option<u32> {
    const EXPECTED: &str = "a share such as \"20%\"";
    let Value::String(text) = item.value() else {
        item.fail_type(EXPECTED, "a share is a string with a percent sign");
        return None;
    };
    let percent = value::percent(text).filter(|percent| *percent <= 100);
    if percent.is_none() {
        let help = "a whole number from 0 to 100 and a percent sign";
        item.fail(format!("found {}", quoted(text)), EXPECTED, help);
    }
    percent
}

fn networks(item: Item<'_>) -> Option<Vec<Network>> {
    let items = item.array("a list such as [\"10.0.0.0/8\"]", "")?;
    Some(items.iter().filter_map(address::network).collect())
}
