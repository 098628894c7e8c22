//! Who asks: `X-Forwarded-*` and the request id.

use std::io::Write as _;
use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::names::{claims_identity, is_alias};
use crate::config::settings::Network;
use crate::rng::Rng;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST_SEEN: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The name of the request id's field.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is kept.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// States who the client is: replaces what it says itself, unless it is a proxy that is trusted.
///
/// To be called after hop-by-hop fields are gone and `Host` is settled.
pub(super) fn state(headers: &mut HeaderMap, peer: IpAddr, secure: bool, trusted: &[Network]) {
    let peer = peer.to_canonical();
    let trusted = trusted.iter().any(|network| network.contains(peer));
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

    // Behind the removal above, what is present was said by a trusted peer.
    if let Some(path) = appended(headers, peer) {
        headers.insert(FOR, path);
    }
    if !headers.contains_key(PROTO) {
        let proto = if secure { "https" } else { "http" };
        headers.insert(PROTO, HeaderValue::from_static(proto));
    }
    if !headers.contains_key(HOST_SEEN)
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(HOST_SEEN, host);
    }
}

/// The addresses so far, and the peer's.
fn appended(headers: &HeaderMap, peer: IpAddr) -> Option<HeaderValue> {
    let mut path = Vec::with_capacity(48);
    for value in headers.get_all(FOR) {
        path.extend_from_slice(value.as_bytes());
        path.extend_from_slice(b", ");
    }
    // Writing to memory does not fail.
    let _ = write!(path, "{peer}");
    HeaderValue::try_from(path).ok()
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
    let id = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lines, map};
    use super::*;

    fn stated(fields: &[(&str, &str)], trusted: &[Network]) -> Vec<String> {
        let mut headers = map(fields);
        state(
            &mut headers,
            "::ffff:10.0.0.7".parse().unwrap(),
            false,
            trusted,
        );
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
}
