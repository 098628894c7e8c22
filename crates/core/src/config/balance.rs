//! How a pool chooses: the checked types, and their reader.

use std::fmt;
use std::ops::RangeInclusive;

use http::HeaderName;

use super::raw::Value;
use super::reader::Item;
use super::source::quoted;

/// How a member is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// Each in turn, in file order; with weights as evenly as they allow.
    RoundRobin,
    /// Any, by weight.
    Random,
    /// The one with the fewest requests in flight.
    LeastRequests,
    /// Of two drawn at random the one with fewer requests in flight.
    P2c,
    /// Of two drawn at random the one that promises the earlier answer.
    PeakEwma,
    /// The one that the request's key belongs to.
    Hash(HashBalance),
}

/// Where a hash sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashBalance {
    /// What is hashed.
    pub key: HashKey,
    /// How members are found for it.
    pub ring: HashRing,
    /// The most that a member carries, as a percentage of its share of all requests in flight; above 100. `None` is off.
    pub max_load_percent: Option<u32>,
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address; behind trusted proxies the one they state.
    Client,
    /// The path without the query.
    Path,
    /// The path and the query.
    Uri,
    /// A header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// A parameter of the query.
    Query(Box<str>),
}

/// How a hash finds a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashRing {
    /// The highest number of key and member.
    Rendezvous,
    /// The next point on a circle.
    Ketama,
    /// A place in a table.
    Maglev,
}

impl Balance {
    /// What of a request the choice depends on.
    pub fn key(&self) -> Option<&HashKey> {
        match self {
            Self::Hash(by) => Some(&by.key),
            _ => None,
        }
    }

    /// Does a choice depend on all requests in flight?
    pub fn is_bounded(&self) -> bool {
        matches!(self, Self::Hash(by) if by.max_load_percent.is_some())
    }
}

impl fmt::Display for HashKey {
    /// As it is configured.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Path => f.write_str("path"),
            Self::Uri => f.write_str("uri"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
        }
    }
}

impl fmt::Display for HashRing {
    /// As it is configured.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rendezvous => "rendezvous",
            Self::Ketama => "ketama",
            Self::Maglev => "maglev",
        })
    }
}

impl fmt::Display for Balance {
    /// In a few words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self {
            Self::RoundRobin => return f.write_str("round-robin"),
            Self::Random => return f.write_str("random"),
            Self::LeastRequests => return f.write_str("least-requests"),
            Self::P2c => return f.write_str("p2c"),
            Self::PeakEwma => return f.write_str("peak-ewma"),
            Self::Hash(by) => by,
        };
        write!(f, "hash of {} by {}", by.key, by.ring)?;
        match by.max_load_percent {
            Some(percent) => write!(
                f,
                ", at most {} times a fair load",
                f64::from(percent) / 100.0
            ),
            None => Ok(()),
        }
    }
}

const NAMES: [&str; 6] = [
    "round-robin",
    "random",
    "least-requests",
    "p2c",
    "peak-ewma",
    "hash",
];
const RINGS: [&str; 3] = ["rendezvous", "ketama", "maglev"];
const KEYS: &str =
    "\"client\", \"path\", \"uri\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"";
const LOADS: RangeInclusive<f64> = 1.01..=100.0;
/// Fields that end here, so that no request has them where it is hashed.
const NOT_FORWARDED: [&str; 13] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-lb-explain",
];

/// Reads a name, or a table with the name under `by`.
pub(super) fn balance(item: Item<'_>) -> Option<Balance> {
    if !matches!(item.value(), Value::Table(_)) {
        return by_name(&item);
    }
    let mut table = item.table("", "")?;
    let by = table.take("by");
    if by.is_none() {
        let help = "write balance = \"round-robin\"";
        table.fail_absent("by", "the name of an algorithm", help);
    }
    let hash = matches!(by.as_ref().map(Item::value), Some(Value::String(name)) if name == "hash");
    if !hash {
        for key in ["key", "ring", "max-load"] {
            if let (Some(item), Some(_)) = (table.take(key), &by) {
                let problem = "only a hash has this".to_owned();
                item.fail(problem, "", "leave it out, or write by = \"hash\"");
            }
        }
        table.finish(&[]);
        return by_name(&by?);
    }
    let key = table.take("key");
    if key.is_none() {
        table.fail_absent(
            "key",
            KEYS,
            "a hash needs something to hash, such as key = \"client\"",
        );
    }
    let key = key.and_then(|item| hash_key(&item));
    let ring = table
        .take("ring")
        .map_or(Some(HashRing::Rendezvous), |item| ring(&item));
    let max_load_percent = table
        .take("max-load")
        .map_or(Some(None), |item| max_load(&item));
    table.finish(&[]);
    Some(Balance::Hash(HashBalance {
        key: key?,
        ring: ring?,
        max_load_percent: max_load_percent?,
    }))
}

fn by_name(item: &Item<'_>) -> Option<Balance> {
    if let Value::String(name) = item.value()
        && RINGS.contains(&&**name)
    {
        let help =
            format!("write balance = {{ by = \"hash\", key = \"client\", ring = \"{name}\" }}");
        item.fail(format!("{} is a ring of a hash", quoted(name)), "", &help);
        return None;
    }
    Some(match item.word(&NAMES, &[])? {
        "random" => Balance::Random,
        "least-requests" => Balance::LeastRequests,
        "p2c" => Balance::P2c,
        "peak-ewma" => Balance::PeakEwma,
        "hash" => {
            let help = "write balance = { by = \"hash\", key = \"client\" }";
            item.fail("a hash needs something to hash", KEYS, help);
            return None;
        }
        _ => Balance::RoundRobin,
    })
}

fn hash_key(item: &Item<'_>) -> Option<HashKey> {
    let text = item.string(KEYS)?;
    let token = |name: &str| HeaderName::from_bytes(name.as_bytes()).is_ok();
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    let (key, expected) = match (kind, name) {
        ("client", "") => (Some(HashKey::Client), KEYS),
        ("path", "") => (Some(HashKey::Path), KEYS),
        ("uri", "") => (Some(HashKey::Uri), KEYS),
        ("header", name) => (
            HeaderName::from_bytes(name.as_bytes())
                .ok()
                .map(HashKey::Header),
            "the name of a header field, as in \"header:x-user\"",
        ),
        // RFC 6265 §4.1.1: the name of a cookie is a token.
        ("cookie", name) => (
            token(name).then(|| HashKey::Cookie(name.into())),
            "the name of a cookie, as in \"cookie:session\"",
        ),
        ("query", name) => (
            (!name.is_empty() && !name.contains(['&', '=', '#']))
                .then(|| HashKey::Query(name.into())),
            "the name of a parameter, as in \"query:user\"",
        ),
        _ => (None, KEYS),
    };
    if key.is_none() {
        item.fail(format!("{} is no key", quoted(text)), expected, "");
    }
    if let Some(HashKey::Header(name)) = &key
        && let Some(help) = useless(name)
    {
        item.fail(
            format!("{} spreads nothing by key", quoted(text)),
            KEYS,
            help,
        );
        return None;
    }
    key
}

/// Why a hash of this field would be none.
fn useless(name: &HeaderName) -> Option<&'static str> {
    match name.as_str() {
        "x-request-id" => {
            Some("it is another one in each request; balance = \"random\" is as good")
        }
        name if NOT_FORWARDED.contains(&name) => {
            Some("this field is about the connection and ends here, so no request has it")
        }
        _ => None,
    }
}

fn ring(item: &Item<'_>) -> Option<HashRing> {
    Some(match item.word(&RINGS, &[])? {
        "ketama" => HashRing::Ketama,
        "maglev" => HashRing::Maglev,
        _ => HashRing::Rendezvous,
    })
}

/// In percent; `None` inside is "off".
fn max_load(item: &Item<'_>) -> Option<Option<u32>> {
    const EXPECTED: &str = "\"off\" or a number from 1.01 to 100 such as 1.25";
    let times = match item.value() {
        _ if item.is_off() => return Some(None),
        Value::Float(times) => *times,
        Value::Integer(times) => *times as f64,
        _ => {
            item.fail_type(EXPECTED, "");
            return None;
        }
    };
    if !LOADS.contains(&times) {
        let help = match times {
            ..1.0 => "somebody must carry the mean",
            1.0..2.0 => "with no room above the mean the load decides, and not the key",
            2.0.. => "a bound that high bounds nothing",
            _ => "",
        };
        item.fail(format!("found the number {times}"), EXPECTED, help);
        return None;
    }
    Some(Some((times * 100.0).round() as u32))
}
