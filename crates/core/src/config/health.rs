//! How a pool's members are probed.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::raw::Value;
use super::reader::{Item, set};
use super::settings::{Check, Health, HttpCheck, ProbeSettings, StatusRanges};
use super::source::quoted;
use super::table::Table;

const EXPECTED: &str = "\"off\", a path such as \"/healthz\", or a table";
/// Rise and fall beyond this are never reached in time to matter.
const COUNT_MAX: u32 = 1000;
/// The longest text that is looked for in an answer.
const BODY_TEXT_MAX: usize = 1024;

/// The path `/`.
pub(super) const PATH_ROOT: PathAndQuery = PathAndQuery::from_static("/");

/// A pool's health: off, a path, or a table.
pub(super) fn health(item: Item<'_>) -> Option<Health> {
    match item.value() {
        Value::Table(_) => item.table("", "").map(probes).map(Health::Probes),
        Value::String(text) if text == "off" => Some(Health::Off),
        Value::String(text) if text.starts_with('/') => path_check(&item).map(|check| {
            Health::Probes(ProbeSettings {
                check,
                ..ProbeSettings::default()
            })
        }),
        Value::String(text) => {
            let help = "left out, it is a TCP connect every 2s";
            item.fail(format!("found {}", quoted(text)), EXPECTED, help);
            None
        }
        _ => {
            item.fail_type(EXPECTED, "");
            None
        }
    }
}

/// `GET` on the path that the item states.
pub(super) fn path_check(item: &Item<'_>) -> Option<Check> {
    path(item).map(HttpCheck::get).map(Check::from)
}

/// Sets the interval and what follows from it while nothing else is said.
pub(super) fn set_interval(probes: &mut ProbeSettings, interval: Option<Duration>) {
    if let Some(interval) = interval {
        probes.interval = interval;
        probes.interval_down = probes.interval_down.min(interval);
        probes.timeout = ProbeSettings::default_timeout(interval);
    }
}

/// A table that somebody complained about yields something, too: the complaint counts.
fn probes(mut table: Table<'_>) -> ProbeSettings {
    let mut probes = ProbeSettings {
        check: check(&mut table),
        ..ProbeSettings::default()
    };
    let interval = table.take("interval").and_then(|item| item.duration());
    set_interval(&mut probes, interval);
    if let Some(item) = table.take("interval-down") {
        set(&mut probes.interval_down, item.duration());
        if probes.interval_down > probes.interval {
            item.fail(
                "longer than the interval",
                "at most the interval",
                "a member that is down is asked more often, so that it is back soon",
            );
        }
    }
    if let Some(item) = table.take("timeout") {
        set(&mut probes.timeout, item.duration());
        if probes.timeout > probes.interval {
            item.fail(
                "longer than the interval",
                "at most the interval",
                "a server is not asked again before the last probe is over, so a slow one would be asked less often than that",
            );
        }
    }
    set(
        &mut probes.rise,
        table.take("rise").and_then(|item| count(&item)),
    );
    set(
        &mut probes.fall,
        table.take("fall").and_then(|item| count(&item)),
    );
    table.finish(&[]);
    probes
}

fn check(table: &mut Table<'_>) -> Check {
    let path_item = table.take("path");
    let [method_item, host_item, headers_item, expect_item, body_item] =
        ["method", "host", "headers", "expect", "body"].map(|key| table.take(key));
    let Some(path_item) = path_item else {
        let others = [method_item, host_item, headers_item, expect_item, body_item];
        for item in others.iter().flatten() {
            item.fail(
                "without a path, a probe is a TCP connect",
                "",
                "add a path such as path = \"/healthz\", or leave this out",
            );
        }
        return Check::Tcp;
    };
    let mut check = HttpCheck::get(path(&path_item).unwrap_or(PATH_ROOT));
    set(
        &mut check.method,
        method_item.and_then(|item| method(&item)),
    );
    check.host = host_item.and_then(|item| host(&item));
    set(&mut check.headers, headers_item.and_then(headers));
    set(&mut check.expect, expect_item.and_then(expect));
    if let Some(item) = body_item {
        check.body = body(&item, &check.method);
    }
    Check::from(check)
}

/// What stands in `Host`: a host, perhaps with a port.
fn host(item: &Item<'_>) -> Option<HeaderValue> {
    const EXPECTED: &str = "a host such as \"shop.example\"";
    let text = item.string(EXPECTED)?;
    let authority = text.parse::<Authority>().ok();
    let plain = authority.is_some_and(|host| !host.as_str().contains('@'));
    let value = HeaderValue::from_str(text).ok().filter(|_| plain);
    if value.is_none() {
        item.fail(format!("{} is no host", quoted(text)), EXPECTED, "");
    }
    value
}

/// Fields of the request: a table of names and values.
fn headers(item: Item<'_>) -> Option<HeaderMap> {
    const EXPECTED: &str = "a table such as { authorization = \"Bearer x\" }";
    let mut headers = HeaderMap::new();
    for (name, item) in item.table(EXPECTED, "")?.rest() {
        let Ok(field) = HeaderName::try_from(&*name) else {
            item.fail(format!("{} is no field name", quoted(&name)), "", "");
            continue;
        };
        if let Some(help) = reserved(&field) {
            item.fail("this field is not free", "another field", help);
            continue;
        }
        let Some(text) = item.string("a value in quotes") else {
            continue;
        };
        match HeaderValue::from_str(text).ok().filter(|_| text.is_ascii()) {
            Some(value) if !headers.contains_key(&field) => {
                headers.insert(field, value);
            }
            Some(_) => item.fail("this field stands here twice", "", ""),
            None => item.fail(
                format!("found {}", quoted(text)),
                "a value without control characters and in ASCII",
                "not every transport carries other bytes",
            ),
        }
    }
    Some(headers)
}

/// Why a probe can't carry a field, if it can't: it has no body, and no say over its connection.
fn reserved(field: &HeaderName) -> Option<&'static str> {
    match field.as_str() {
        "host" => Some("write health.host"),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade"
        | "transfer-encoding" | "content-length" | "expect" => {
            Some("it belongs to the connection, which is not the configuration's")
        }
        _ => None,
    }
}

fn body(item: &Item<'_>, method: &Method) -> Option<Box<[u8]>> {
    const EXPECTED: &str = "a text that a healthy server's answer contains";
    let text = item.string(EXPECTED)?;
    if *method == Method::HEAD {
        let help = "leave the method out, or the text";
        item.fail("the answer to HEAD has no body", "", help);
        return None;
    }
    if text.is_empty() || text.len() > BODY_TEXT_MAX {
        let help = "an empty one is in every answer, and a long one is hard to keep true";
        item.fail(
            format!("found {} bytes", text.len()),
            "1 to 1024 bytes",
            help,
        );
        return None;
    }
    Some(text.as_bytes().into())
}

fn path(item: &Item<'_>) -> Option<PathAndQuery> {
    const EXPECTED: &str = "a path such as \"/healthz\"";
    let text = item.string(EXPECTED)?;
    if !text.starts_with('/') {
        let help = "a path begins with a slash; host and port are the server's";
        item.fail(format!("found {}", quoted(text)), EXPECTED, help);
        return None;
    }
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let path = text.parse().ok().filter(|_| plain && text.len() <= 1024);
    if path.is_none() {
        let help = "spaces, # and what is not ASCII are written with %";
        item.fail(format!("{} is not a path", quoted(text)), EXPECTED, help);
    }
    path
}

/// A probe is repeated for ever, so it must be safe.
fn method(item: &Item<'_>) -> Option<Method> {
    match item.word(&["GET", "HEAD", "OPTIONS"], &[])? {
        "HEAD" => Some(Method::HEAD),
        "OPTIONS" => Some(Method::OPTIONS),
        _ => Some(Method::GET),
    }
}

fn count(item: &Item<'_>) -> Option<NonZeroU32> {
    NonZeroU32::new(item.integer(1..=COUNT_MAX, "it is a number of probes in a row")?)
}

fn expect(item: Item<'_>) -> Option<StatusRanges> {
    const EXPECTED: &str = "statuses such as \"200-299\" or \"200,204\"";
    let text = match item.value() {
        Value::Integer(status) => status.to_string(),
        _ => item.string(EXPECTED)?.to_owned(),
    };
    let ranges: Option<Vec<_>> = text.split(',').map(|part| range(part.trim())).collect();
    if ranges.is_none() {
        let help = "a status that ends an exchange is a number from 200 to 599";
        item.fail(format!("found {}", quoted(&text)), EXPECTED, help);
    }
    ranges.map(StatusRanges::new)
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some(first..=last)
}

fn status(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let status = text.parse().ok().filter(|_| digits)?;
    (200..=599).contains(&status).then_some(status)
}
