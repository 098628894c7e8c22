//! The rules of a request, in the order they apply.

use http::header::{CONNECTION, EXPECT, HOST, TE, TRAILER, UPGRADE};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, Uri, Version};

use super::framing::{self, Declared, Shape};
use super::names::{self, FIELDS_MAX, Present, members};
use super::{host, identity, trailers};
use crate::body::Body;
use crate::config::settings::{Network, Settings};
use crate::error::Reason;
use crate::forward::Downstream;
use crate::transport::Capabilities;

/// What the rules need to know besides the request.
#[derive(Clone, Debug)]
pub(in crate::forward) struct RequestRules {
    /// Networks whose `X-Forwarded-*` is believed.
    pub(in crate::forward) trusted: Vec<Network>,
    /// Size of a request body.
    pub(in crate::forward) body_bytes: Option<u64>,
    /// Trusted peers may ask for the decision.
    pub(in crate::forward) explains: bool,
    /// What the transport can carry.
    pub(in crate::forward) capabilities: Capabilities,
}

impl RequestRules {
    /// The rules that follow from these settings, over a transport that can carry so much.
    pub(in crate::forward) fn new(settings: &Settings, capabilities: Capabilities) -> Self {
        Self {
            trusted: settings.limits.trusted_proxies.clone(),
            body_bytes: settings.limits.body_bytes,
            explains: settings.debug.decision_header.is_some(),
            capabilities,
        }
    }
}

/// What a request that keeps the rules asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::forward) struct Asked {
    /// How long its body is.
    pub(in crate::forward) shape: Shape,
    /// It wants to become a WebSocket.
    pub(in crate::forward) upgrade: bool,
    /// It came by HTTP/1.0 without a `Host`; each attempt names its backend.
    pub(in crate::forward) hostless: bool,
    /// Its peer is to be told the decision.
    pub(in crate::forward) explain: bool,
    /// Its client takes trailers.
    pub(in crate::forward) trailers: bool,
}

/// Turns a head as it was received into the head to send. `can_switch`: the client's connection can become a tunnel.
///
/// # Errors
/// Why the request is not forwarded.
pub(in crate::forward) fn prepare(
    head: &mut Parts,
    body: &Body,
    from: &Downstream,
    can_switch: bool,
    id: &HeaderValue,
    rules: &RequestRules,
) -> Result<Asked, Reason> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Reason::MethodNotAllowed);
    }
    if head.headers.len() > FIELDS_MAX {
        return Err(Reason::BadRequest("too many header fields"));
    }
    let old_version = head.version <= Version::HTTP_10;
    let headers = &mut head.headers;
    let present = Present::in_head(headers);

    host::settle(headers, &head.uri, head.version).map_err(Reason::BadRequest)?;
    let uri = host::origin_form(&head.uri, &head.method).map_err(Reason::BadRequest)?;
    let declared =
        framing::declared_request(headers, present, old_version).map_err(Reason::BadRequest)?;
    let shape = framing::shape(body, declared).map_err(Reason::BadRequest)?;
    check_size(shape, rules.body_bytes)?;
    if present.any(Present::EXPECT) {
        check_expectation(headers)?;
    }

    let wants_websocket = present.any(Present::UPGRADE)
        && !old_version
        && head.method == Method::GET
        && asks_for_websocket(headers);
    // RFC 6455 §4.1 knows no body there, and two readers of one would disagree about its end (CVE-2026-58055).
    if wants_websocket
        && !(shape == Shape::Empty && matches!(declared, Declared::Nothing | Declared::Length(0)))
    {
        return Err(Reason::BadRequest("an upgrade request has no body"));
    }
    let upgrade = wants_websocket && can_switch;
    if upgrade && !rules.capabilities.upgrades {
        return Err(Reason::Unsupported("upgrades cannot be carried"));
    }
    if !rules.capabilities.opaque_bytes && (has_opaque_bytes(headers) || !is_ascii(&uri)) {
        return Err(Reason::Unsupported("bytes above 0x7F cannot be carried"));
    }
    let trailers = rules.capabilities.trailers;
    // HTTP/1.0 has no chunks for trailers to follow.
    let wants_trailers =
        trailers && !old_version && present.any(Present::TE) && accepts_trailers(headers);
    let announced = (trailers && shape == Shape::Chunked && present.any(Present::TRAILER))
        .then(|| trailers::announcement(headers))
        .flatten();

    let explain = rules.explains
        && present.any(Present::EXPLAIN)
        && identity::asks_to_explain(headers, from, &rules.trusted);

    // First everything hop-by-hop goes, then ours comes: in the other order a client could have ours removed.
    names::remove_hop_by_hop(headers, present);
    if present.any(Present::EXPECT) {
        headers.remove(EXPECT);
    }
    identity::state(headers, present, from, &rules.trusted);
    headers.insert(identity::REQUEST_ID, id.clone());
    framing::write(
        headers,
        present,
        shape,
        if upgrade { Declared::Nothing } else { declared },
    );
    if let Some(names) = announced {
        headers.insert(TRAILER, names);
    }
    state_connection(headers, upgrade, wants_trailers);

    head.uri = uri;
    head.version = Version::HTTP_11;
    // What the server side put there is about the client's connection.
    head.extensions = Extensions::new();
    Ok(Asked {
        shape,
        upgrade,
        hostless: !head.headers.contains_key(HOST),
        explain,
        trailers: wants_trailers,
    })
}

fn check_size(shape: Shape, most: Option<u64>) -> Result<(), Reason> {
    match (shape, most) {
        (Shape::Exact(length), Some(most)) if length > most => Err(Reason::BodyTooLarge),
        _ => Ok(()),
    }
}

/// RFC 9110 §10.1.1. `100-continue` is answered by whoever reads the body, so it is not sent on (CVE-2024-24791).
fn check_expectation(headers: &HeaderMap) -> Result<(), Reason> {
    if members(headers, &EXPECT)
        .all(|expectation| expectation.eq_ignore_ascii_case(b"100-continue"))
    {
        Ok(())
    } else {
        Err(Reason::ExpectationFailed)
    }
}

/// Only `websocket` is passed on; other protocols, `h2c` above all, would tunnel past every rule (RFC 9931).
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    members(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        && members(headers, &UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    members(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

fn is_ascii(uri: &Uri) -> bool {
    uri.path_and_query()
        .is_none_or(|target| target.as_str().is_ascii())
}

fn has_opaque_bytes(headers: &HeaderMap) -> bool {
    headers.values().any(|value| !value.as_bytes().is_ascii())
}

/// RFC 9110 §7.8 and §10.1.4: both `Upgrade` and `TE` are to be named in `Connection`.
fn state_connection(headers: &mut HeaderMap, upgrade: bool, trailers: bool) {
    let options = match (upgrade, trailers) {
        (true, true) => "upgrade, te",
        (true, false) => "upgrade",
        (false, true) => "te",
        (false, false) => return,
    };
    headers.insert(CONNECTION, HeaderValue::from_static(options));
    if upgrade {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

#[cfg(test)]
mod tests;
