//! Field names: hop-by-hop ones, protected ones, and names that pretend to be one of ours.

use http::header::{
    CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// RFC 9110 §7.6.1, the older habits it names, and `Proxy`, which no standard knows but CGI turns into
/// `HTTP_PROXY` (httpoxy). What of them is still wanted is set again afterwards.
const HOP_BY_HOP: [HeaderName; 11] = [
    CONNECTION,
    TRANSFER_ENCODING,
    TE,
    TRAILER,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("proxy"),
];

/// More fields than any limit of ours lets in. `HeaderMap` panics far above; this keeps every insertion safe.
pub(super) const FIELDS_MAX: usize = 4096;

/// The comma-separated members of all values of `name`, trimmed, without empty ones.
pub(super) fn members<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().flat_map(list)
}

/// The comma-separated members of one value.
pub(super) fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Removes hop-by-hop fields and everything that `Connection` names, except what frames the message or carries
/// identity: a client must not be able to have that removed (CVE-2022-31813, CVE-2026-26365).
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if members(headers, &CONNECTION).any(names_a_field) {
        let values: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
        for token in values.iter().flat_map(list) {
            if let Ok(name) = HeaderName::from_bytes(token)
                && !is_protected(name.as_str())
            {
                headers.remove(name);
            }
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The usual options need no second look: they are removed anyway, or name no field.
fn names_a_field(token: &[u8]) -> bool {
    !(token.eq_ignore_ascii_case(b"keep-alive")
        || token.eq_ignore_ascii_case(b"close")
        || token.eq_ignore_ascii_case(b"upgrade")
        || token.eq_ignore_ascii_case(b"te"))
}

fn is_protected(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "transfer-encoding"
            | "authorization"
            | "cookie"
            | "te"
            | "forwarded"
            | "via"
            | "x-request-id"
    ) || name.starts_with("x-forwarded-")
}

/// Does this name reach a CGI-like backend as one that we manage? Such gateways fold `-` and `_` into one
/// (CVE-2026-39858).
pub(super) fn is_alias(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let folded = name.replace('_', "-");
    is_managed(&folded)
}

/// Names whose content we vouch for towards the backend.
fn is_managed(name: &str) -> bool {
    matches!(
        name,
        "x-request-id" | "x-real-ip" | "content-length" | "transfer-encoding"
    ) || name.starts_with("x-forwarded-")
        || HOP_BY_HOP.iter().any(|hop| hop.as_str() == name)
}

/// Names that say who the client is: only a trusted peer may send them.
pub(super) fn claims_identity(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip") || name.starts_with("x-forwarded-")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lines, map};
    use super::*;

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_are_removed() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "keep-alive,  x-other ,,"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-authenticate", "Basic"),
            ("te", "gzip"),
            ("trailer", "x-sum"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(lines(&headers), ["accept: */*"]);
    }

    #[test]
    fn row_23_cve_2026_26365_connection_cannot_remove_framing_or_identity() {
        let kept = [
            ("host", "a"),
            ("content-length", "3"),
            ("authorization", "Basic eA=="),
            ("cookie", "a=b"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-anything", "1"),
            ("forwarded", "for=192.0.2.1"),
            ("via", "1.1 a"),
            ("x-request-id", "1"),
        ];
        for (name, value) in kept {
            let mut headers = map(&[(name, value), ("connection", &name.to_uppercase())]);
            remove_hop_by_hop(&mut headers);
            assert_eq!(lines(&headers), [format!("{name}: {value}")]);
        }
    }

    #[test]
    fn row_32_httpoxy_the_proxy_field_is_dropped() {
        let mut headers = map(&[("proxy", "http://192.0.2.1/")]);
        remove_hop_by_hop(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn row_30_cve_2026_39858_names_that_fold_to_a_managed_one_are_aliases() {
        for alias in [
            "x_forwarded_for",
            "x-forwarded_proto",
            "x_real-ip",
            "x_request_id",
            "content_length",
            "transfer_encoding",
            "proxy_authorization",
        ] {
            assert!(is_alias(alias), "{alias}");
        }
        for own in ["x_user", "x-forwarded-for", "accept", "a_b"] {
            assert!(!is_alias(own), "{own}");
        }
    }
}
