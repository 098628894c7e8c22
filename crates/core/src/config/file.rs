//! A whole file, in its canonical form or in the [smallest] one.

use std::num::NonZeroUsize;

use http::HeaderName;

use super::address::{listen, overlap};
use super::raw::Value;
use super::reader::{Item, set};
use super::settings::{
    AccessLog, DebugSettings, Limits, Listener, LogFormat, LogSettings, PoolSettings, Settings,
    Workers,
};
use super::source::quoted;
use super::table::Table;
use super::{limits, pool, smallest, value};

/// Keys of the product that this version does not have.
const LATER: [&str; 5] = ["route", "routes", "metrics", "admin", "discovery"];
/// More threads than this help nobody.
const WORKERS_MAX: u32 = 1024;

/// What to say where there is no listener.
const LISTEN_EXPECTED: &str = "at least one address to listen on";
const LISTEN_HELP: &str = "add a section [listen] with a line such as web = \":8080\"";
/// What to say where there is no pool.
const POOL_EXPECTED: &str = "a pool of servers";
const POOL_HELP: &str =
    "add a section [pool.app] with a line such as servers = [\"127.0.0.1:9001\"]";

/// The settings that a file states. `None` if somebody complained; complaints are possible with settings, too.
pub(super) fn settings(mut file: Table<'_>) -> Option<Settings> {
    let workers = match file.take("workers") {
        Some(item) => workers(&item),
        None => Some(Workers::Auto),
    };
    let (listeners, pool) = if smallest::is_form_of(&file) {
        smallest::form(&mut file)
    } else {
        canonical_form(&mut file)
    };
    let limits = limits::client(file.take("limits"));
    let log = file.take("log").map_or_else(LogSettings::default, log);
    let debug = file
        .take("debug")
        .map_or_else(DebugSettings::default, |item| debug(item, &limits));
    file.finish(&LATER);
    Some(Settings {
        workers: workers?,
        listeners: listeners?,
        pool: pool?,
        limits,
        log,
        debug,
    })
}

/// `[listen]` and `[pool.NAME]`.
fn canonical_form(file: &mut Table<'_>) -> (Option<Vec<Listener>>, Option<PoolSettings>) {
    let listen = file.take("listen");
    if listen.is_none() {
        file.fail_absent("listen", LISTEN_EXPECTED, LISTEN_HELP);
    }
    let listeners = listen.and_then(listeners);
    let pool = file.take("pool");
    if pool.is_none() {
        file.fail_absent("pool", POOL_EXPECTED, POOL_HELP);
    }
    let own = listeners.as_deref().unwrap_or_default();
    let pool = pool.and_then(|item| the_pool(item, own));
    (listeners, pool)
}

fn workers(item: &Item<'_>) -> Option<Workers> {
    let expected = "\"auto\" or a number from 1 to 1024";
    let count = match item.value() {
        Value::String(text) if text == "auto" => return Some(Workers::Auto),
        // Variables of the environment can only stand in strings.
        Value::String(text) => text.parse().ok(),
        Value::Integer(number) => Some(*number),
        _ => {
            item.fail_type(expected, "");
            return None;
        }
    };
    let count = count
        .filter(|count| (1..=i128::from(WORKERS_MAX)).contains(count))
        .and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?));
    if count.is_none() {
        let found = match item.value() {
            Value::String(text) => quoted(text),
            other => other.description(),
        };
        item.fail(
            format!("found {found}"),
            expected,
            "\"auto\" is one worker per core",
        );
    }
    count.map(Workers::Count)
}

/// The section `[listen]`.
pub(super) fn listeners(item: Item<'_>) -> Option<Vec<Listener>> {
    if let Value::String(text) = item.value() {
        let help = format!("name it: a section [listen] with a line web = \"{text}\"");
        item.fail("found a string", "a table of listeners", &help);
        return None;
    }
    let named = item.table("a table of listeners", LISTEN_HELP)?;
    if named.is_empty() {
        named.fail_absent("NAME", LISTEN_EXPECTED, LISTEN_HELP);
        return None;
    }
    let mut listeners: Vec<Listener> = Vec::new();
    let mut complete = true;
    for (name, item) in named.rest() {
        let listener = listener(&name, item, &listeners);
        complete &= listener.is_some();
        listeners.extend(listener);
    }
    complete.then_some(listeners)
}

fn listener(name: &str, item: Item<'_>, others: &[Listener]) -> Option<Listener> {
    let named = check_name(name, &item);
    let item = if matches!(item.value(), Value::Table(_)) {
        let mut table = item.table("", "")?;
        let address = table.take("address");
        if address.is_none() {
            let help = "add a line such as address = \"0.0.0.0:8080\"";
            table.fail_absent("address", "where to listen", help);
        }
        table.finish(&["tls", "proxy-protocol"]);
        address?
    } else {
        item
    };
    let address = listen(&item)?;
    if let Some(other) = others.iter().find(|other| overlap(other.address, address)) {
        let problem = format!("listener {} has this port already", quoted(&other.name));
        item.fail(problem, "an address of its own", "");
        return None;
    }
    named.then(|| Listener {
        name: name.into(),
        address,
        origin: item.origin(),
    })
}

/// Names stand in logs, metrics and header fields.
pub(super) fn check_name(name: &str, item: &Item<'_>) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let good = (1..=64).contains(&name.len()) && name.bytes().all(plain);
    if !good {
        item.fail(
            format!("{} is not a name", quoted(name)),
            "letters, digits, `-`, `_` and `.`, at most 64",
            "",
        );
    }
    good
}

/// The section `[pool]`; `own` are the balancer's listeners.
pub(super) fn the_pool(item: Item<'_>, own: &[Listener]) -> Option<PoolSettings> {
    let pools = item.table("a table of pools", POOL_HELP)?;
    if ["servers", "balance", "health"]
        .iter()
        .any(|key| pools.has(key))
    {
        pools.fail("this pool has no name", "[pool.NAME]", "write [pool.app]");
        return None;
    }
    if pools.is_empty() {
        pools.fail_absent("NAME", POOL_EXPECTED, POOL_HELP);
        return None;
    }
    let mut first = None;
    for (at, (name, item)) in pools.rest().into_iter().enumerate() {
        if at > 0 {
            item.fail_later("more than one pool");
        }
        // Read in any case: its own mistakes are reported, too.
        let pool = pool::pool(&name, item, own);
        if at == 0 {
            first = pool;
        }
    }
    first
}

fn log(item: Item<'_>) -> LogSettings {
    let mut log = LogSettings::default();
    if let Some(mut table) = item.table("a table", "the keys are access and format") {
        set(
            &mut log.access,
            table.take("access").and_then(|item| access(&item)),
        );
        set(
            &mut log.format,
            table.take("format").and_then(|item| format(&item)),
        );
        table.finish(&[]);
    }
    log
}

/// Which requests are logged.
pub(super) fn access(item: &Item<'_>) -> Option<AccessLog> {
    const EXPECTED: &str = "\"off\", \"errors\", \"all\" or a fraction such as 0.01";
    let share = match item.value() {
        Value::String(text) => match (parse_access(text), text.parse()) {
            (Some(access), _) => return Some(access),
            (None, Ok(number)) => number,
            (None, Err(_)) => {
                let words = ["off", "errors", "all"];
                item.fail_unknown(text, words.into_iter(), EXPECTED);
                return None;
            }
        },
        Value::Float(share) => *share,
        Value::Integer(share @ (0 | 1)) => f64::from(u8::from(*share == 1)),
        _ => {
            item.fail_type(EXPECTED, "");
            return None;
        }
    };
    let access = value::share(share).map(AccessLog::Share);
    if access.is_none() {
        item.fail(
            format!("found the number {share}"),
            EXPECTED,
            "a fraction lies between 0 and 1",
        );
    }
    access
}

/// The words of `log.access`, or a fraction as text.
pub(super) fn parse_access(text: &str) -> Option<AccessLog> {
    match text {
        "off" => Some(AccessLog::Off),
        "errors" => Some(AccessLog::Errors),
        "all" => Some(AccessLog::All),
        _ => value::share(text.parse().ok()?).map(AccessLog::Share),
    }
}

fn format(item: &Item<'_>) -> Option<LogFormat> {
    parse_format(item.word(&["auto", "text", "json"], &[])?)
}

/// The words of `log.format`.
pub(super) fn parse_format(text: &str) -> Option<LogFormat> {
    match text {
        "auto" => Some(LogFormat::Auto),
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn debug(item: Item<'_>, limits: &Limits) -> DebugSettings {
    let mut debug = DebugSettings::default();
    let Some(mut table) = item.table("a table", "the keys are backend-header and decision-header")
    else {
        return debug;
    };
    let backend = table.take("backend-header");
    debug.backend_header = backend.and_then(|item| header(&item, "X-Forwarded-Server"));
    if let Some(item) = table.take("decision-header") {
        debug.decision_header = header(&item, "X-LB-Decision");
        let same = debug.decision_header.is_some() && debug.decision_header == debug.backend_header;
        if same {
            let problem = "backend-header has this name already";
            item.fail(problem, "a name of its own", "");
        } else if limits.trusted_proxies.is_empty() {
            let help = "only these may ask for it; state their networks, or leave the key out";
            item.fail(
                "nobody could see it",
                "limits.trusted-proxies beside it",
                help,
            );
        }
    }
    table.finish(&[]);
    debug
}

/// Header fields that mean something else to HTTP or to this program.
const TAKEN: [&str; 17] = [
    "connection",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "date",
    "host",
    "keep-alive",
    "location",
    "proxy-connection",
    "proxy-status",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "retry-after",
];

fn header(item: &Item<'_>, example: &str) -> Option<HeaderName> {
    let expected = &format!("the name of a header field such as \"{example}\"");
    let text = item.string(expected)?;
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    match name {
        None => {
            let problem = format!("{} is no name of a header field", quoted(text));
            item.fail(problem, expected, "it is off when the key is left out");
            None
        }
        Some(name) if TAKEN.contains(&name.as_str()) => {
            let problem = format!("{} has a meaning of its own", quoted(text));
            item.fail(problem, expected, "choose a name that nobody else uses");
            None
        }
        name => name,
    }
}
