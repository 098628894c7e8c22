//! Trailers: which fields may come after a body.
//!
//! RFC 9110 §6.5.1: none that frames the message, routes it, authenticates, or says how to handle or read the
//! content. Recipients merge trailers into headers; a forbidden one would change what was decided before.

use http::header::TRAILER;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::names::members;

/// May this field come after the body?
fn is_allowed(name: &str) -> bool {
    let folded;
    let name = if name.contains('_') {
        folded = name.replace('_', "-");
        &folded
    } else {
        name
    };
    let forbidden = matches!(
        name,
        // Framing and routing.
        "transfer-encoding" | "content-length" | "host" | "trailer" | "te" | "connection" | "keep-alive"
            | "upgrade" | "http2-settings" | "via" | "forwarded" | "proxy" | "x-real-ip" | "x-request-id"
        // Controls and conditions.
            | "cache-control" | "expect" | "max-forwards" | "pragma" | "range" | "alt-svc"
        // Who somebody is, and what is theirs.
            | "authorization" | "www-authenticate" | "authentication-info" | "cookie" | "set-cookie" | "origin"
            | "referer"
        // What the response means.
            | "age" | "date" | "expires" | "location" | "retry-after" | "vary" | "warning" | "allow"
            | "strict-transport-security" | "clear-site-data" | "refresh"
        // How the content is read.
            | "content-encoding" | "content-type" | "content-range" | "content-language" | "content-location"
            | "content-disposition" | "content-security-policy" | "x-content-type-options"
            | "x-http-method-override"
    );
    let family = ["proxy-", "x-forwarded-", "if-", "access-control-", "sec-"];
    !forbidden && !family.iter().any(|prefix| name.starts_with(prefix))
}

/// Removes what may not be a trailer (row 27).
pub(in crate::forward) fn keep_allowed(trailers: &mut HeaderMap) {
    let forbidden: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| !is_allowed(name.as_str()))
        .cloned()
        .collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

/// The `Trailer` field to send: the announced names that may come. A codec drops trailers it was not told of.
pub(super) fn announcement(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut names = String::new();
    for member in members(headers, &TRAILER) {
        if let Ok(name) = HeaderName::from_bytes(member)
            && is_allowed(name.as_str())
        {
            if !names.is_empty() {
                names.push_str(", ");
            }
            names.push_str(name.as_str());
        }
    }
    if names.is_empty() {
        None
    } else {
        HeaderValue::try_from(names).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lines, map};
    use super::*;

    #[test]
    fn row_27_framing_routing_and_identity_are_no_trailers() {
        let mut trailers = map(&[
            ("content-length", "5"),
            ("Content_Length", "5"),
            ("transfer-encoding", "chunked"),
            ("host", "evil"),
            ("authorization", "x"),
            ("set-cookie", "a=b"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x_forwarded_for", "192.0.2.1"),
            ("proxy-status", "x"),
            ("if-match", "*"),
            ("te", "trailers"),
            ("grpc-status", "0"),
            ("x-checksum", "1"),
            ("x-checksum", "2"),
            ("etag", "\"a\""),
        ]);
        keep_allowed(&mut trailers);
        assert_eq!(
            lines(&trailers),
            [
                "etag: \"a\"",
                "grpc-status: 0",
                "x-checksum: 1",
                "x-checksum: 2"
            ]
        );
    }

    #[test]
    fn only_names_that_may_come_are_announced() {
        let headers = map(&[
            ("trailer", "X-Sum, Host,, content-length"),
            ("trailer", "ETag"),
        ]);
        assert_eq!(announcement(&headers).unwrap(), "x-sum, etag");
        assert_eq!(announcement(&map(&[("trailer", "host, b@d")])), None);
    }
}
