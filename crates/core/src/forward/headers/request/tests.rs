//! Rows of hostile traffic, and chance.

use super::super::testing::{lines, map};
use super::*;
use crate::error::BodyError;
use crate::rng::Rng;
use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body whose length nobody knows.
struct Unknown;

impl HttpBody for Unknown {
    type Data = Bytes;
    type Error = BodyError;
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Pending
    }
}

fn rules() -> RequestRules {
    RequestRules {
        trusted: Vec::new(),
        body_bytes: None,
        explains: false,
        capabilities: Capabilities::FULL,
    }
}

fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::new(());
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = target.parse().unwrap();
    *request.headers_mut() = map(fields);
    request.into_parts().0
}

fn with_rules(
    mut head: Parts,
    body: &Body,
    rules: &RequestRules,
) -> Result<(Asked, Vec<String>), Reason> {
    let from = Downstream::new("192.0.2.7:1234".parse().unwrap(), false);
    let id = HeaderValue::from_static("id");
    let asked = prepare(&mut head, body, &from, true, &id, rules)?;
    assert_eq!(head.version, Version::HTTP_11);
    Ok((asked, lines(&head.headers)))
}

fn sent(head: Parts, body: &Body) -> Result<(Asked, Vec<String>), Reason> {
    with_rules(head, body, &rules())
}

/// What every request below carries besides its own fields.
const OURS: [&str; 5] = [
    "host: a",
    "x-forwarded-for: 192.0.2.7",
    "x-forwarded-host: a",
    "x-forwarded-proto: http",
    "x-request-id: id",
];

fn own_fields(result: Result<(Asked, Vec<String>), Reason>) -> Vec<String> {
    let (_, mut lines) = result.unwrap();
    for ours in OURS {
        let at = lines.iter().position(|line| line == ours);
        lines.remove(at.unwrap_or_else(|| panic!("no {ours:?}")));
    }
    lines
}

fn get(fields: &[(&str, &str)]) -> Parts {
    let mut all = vec![("host", "a")];
    all.extend(fields);
    head("GET", "/", &all)
}

#[test]
fn row_39_connect_and_trace_are_not_forwarded() {
    for (method, target) in [("CONNECT", "a:80"), ("CONNECT", "/a"), ("TRACE", "/")] {
        let result = sent(head(method, target, &[("host", "a")]), &Body::empty());
        assert_eq!(result.unwrap_err(), Reason::MethodNotAllowed);
    }
}

#[test]
fn row_29_cve_2022_31813_the_client_cannot_remove_what_we_add() {
    let result = sent(
        get(&[
            (
                "connection",
                "x-forwarded-for, X-Forwarded-Host, x-forwarded-proto, x-request-id, host",
            ),
            ("x-forwarded-for", "198.51.100.1"),
        ]),
        &Body::empty(),
    );
    assert_eq!(own_fields(result), [""; 0]);
}

#[test]
fn row_21_cve_2024_24791_expect_is_answered_here() {
    let plain = sent(get(&[("expect", "100-Continue")]), &Body::empty());
    assert_eq!(own_fields(plain), [""; 0]);
    for other in ["200-ok", "100-continue, x", "x=1"] {
        let result = sent(get(&[("expect", other)]), &Body::empty());
        assert_eq!(result.unwrap_err(), Reason::ExpectationFailed, "{other}");
    }
}

#[test]
fn row_33_h2c_is_not_passed_on() {
    let (asked, lines) = sent(
        get(&[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
        ]),
        &Body::empty(),
    )
    .unwrap();
    assert!(!asked.upgrade);
    assert_eq!(lines, OURS);
}

#[test]
fn a_websocket_request_asks_for_exactly_that() {
    let fields = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "h2c, WebSocket"),
        ("sec-websocket-key", "k"),
    ];
    let result = sent(get(&fields), &Body::empty());
    assert!(result.unwrap().0.upgrade);
    assert_eq!(
        own_fields(sent(get(&fields), &Body::empty())),
        [
            "connection: upgrade",
            "sec-websocket-key: k",
            "upgrade: websocket"
        ]
    );
}

#[test]
fn an_upgrade_is_asked_for_by_get_over_http_1_1_and_in_connection() {
    let upgrade = [
        ("host", "a"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
    ];
    let mut old = head("GET", "/", &upgrade);
    old.version = Version::HTTP_10;
    for plain in [
        old,
        head("OPTIONS", "/", &upgrade),
        get(&[("upgrade", "websocket")]),
    ] {
        assert!(!sent(plain, &Body::empty()).unwrap().0.upgrade);
    }
}

#[test]
fn row_16_cve_2026_58055_an_upgrade_with_a_body_is_refused() {
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    let length = [("content-length", "5"), upgrade[0], upgrade[1]];
    let chunked = [("transfer-encoding", "chunked"), upgrade[0], upgrade[1]];
    for (fields, body) in [
        (&upgrade[..], Body::from("hello")),
        (&length[..], Body::empty()),
        (&chunked[..], Body::stream(Unknown)),
    ] {
        assert!(matches!(
            sent(get(fields), &body),
            Err(Reason::BadRequest(_))
        ));
    }
}

#[test]
fn what_the_transport_cannot_carry_is_refused_before_a_byte_is_sent() {
    let poor = RequestRules {
        capabilities: Capabilities::default(),
        ..rules()
    };
    let upgrade = get(&[("connection", "upgrade"), ("upgrade", "websocket")]);
    let opaque = get(&[("x-name", "caf\u{e9}")]);
    for head in [upgrade, opaque] {
        let result = with_rules(head, &Body::empty(), &poor);
        assert!(matches!(result, Err(Reason::Unsupported(_))));
    }
    let trailers = with_rules(get(&[("te", "trailers")]), &Body::empty(), &poor);
    assert_eq!(own_fields(trailers), [""; 0]);
}

#[test]
fn row_6_cve_2020_35863_a_get_with_a_body_keeps_it() {
    let (asked, lines) = sent(get(&[]), &Body::stream(Unknown)).unwrap();
    assert_eq!(asked.shape, Shape::Chunked);
    assert!(lines.contains(&"transfer-encoding: chunked".to_owned()));
}

#[test]
fn row_5_cve_2026_33555_a_length_without_a_body_is_corrected() {
    let result = sent(
        head("POST", "/", &[("host", "a"), ("content-length", "5")]),
        &Body::empty(),
    );
    assert_eq!(own_fields(result), ["content-length: 0"]);
}

#[test]
fn te_and_trailer_survive_in_the_form_that_codecs_need() {
    let fields = [
        ("te", "gzip, Trailers"),
        ("connection", "te"),
        ("trailer", "X-Sum, Host"),
        ("transfer-encoding", "chunked"),
    ];
    assert_eq!(
        own_fields(sent(get(&fields), &Body::stream(Unknown))),
        [
            "connection: te",
            "te: trailers",
            "trailer: x-sum",
            "transfer-encoding: chunked"
        ]
    );
    // Without chunks there is no place for trailers.
    assert_eq!(
        own_fields(sent(get(&[("trailer", "x-sum")]), &Body::from("hello"))),
        ["content-length: 5"]
    );
}

#[test]
fn a_declared_body_over_the_limit_is_refused_at_once() {
    let limited = RequestRules {
        body_bytes: Some(4),
        ..rules()
    };
    let post = || head("POST", "/", &[("host", "a")]);
    let result = with_rules(post(), &Body::from("hello"), &limited);
    assert_eq!(result.unwrap_err(), Reason::BodyTooLarge);
    assert!(with_rules(post(), &Body::from("hell"), &limited).is_ok());
    let declared = head("POST", "/", &[("host", "a"), ("content-length", "5")]);
    let result = with_rules(declared, &Body::stream(Unknown), &limited);
    assert_eq!(result.unwrap_err(), Reason::BodyTooLarge);
}

#[test]
fn http_1_0_without_a_host_is_marked_for_the_attempt() {
    let mut old = head("GET", "/", &[]);
    old.version = Version::HTTP_10;
    assert!(sent(old, &Body::empty()).unwrap().0.hostless);
    assert!(!sent(get(&[]), &Body::empty()).unwrap().0.hostless);
}

#[test]
fn a_flood_of_fields_is_refused() {
    let many = vec![("a", "b"); FIELDS_MAX + 1];
    assert!(matches!(
        sent(get(&many), &Body::empty()),
        Err(Reason::BadRequest(_))
    ));
}

#[test]
fn whatever_a_client_sends_one_host_and_one_framing_go_up() {
    const NAMES: &[&str] = &[
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "x-forwarded-for",
        "x_forwarded_for",
        "x-request-id",
        "forwarded",
        "proxy",
        "http2-settings",
        "x-a",
    ];
    const VALUES: &[&str] = &[
        "",
        "a",
        "a:80",
        "5",
        "0",
        "5, 5",
        "chunked",
        "identity",
        "close",
        "upgrade",
        "websocket",
        "h2c",
        "trailers",
        "100-continue",
        "host",
        "content-length, transfer-encoding",
        "x-forwarded-for, x-a",
    ];
    const METHODS: &[&str] = &["GET", "POST", "PUT", "OPTIONS", "HEAD", "X-OTHER"];
    const TARGETS: &[&str] = &[
        "/",
        "*",
        "http://b/x",
        "http://u@b/",
        "b:80",
        "/a?b",
        "ftp://c/",
    ];
    let rng = Rng::new(7);
    let any = |of: &[&'static str]| -> &'static str {
        let index = usize::try_from(rng.below(of.len() as u64)).unwrap();
        of[index]
    };
    let mut accepted = 0;
    for round in 0..20_000 {
        let mut fields = vec![("host", "a")];
        if rng.below(8) == 0 {
            fields.clear();
        }
        fields.extend((0..rng.below(5)).map(|_| (any(NAMES), any(VALUES))));
        let body = match rng.below(3) {
            0 => Body::empty(),
            1 => Body::from("hello"),
            _ => Body::stream(Unknown),
        };
        let mut head = head(any(METHODS), any(TARGETS), &fields);
        if rng.below(4) == 0 {
            head.version = Version::HTTP_10;
        }
        let Ok((asked, lines)) = sent(head, &body) else {
            continue;
        };
        accepted += 1;
        let count = |name: &str| lines.iter().filter(|line| line.starts_with(name)).count();
        assert_eq!(
            count("host: "),
            usize::from(!asked.hostless),
            "{round}: {fields:?}"
        );
        let (length, coding) = (count("content-length: "), count("transfer-encoding: "));
        match asked.shape {
            Shape::Empty => {
                assert!(coding == 0 && (length == 0 || count("content-length: 0") == 1))
            }
            Shape::Exact(_) => assert_eq!((length, coding), (1, 0)),
            Shape::Chunked => assert_eq!((length, coding), (0, 1)),
        }
        assert_eq!(count("x-forwarded-for: 192.0.2.7"), 1);
        assert_eq!(count("x-forwarded-for"), 1);
        assert_eq!(count("x-request-id: id"), 1);
        for gone in [
            "x_forwarded_for",
            "proxy",
            "http2-settings",
            "expect",
            "forwarded: ",
        ] {
            assert_eq!(count(gone), 0, "{round}: {gone} in {lines:?}");
        }
        assert_eq!(count("upgrade: "), usize::from(asked.upgrade));
    }
    assert!(accepted > 1_000, "{accepted}");
}
