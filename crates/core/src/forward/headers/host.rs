//! Whom a request is for: one valid `Host`, and an origin-form target.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

/// Leaves exactly one valid `Host` in `headers`, or none where HTTP/1.0 sent none. The authority of an absolute-form
/// target wins over the field (RFC 9112 §3.2.2); from HTTP/2 on it may stand alone (RFC 9113 §8.3.1).
///
/// # Errors
/// The rule the request breaks.
pub(super) fn settle(
    headers: &mut HeaderMap,
    uri: &Uri,
    version: Version,
) -> Result<(), &'static str> {
    let mut fields = headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err("a request has one Host");
    }
    if field.is_some_and(|field| !is_valid(field.as_bytes())) {
        return Err("Host is not valid");
    }
    let Some(authority) = uri.authority() else {
        return if field.is_some() || version < Version::HTTP_11 {
            Ok(())
        } else {
            Err("Host is missing")
        };
    };
    if field.is_none() && version == Version::HTTP_11 {
        return Err("Host is missing");
    }
    // RFC 9110 §4.2.4: userinfo in a target is an attempt to mislead.
    if !is_valid(authority.as_str().as_bytes()) {
        return Err("the target's authority is not valid");
    }
    let host = HeaderValue::from_str(authority.as_str())
        .map_err(|_| "the target's authority is not valid")?;
    headers.insert(HOST, host);
    Ok(())
}

/// The target in origin-form (RFC 9112 §3.2.1), path and query byte for byte; `*` stays for OPTIONS.
///
/// # Errors
/// The target has a form that this method does not have.
pub(super) fn origin_form(uri: &Uri, method: &Method) -> Result<Uri, &'static str> {
    let target = uri.path_and_query();
    if uri.authority().is_some() && target.is_none() {
        return Err("only CONNECT has an authority as its target");
    }
    if uri
        .scheme()
        .is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS)
    {
        return Err("the target's scheme is not http or https");
    }
    let Some(target) = target else {
        return Err("the request has no target");
    };
    match target.as_str().as_bytes().first() {
        Some(b'/') => Ok(Uri::from(target.clone())),
        Some(b'*') if *method == Method::OPTIONS && target.as_str() == "*" => {
            Ok(Uri::from(target.clone()))
        }
        Some(b'?') if uri.authority().is_some() => {
            PathAndQuery::try_from(format!("/{target}").replacen("//", "/", 1))
                .map(Uri::from)
                .map_err(|_| "the target is not valid")
        }
        _ => Err("the target is not a path"),
    }
}

/// RFC 3986 §3.2.2 without userinfo, and without the sub-delims that no host name needs and that split lists.
fn is_valid(host: &[u8]) -> bool {
    let (name_is_valid, port) = if let Some(literal) = host.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (address, rest) = literal.split_at(end);
        let valid =
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok());
        (valid, rest.strip_prefix(b"]").unwrap_or(rest))
    } else {
        let end = host
            .iter()
            .position(|byte| !is_name_byte(byte))
            .unwrap_or(host.len());
        (end > 0, &host[end..])
    };
    name_is_valid && is_port(port)
}

fn is_name_byte(byte: &u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
        | b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=')
}

/// Nothing, or a colon and perhaps a port.
fn is_port(text: &[u8]) -> bool {
    let Some(port) = text.strip_prefix(b":") else {
        return text.is_empty();
    };
    port.iter().all(u8::is_ascii_digit)
        && (port.is_empty()
            || std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lines, map};
    use super::*;

    fn settled(
        target: &str,
        hosts: &[&str],
        version: Version,
    ) -> Result<Vec<String>, &'static str> {
        let fields: Vec<(&str, &str)> = hosts.iter().map(|host| ("host", *host)).collect();
        let mut headers = map(&fields);
        settle(&mut headers, &target.parse().unwrap(), version)?;
        Ok(lines(&headers))
    }

    #[test]
    fn row_38_a_request_has_exactly_one_valid_host() {
        for good in [
            "a",
            "a.example:80",
            "a:",
            "127.0.0.1:9",
            "[::1]",
            "[::1]:8080",
            "a_b",
            "xn--a",
        ] {
            assert_eq!(
                settled("/", &[good], Version::HTTP_11),
                Ok(vec![format!("host: {good}")])
            );
        }
        for bad in [
            "", ":80", "a b", "a/b", "u@a", "a:b", "a:65536", "a:1:2", "[::1", "[::1]x", "[a]",
            "a,b", "a?b", "a\\b", "a#b",
        ] {
            assert!(settled("/", &[bad], Version::HTTP_11).is_err(), "{bad:?}");
            assert!(settled("/", &[bad], Version::HTTP_10).is_err(), "{bad:?}");
        }
        assert!(settled("/", &[], Version::HTTP_11).is_err());
        assert!(settled("/", &["a", "a"], Version::HTTP_11).is_err());
        assert!(settled("/", &["a", "b"], Version::HTTP_10).is_err());
    }

    #[test]
    fn row_38_the_authority_of_the_target_rewrites_host() {
        assert_eq!(
            settled("http://a.example:81/x", &["b"], Version::HTTP_11),
            Ok(vec!["host: a.example:81".into()])
        );
        assert_eq!(
            settled("http://a/", &[], Version::HTTP_10),
            Ok(vec!["host: a".into()])
        );
        assert!(settled("http://u:p@a/", &["a"], Version::HTTP_11).is_err());
        assert!(settled("http://u@a/", &["a"], Version::HTTP_11).is_err());
        assert!(settled("http://a/", &[], Version::HTTP_11).is_err());
        assert_eq!(
            settled("http://a/", &[], Version::HTTP_2),
            Ok(vec!["host: a".into()])
        );
    }

    #[test]
    fn http_1_0_may_come_without_a_host() {
        assert_eq!(settled("/", &[], Version::HTTP_10), Ok(vec![]));
    }

    #[test]
    fn path_and_query_go_through_byte_for_byte() {
        let table = [
            ("/", "/"),
            (
                "/a//b/../c/%2e%2E/%2f?x=%00&y=a+b",
                "/a//b/../c/%2e%2E/%2f?x=%00&y=a+b",
            ),
            ("http://a.example/x?y", "/x?y"),
            ("http://a.example", "/"),
            ("http://a.example?y", "/?y"),
            ("/a?", "/a?"),
        ];
        for (target, origin) in table {
            let uri = origin_form(&target.parse().unwrap(), &Method::GET).unwrap();
            assert_eq!(uri.to_string(), origin, "{target}");
            assert_eq!(uri.authority(), None);
        }
    }

    #[test]
    fn an_asterisk_is_for_options_and_an_authority_for_nobody() {
        let star = || "*".parse().unwrap();
        assert_eq!(origin_form(&star(), &Method::OPTIONS), Ok(star()));
        assert!(origin_form(&star(), &Method::GET).is_err());
        assert!(origin_form(&"a.example:80".parse().unwrap(), &Method::GET).is_err());
        assert!(origin_form(&"ftp://a/".parse().unwrap(), &Method::GET).is_err());
    }
}
