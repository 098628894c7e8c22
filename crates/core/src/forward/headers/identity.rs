//! Who asks: `X-Forwarded-*` and the request id.

use std::net::IpAddr;

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::names::{Present, claims_identity, is_alias};
use crate::config::settings::Network;
use crate::forward::Downstream;
use crate::rng::Rng;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST_SEEN: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The name of the request id's field.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request field by which a trusted peer asks for the decision. It is never forwarded.
pub const EXPLAIN: HeaderName = HeaderName::from_static("x-lb-explain");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Longest request id that is kept.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// States who the client is: replaces what it says itself, unless it is a proxy that is trusted.
///
/// To be called after hop-by-hop fields are gone and `Host` is settled.
pub(super) fn state(
    headers: &mut HeaderMap,
    mut present: Present,
    from: &Downstream,
    trusted: &[Network],
) {
    let trusted = is_trusted(from.peer().ip(), trusted);
    if present.any(Present::EXPLAIN) {
        headers.remove(EXPLAIN);
    }
    if present.any(Present::UNDERSCORE) || (!trusted && present.any(Present::CLAIMS)) {
        let unwanted: Vec<HeaderName> = headers
            .keys()
            .filter(|name| {
                let name = name.as_str();
                is_alias(name) || (!trusted && claims_identity(name))
            })
            .cloned()
            .collect();
        for name in unwanted {
            headers.remove(name);
        }
    }
    if !trusted {
        present = present.without(Present::CLAIMS);
    }

    // What is still there was said by a trusted peer.
    let path = if present.any(Present::FORWARDED_FOR) {
        appended(headers, from.address())
    } else {
        from.address().clone()
    };
    headers.insert(FOR, path);
    if !present.any(Present::FORWARDED_PROTO) {
        let proto = if from.is_secure() { "https" } else { "http" };
        headers.insert(PROTO, HeaderValue::from_static(proto));
    }
    if !present.any(Present::FORWARDED_HOST)
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(HOST_SEEN, host);
    }
}

/// Does a trusted peer ask for the decision, and for nobody who is not trusted? A trusted proxy may pass on what its
/// client sends: then `X-Forwarded-For` names that client, and the other fields somebody that we can't judge.
///
/// To be asked before anything is removed that may name a client.
pub(super) fn asks_to_explain(headers: &HeaderMap, from: &Downstream, trusted: &[Network]) -> bool {
    let vouched = |value: &HeaderValue| {
        let mut hops = value.as_bytes().split(|byte| *byte == b',');
        hops.all(|hop| {
            let hop = std::str::from_utf8(hop).ok();
            let address = hop.and_then(|hop| hop.trim().parse().ok());
            address.is_some_and(|address| is_trusted(address, trusted))
        })
    };
    headers.contains_key(EXPLAIN)
        && is_trusted(from.peer().ip(), trusted)
        && !headers.contains_key(FORWARDED)
        && !headers.contains_key(REAL_IP)
        && headers.get_all(FOR).iter().all(vouched)
}

fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// The addresses so far, and the peer's.
fn appended(headers: &HeaderMap, peer: &HeaderValue) -> HeaderValue {
    let mut path = Vec::with_capacity(64);
    for value in headers.get_all(FOR) {
        path.extend_from_slice(value.as_bytes());
        path.extend_from_slice(b", ");
    }
    path.extend_from_slice(peer.as_bytes());
    // Valid values, joined by what is valid, are valid.
    HeaderValue::try_from(path).unwrap_or_else(|_| peer.clone())
}

/// The request's own id if it is one short visible word, else a new one of 128 bits.
pub(in crate::forward) fn request_id(headers: &HeaderMap, rng: &Rng) -> HeaderValue {
    let mut values = headers.get_all(REQUEST_ID).iter();
    if let (Some(id), None) = (values.next(), values.next())
        && (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.as_bytes().iter().all(u8::is_ascii_graphic)
    {
        return id.clone();
    }
    let mut id = [0; 32];
    let (high, low) = id.split_at_mut(16);
    write_hex(high, rng.next_u64());
    write_hex(low, rng.next_u64());
    HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("unknown"))
}

/// The lower digits of `number`, as many as there is room for.
fn write_hex(room: &mut [u8], mut number: u64) {
    for digit in room.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xF) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::testing::{lines, map};
    use super::*;

    fn stated(fields: &[(&str, &str)], trusted: &[Network]) -> Vec<String> {
        let mut headers = map(fields);
        let present = Present::in_head(&headers);
        let from = Downstream::new("[::ffff:10.0.0.7]:1234".parse().unwrap(), false);
        state(&mut headers, present, &from, trusted);
        lines(&headers)
    }

    const SPOOFED: &[(&str, &str)] = &[
        ("host", "a"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.2, 192.0.2.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "b"),
        ("x-forwarded-port", "1"),
        ("x_forwarded_for", "192.0.2.9"),
        ("forwarded", "for=192.0.2.1"),
        ("x-real-ip", "192.0.2.1"),
    ];

    #[test]
    fn row_31_what_an_untrusted_peer_says_about_itself_is_replaced() {
        assert_eq!(
            stated(SPOOFED, &[]),
            [
                "host: a",
                "x-forwarded-for: 10.0.0.7",
                "x-forwarded-host: a",
                "x-forwarded-proto: http"
            ]
        );
    }

    #[test]
    fn row_31_a_trusted_peer_is_believed_and_appended() {
        let trusted = [Network::new("10.0.0.0".parse().unwrap(), 8).unwrap()];
        assert_eq!(
            stated(SPOOFED, &trusted),
            [
                "forwarded: for=192.0.2.1",
                "host: a",
                "x-forwarded-for: 192.0.2.1, 192.0.2.2, 192.0.2.3, 10.0.0.7",
                "x-forwarded-host: b",
                "x-forwarded-port: 1",
                "x-forwarded-proto: https",
                "x-real-ip: 192.0.2.1"
            ]
        );
    }

    #[test]
    fn row_30_cve_2026_39858_an_alias_is_dropped_even_from_a_trusted_peer() {
        let trusted = [Network::new("10.0.0.0".parse().unwrap(), 8).unwrap()];
        let seen = stated(
            &[("x_forwarded_for", "192.0.2.9"), ("x_user", "1")],
            &trusted,
        );
        assert_eq!(
            seen,
            [
                "x-forwarded-for: 10.0.0.7",
                "x-forwarded-proto: http",
                "x_user: 1"
            ]
        );
    }

    #[test]
    fn only_a_trusted_peer_that_speaks_for_nobody_else_may_ask_for_the_decision() {
        let trusted = [Network::new("10.0.0.0".parse().unwrap(), 8).unwrap()];
        let asks = ("x-lb-explain", "1");
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], bool);
        let table: [Row<'_>; 11] = [
            ("10.0.0.7", &[asks], true),
            ("::ffff:10.0.0.7", &[asks], true),
            ("10.0.0.7", &[], false),
            ("192.0.2.7", &[asks], false),
            ("192.0.2.7", &[asks, ("x-forwarded-for", "10.0.0.1")], false),
            (
                "10.0.0.7",
                &[asks, ("x-forwarded-for", "10.0.0.1, 10.0.0.2")],
                true,
            ),
            ("10.0.0.7", &[asks, ("x-forwarded-for", "192.0.2.1")], false),
            (
                "10.0.0.7",
                &[
                    asks,
                    ("x-forwarded-for", "10.0.0.1"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                false,
            ),
            ("10.0.0.7", &[asks, ("x-forwarded-for", "unknown")], false),
            ("10.0.0.7", &[asks, ("forwarded", "for=10.0.0.1")], false),
            ("10.0.0.7", &[asks, ("x-real-ip", "10.0.0.1")], false),
        ];
        for (peer, fields, expected) in table {
            let may = asks_to_explain(
                &map(fields),
                &Downstream::new(SocketAddr::new(peer.parse().unwrap(), 1), false),
                &trusted,
            );
            assert_eq!(may, expected, "{peer} {fields:?}");
        }
    }

    #[test]
    fn the_question_for_the_decision_goes_no_further_whoever_asks() {
        let trusted = [Network::new("10.0.0.0".parse().unwrap(), 8).unwrap()];
        for trusted in [&trusted[..], &[]] {
            let seen = stated(&[("x-lb-explain", "1"), ("X_LB_Explain", "1")], trusted);
            assert_eq!(
                seen,
                ["x-forwarded-for: 10.0.0.7", "x-forwarded-proto: http"]
            );
        }
    }

    #[test]
    fn a_request_id_is_kept_when_it_is_a_short_visible_word() {
        let rng = Rng::new(1);
        let id = |value: &str| request_id(&map(&[("x-request-id", value)]), &rng);
        let long = "a".repeat(128);
        for kept in ["a", "0af7-651!~", &long] {
            assert_eq!(id(kept), kept);
        }
        for replaced in ["", "a b", "a\tb", &"a".repeat(129), "caf\u{e9}"] {
            let id = id(replaced);
            assert_eq!(id.len(), 32, "{replaced:?}");
            assert!(id.as_bytes().iter().all(u8::is_ascii_hexdigit));
        }
        let twice = map(&[("x-request-id", "a"), ("x-request-id", "b")]);
        assert_eq!(request_id(&twice, &rng).len(), 32);
        assert_ne!(id(""), id(""));
    }

    #[test]
    fn a_new_request_id_is_128_bits_in_hexadecimal() {
        let (rng, same) = (Rng::new(9), Rng::new(9));
        let wanted = format!("{:016x}{:016x}", same.next_u64(), same.next_u64());
        assert_eq!(request_id(&HeaderMap::new(), &rng), wanted);
    }
}
