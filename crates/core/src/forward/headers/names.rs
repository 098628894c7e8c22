//! Field names: which of those that the rules are about a head has, hop-by-hop ones, protected ones, and names that
//! pretend to be one of ours.

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

/// Which fields that some rule is about are in a head, found in one pass: a rule about a field that is not there
/// costs a bit test instead of a look into the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Present(u16);

impl Present {
    pub(super) const CONNECTION: Self = Self(1);
    pub(super) const TE: Self = Self(1 << 1);
    pub(super) const UPGRADE: Self = Self(1 << 2);
    pub(super) const TRAILER: Self = Self(1 << 3);
    pub(super) const TRANSFER_ENCODING: Self = Self(1 << 4);
    pub(super) const CONTENT_LENGTH: Self = Self(1 << 5);
    pub(super) const EXPECT: Self = Self(1 << 6);
    /// A hop-by-hop field without a rule of its own.
    const OTHER_HOP: Self = Self(1 << 7);
    pub(super) const FORWARDED_FOR: Self = Self(1 << 8);
    pub(super) const FORWARDED_PROTO: Self = Self(1 << 9);
    pub(super) const FORWARDED_HOST: Self = Self(1 << 10);
    /// Another field that says who the client is.
    const OTHER_CLAIM: Self = Self(1 << 11);
    /// A name with an underscore: it may be an alias.
    pub(super) const UNDERSCORE: Self = Self(1 << 12);

    /// The question for the decision.
    pub(super) const EXPLAIN: Self = Self(1 << 13);

    const NOTHING: Self = Self(0);
    const HOP_BY_HOP: Self = Self::CONNECTION
        .with(Self::TE)
        .with(Self::UPGRADE)
        .with(Self::TRAILER)
        .with(Self::TRANSFER_ENCODING)
        .with(Self::OTHER_HOP);
    /// Fields that only a trusted peer may send.
    pub(super) const CLAIMS: Self = Self::FORWARDED_FOR
        .with(Self::FORWARDED_PROTO)
        .with(Self::FORWARDED_HOST)
        .with(Self::OTHER_CLAIM);

    pub(super) fn in_head(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self::NOTHING, |present, name| {
            present.with(Self::of(name.as_str()))
        })
    }

    fn of(name: &str) -> Self {
        match name {
            "connection" => Self::CONNECTION,
            "te" => Self::TE,
            "upgrade" => Self::UPGRADE,
            "trailer" => Self::TRAILER,
            "transfer-encoding" => Self::TRANSFER_ENCODING,
            "content-length" => Self::CONTENT_LENGTH,
            "expect" => Self::EXPECT,
            "x-lb-explain" => Self::EXPLAIN,
            "x-forwarded-for" => Self::FORWARDED_FOR,
            "x-forwarded-proto" => Self::FORWARDED_PROTO,
            "x-forwarded-host" => Self::FORWARDED_HOST,
            "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "http2-settings"
            | "proxy" => Self::OTHER_HOP,
            name => {
                let claim = claims_identity(name).then_some(Self::OTHER_CLAIM);
                let underscore = name.contains('_').then_some(Self::UNDERSCORE);
                claim
                    .unwrap_or(Self::NOTHING)
                    .with(underscore.unwrap_or(Self::NOTHING))
            }
        }
    }

    /// Both.
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without those.
    pub(super) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Is any of those there?
    pub(super) const fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }
}

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
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap, present: Present) {
    if !present.any(Present::HOP_BY_HOP) {
        return;
    }
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
        "x-request-id" | "x-real-ip" | "x-lb-explain" | "content-length" | "transfer-encoding"
    ) || name.starts_with("x-forwarded-")
        || Present::of(name).any(Present::HOP_BY_HOP)
}

/// Names that say who the client is: only a trusted peer may send them.
pub(super) fn claims_identity(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip") || name.starts_with("x-forwarded-")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lines, map};
    use super::*;

    fn remove(headers: &mut HeaderMap) {
        let present = Present::in_head(headers);
        remove_hop_by_hop(headers, present);
    }

    #[test]
    fn every_hop_by_hop_field_alone_is_noticed_and_removed() {
        for name in HOP_BY_HOP {
            let mut headers = map(&[(name.as_str(), "x")]);
            remove(&mut headers);
            assert!(headers.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_head_is_surveyed_field_by_field() {
        let table = [
            ("content-length", Present::CONTENT_LENGTH),
            ("expect", Present::EXPECT),
            ("forwarded", Present::CLAIMS),
            ("x-real-ip", Present::CLAIMS),
            ("x-forwarded-for", Present::FORWARDED_FOR),
            ("x-forwarded-port", Present::CLAIMS),
            ("x-forwarded_port", Present::UNDERSCORE),
            ("content_length", Present::UNDERSCORE),
            ("te", Present::HOP_BY_HOP),
        ];
        for (name, field) in table {
            let present = Present::in_head(&map(&[("host", "a"), (name, "1")]));
            assert!(present.any(field), "{name}");
            assert!(!present.without(field).any(field), "{name}");
        }
        let plain = map(&[("host", "a"), ("accept", "*/*"), ("cookie", "a=b")]);
        assert_eq!(Present::in_head(&plain), Present::NOTHING);
    }

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
        remove(&mut headers);
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
            remove(&mut headers);
            assert_eq!(lines(&headers), [format!("{name}: {value}")]);
        }
    }

    #[test]
    fn no_hash_is_taken_of_a_field_that_ends_here() {
        let others = [http::header::EXPECT, crate::forward::EXPLAIN];
        for name in HOP_BY_HOP.iter().chain(&others) {
            let text = format!(
                "[listen]\nweb = \":1\"\n[pool.app]\nservers = [\"a:1\", \"b:1\"]\nbalance = {{ by = \"hash\", key = \"header:{name}\" }}"
            );
            let mistakes = crate::config::parse("lb.toml", text.as_bytes(), &|_| None).unwrap_err();
            assert_eq!(mistakes.iter().count(), 1, "{mistakes}");
        }
    }

    #[test]
    fn row_32_httpoxy_the_proxy_field_is_dropped() {
        let mut headers = map(&[("proxy", "http://192.0.2.1/")]);
        remove(&mut headers);
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
