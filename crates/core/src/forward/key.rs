//! What of a request its member is chosen by, where the algorithm hashes.

use std::net::IpAddr;

use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::config::settings::{HashKey, Network};
use crate::picker::digest;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The digest of what `by` names, of a head as it will be sent; `None` when the request has no such thing, or an empty one.
pub(super) fn digest_of(by: &HashKey, head: &Parts, trusted: &[Network]) -> Option<u64> {
    let key: &[u8] = match by {
        HashKey::Client => return Some(of_address(client(&head.headers, trusted)?)),
        HashKey::Path => head.uri.path().as_bytes(),
        HashKey::Uri => match head.uri.path_and_query() {
            Some(uri) => uri.as_str().as_bytes(),
            None => head.uri.path().as_bytes(),
        },
        HashKey::Header(name) => head.headers.get(name)?.as_bytes(),
        HashKey::Cookie(name) => cookie(&head.headers, name)?,
        HashKey::Query(name) => parameter(head.uri.query()?, name)?.as_bytes(),
    };
    (!key.is_empty()).then(|| digest(key))
}

fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => digest(&address.octets()),
        IpAddr::V6(address) => digest(&address.octets()),
    }
}

/// The last address of `X-Forwarded-For` that is no trusted proxy's. Behind our own entry everything was said by
/// somebody we trust, so the first one that we do not trust is who it came from.
fn client(headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let mut nearest = None;
    let path = headers.get(FORWARDED_FOR)?.to_str().ok()?;
    for entry in path.rsplit(',') {
        let Ok(address) = entry.trim().parse() else {
            break; // A proxy that hides its client: the proxy stands for it.
        };
        nearest = Some(address);
        if !trusted.iter().any(|network| network.contains(address)) {
            break;
        }
    }
    nearest
}

/// The value of the first cookie of that name (RFC 6265 §4.2.1; names differ by case).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let pairs = headers.get_all(COOKIE).iter();
    pairs
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .find_map(|pair| {
            let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
            value.trim_ascii_start().strip_prefix(b"=")
        })
        .map(<[u8]>::trim_ascii)
}

/// The value of the first parameter of that name, as it is written.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let pairs = query.split('&').map(|pair| pair.split_once('='));
    pairs
        .flatten()
        .find_map(|(found, value)| (found == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn of(by: &HashKey, uri: &str, fields: &[(&str, &str)]) -> Option<u64> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let trusted = [Network::new("10.0.0.0".parse().unwrap(), 8).unwrap()];
        digest_of(by, &request.body(()).unwrap().into_parts().0, &trusted)
    }

    #[test]
    fn the_parts_of_the_uri() {
        for (by, uri, key) in [
            (HashKey::Path, "/a/b?c=1", Some("/a/b")),
            (HashKey::Uri, "/a/b?c=1", Some("/a/b?c=1")),
            (HashKey::Uri, "*", Some("*")),
            (HashKey::Query("c".into()), "/a?b=c&c=1&c=2", Some("1")),
            (HashKey::Query("c".into()), "/a?cc=1&c", None),
            (HashKey::Query("c".into()), "/a?c=", None),
            (HashKey::Query("c".into()), "/a", None),
        ] {
            let wanted = key.map(|key| digest(key.as_bytes()));
            assert_eq!(of(&by, uri, &[]), wanted, "{by} of {uri}");
        }
    }

    #[test]
    fn headers_and_cookies() {
        let header = HashKey::Header(HeaderName::from_static("x-user"));
        let cookie = HashKey::Cookie("id".into());
        type Row<'a> = (&'a HashKey, &'a [(&'a str, &'a str)], Option<&'a str>);
        let table: [Row<'_>; 9] = [
            (&header, &[("X-User", "ann")], Some("ann")),
            (
                &header,
                &[("x-user", "ann"), ("x-user", "bob")],
                Some("ann"),
            ),
            (&header, &[("x-user", "")], None),
            (&header, &[], None),
            (&cookie, &[("cookie", "a=1; id=7; id=8")], Some("7")),
            (&cookie, &[("cookie", "a=1"), ("cookie", "id=7")], Some("7")),
            (&cookie, &[("cookie", "idle=1;ID=2;xid=3")], None),
            (&cookie, &[("cookie", "id=")], None),
            (&cookie, &[("cookie", ";;=;id;\u{e9}")], None),
        ];
        for (by, fields, key) in table {
            let wanted = key.map(|key| digest(key.as_bytes()));
            assert_eq!(of(by, "/", fields), wanted, "{by} of {fields:?}");
        }
    }

    #[test]
    fn the_client_is_the_last_that_is_not_trusted() {
        for (path, client) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("198.51.100.9, 192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1, 10.0.0.1", Some("192.0.2.1")),
            (
                "198.51.100.9, 192.0.2.1,10.0.0.2, 10.0.0.1",
                Some("192.0.2.1"),
            ),
            ("::ffff:192.0.2.1, 10.0.0.1", Some("192.0.2.1")),
            ("2001:db8::1, 10.0.0.1", Some("2001:db8::1")),
            ("unknown, 10.0.0.2, 10.0.0.1", Some("10.0.0.2")),
            ("10.0.0.2, 10.0.0.1", Some("10.0.0.2")),
            ("", None),
        ] {
            let wanted = client.map(|client| of_address(client.parse().unwrap()));
            let found = of(&HashKey::Client, "/", &[("x-forwarded-for", path)]);
            assert_eq!(found, wanted, "{path}");
        }
        assert_eq!(of(&HashKey::Client, "/", &[]), None);
    }
}
