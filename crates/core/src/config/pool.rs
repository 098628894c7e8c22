//! A pool's section: its servers and how one of them is chosen.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use super::address;
use super::file::check_name;
use super::raw::Value;
use super::reader::{Item, set};
use super::settings::{Balance, HashKey, Listener, PoolSettings, WhenAllDown};
use super::source::quoted;
use super::{alone, balance, health, limits, passive, sticky, subset};
use crate::backend::Backend;

/// The largest weight.
const WEIGHT_MAX: u32 = 1000;
const SERVERS: &str = "a list such as [\"127.0.0.1:9001\", \"127.0.0.1:9002\"]";

/// The pool called `name`. `None` if somebody complained.
pub(super) fn pool(name: &str, item: Item<'_>, own: &[Listener]) -> Option<PoolSettings> {
    let named = check_name(name, &item);
    let mut table = item.table("a table with the key servers", "")?;
    let mut servers_at = None;
    let mut servers = match table.take("servers") {
        Some(item) => {
            servers_at = Some(item.place());
            servers(item, own)
        }
        None => {
            table.fail_absent("servers", SERVERS, "");
            None
        }
    };
    let mut pool = PoolSettings::new(name, Vec::new());
    let balance = table.take("balance");
    let balance_at = balance.as_ref().map(Item::place);
    set(&mut pool.balance, balance.and_then(balance::balance));
    set(
        &mut pool.health,
        table.take("health").and_then(health::health),
    );
    set(
        &mut pool.when_all_down,
        table.take("when-all-down").and_then(when_all_down),
    );
    if let Some(item) = table.take("sticky") {
        let place = item.place();
        pool.sticky = sticky::sticky(item);
        refuse_a_hash_of_our_cookie(&pool, &place);
    }
    if let (Some(servers), Some(place)) = (&servers, servers_at)
        && pool.when_all_down == WhenAllDown::Fail
    {
        alone::refuse_a_weight(servers, &place);
    }
    if let Some(item) = table.take("subset")
        && let Some(servers) = &mut servers
    {
        pool.servers.clone_from(servers);
        if let Some(subset) = subset::subset(item, &pool) {
            pool.subset = Some((subset, servers.len()));
            *servers = subset.among(servers);
        }
    }
    let count = servers.as_ref().map(Vec::len);
    let passive = table.take("passive");
    set(
        &mut pool.passive,
        passive.and_then(|item| passive::passive(item, count)),
    );
    if let Some(item) = table.take("slow-start") {
        pool.slow_start = slow_start(&item, &pool.balance);
    }
    let choice = servers.as_deref().map(alone::choice);
    pool.limits = limits::pool(table.take("limits"), choice);
    if let (Some(1), Some(place)) = (choice, balance_at) {
        alone::refuse_a_hash(&pool.balance, &place);
    }
    table.finish(&[]);
    pool.servers = servers?;
    named.then_some(pool)
}

/// The cookie follows the choice, so the choice can't follow the cookie.
fn refuse_a_hash_of_our_cookie(pool: &PoolSettings, place: &Item<'_>) {
    if let (Some(HashKey::Cookie(hashed)), Some(sticky)) = (pool.balance.key(), &pool.sticky)
        && *hashed == sticky.cookie
    {
        let problem = format!("the hash reads the same cookie {}", quoted(hashed));
        let help =
            "this one is set by the balancer, to what it has chosen; hash one that the servers set";
        place.fail(problem, "a cookie of its own", help);
    }
}

/// `None` is off.
fn slow_start(item: &Item<'_>, balance: &Balance) -> Option<Duration> {
    if item.is_off() {
        return None;
    }
    let window = item.duration()?;
    if matches!(balance, Balance::Hash(_)) {
        item.fail(
            "a hash knows no slow start",
            "\"off\", or an algorithm that shares out",
            "a key belongs to its server, fresh or not",
        );
    }
    Some(window)
}

/// The servers, in order. `None` if somebody complained.
pub(super) fn servers(item: Item<'_>, own: &[Listener]) -> Option<Vec<Backend>> {
    if matches!(item.value(), Value::String(_)) {
        item.fail_type(SERVERS, "put it in brackets");
        return None;
    }
    if matches!(item.value(), Value::Array(items) if items.is_empty()) {
        item.fail_absent(
            "found an empty list",
            "at least one server",
            "a pool without servers can serve nobody",
        );
        return None;
    }
    let place = item.place();
    let servers = collect(item.array(SERVERS, "")?, own)?;
    if servers.iter().all(|server| server.backup) {
        place.fail(
            "every server is a backup",
            "a server without backup = true",
            "a backup stands in for others",
        );
        return None;
    }
    if let [only] = &servers[..]
        && only.weight.get() > 1
    {
        place.fail(
            "the only server has a weight",
            "several servers, or no weight",
            "a weight is a share relative to the other servers",
        );
        return None;
    }
    Some(servers)
}

/// The servers that `items` state: each has an address and a name of its own, and none is one of our `own` listeners.
pub(super) fn collect(items: Vec<Item<'_>>, own: &[Listener]) -> Option<Vec<Backend>> {
    let mut servers: Vec<Backend> = Vec::new();
    let mut addresses = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut complete = true;
    for item in items {
        let place = item.place();
        let Some(server) = server(item) else {
            complete = false;
            continue;
        };
        let shown = server.address.to_string();
        if !addresses.insert(shown.clone()) {
            place.fail(
                format!("{} stands here twice", quoted(&shown)),
                "an address of its own",
                "each server is one entry; there is no weight by repetition",
            );
            complete = false;
        } else if !names.insert(server.name.clone()) {
            let problem = format!("the name {} stands here twice", quoted(&server.name));
            place.fail(problem, "a name of its own", "");
            complete = false;
        } else if own
            .iter()
            .any(|own| address::reaches(&server.address, own.address))
        {
            place.fail(
                format!("{} is this balancer itself", quoted(&shown)),
                "another address than where it listens",
                "requests would go round for ever",
            );
            complete = false;
        }
        servers.push(server);
    }
    complete.then_some(servers)
}

fn server(item: Item<'_>) -> Option<Backend> {
    if !matches!(item.value(), Value::Table(_)) {
        return address::server(&item).map(Backend::new);
    }
    let mut table = item.table("", "")?;
    let url = table.take("url");
    if url.is_none() {
        table.fail_absent(
            "url",
            "where the server is",
            "write { url = \"127.0.0.1:9001\" }",
        );
    }
    let address = url.and_then(|item| address::server(&item));
    let name = table.take("name").map(|item| {
        let name = item.string("a name")?;
        check_name(name, &item).then(|| Box::from(name))
    });
    let weight = table.take("weight").map(|item| weight(&item));
    let backup = table.take("backup").map(|item| backup(&item));
    table.finish(&[]);
    let mut server = Backend::new(address?);
    if let Some(name) = name {
        server.name = name?;
    }
    if let Some(weight) = weight {
        server.weight = weight?;
    }
    if let Some(backup) = backup {
        server.backup = backup?;
    }
    Some(server)
}

fn backup(item: &Item<'_>) -> Option<bool> {
    match item.value() {
        Value::Bool(backup) => Some(*backup),
        _ => {
            item.fail_type("true or false", "");
            None
        }
    }
}

fn when_all_down(item: Item<'_>) -> Option<WhenAllDown> {
    match item.word(&["fail", "try-anyway"], &[])? {
        "fail" => Some(WhenAllDown::Fail),
        _ => Some(WhenAllDown::TryAnyway),
    }
}

fn weight(item: &Item<'_>) -> Option<NonZeroU32> {
    if let Value::Integer(0) = item.value() {
        let help = "a server that shall get nothing is left out";
        item.fail("found a weight of zero", "a number from 1 to 1000", help);
        return None;
    }
    NonZeroU32::new(item.integer(
        1..=WEIGHT_MAX,
        "weights are relative: 1 and 2 are as good as 500 and 1000",
    )?)
}
