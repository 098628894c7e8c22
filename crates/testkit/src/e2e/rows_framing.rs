//! The framing rows of the hostile-traffic table: nobody's bytes become part of another message.
//!
//! Every backend here also holds each request that arrives against the rules of [`crate::backend`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::messages::trailers;
use super::setup::{before, servers};
use super::tunnel::ASK;
use crate::backend::{Arrived, Backend, Then};
use crate::client::{Client, Response, exchange, get, get_head};
use crate::process::Proxy;
use crate::wait::eventually;
use crate::wire::Cut;

/// A request on a fresh connection finds nothing of what went before it.
fn the_next_is_clean(proxy: &Proxy) {
    for _ in 0..2 {
        let answer = get(proxy.address(), "/clean");
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "clean"),
            "{answer:?}"
        );
    }
}

/// A backend that says `clean` to `/clean` and leaves the rest to `handler`.
fn clean_or(
    handler: impl Fn(&mut crate::backend::Talk<'_>) -> crate::backend::Outcome + Send + Sync + 'static,
) -> Backend {
    Backend::start(move |talk| {
        if talk.is("/clean") {
            talk.body()?;
            return talk.answer(200, &[], "clean");
        }
        handler(talk)
    })
}

fn clean() -> Backend {
    clean_or(|talk| {
        talk.body()?;
        talk.answer(200, &[], "ok")
    })
}

/// Sends `request`, wants `status` and the connection's end, and that no backend saw any of it.
fn refused(proxy: &Proxy, backend: &Backend, request: &str, status: u16) {
    let before = backend.count();
    let mut client = Client::connect(proxy.address());
    let answer = client.send(request).response("POST");
    assert_eq!(answer.status(), status, "{request:?} got {answer:?}");
    assert_eq!(backend.count(), before, "{request:?} reached the backend");
    the_next_is_clean(proxy);
}

fn body_of(arrived: &Arrived) -> &[u8] {
    let body = arrived.body.as_ref().expect("read");
    assert_eq!(body.cut, None, "{arrived:?}");
    &body.bytes
}

/// The length that is announced is the length that is sent, on every way that could empty a body: a retry, a
/// refusal, a HEAD, a client that breaks off.
pub fn row_05_an_emptied_body_takes_its_length_along(binary: &Path) {
    let dead = Backend::start(|talk| {
        talk.body()?;
        Ok(Then::Close)
    });
    let well = clean();
    let proxy = servers([&dead, &well])
        .pool("passive = \"off\"")
        .start(binary);
    for framing in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        for method in ["PUT", "GET", "DELETE"] {
            for _ in 0..2 {
                let request = format!("{method} /retried HTTP/1.1\r\nHost: x\r\n{framing}");
                assert_eq!(exchange(proxy.address(), method, request).status(), 200);
            }
        }
    }
    assert!(dead.count() >= 6, "each second one went there first");
    for arrived in well.arrived() {
        assert_eq!(body_of(&arrived), b"hello");
    }
    dead.stop();
    for _ in 0..3 {
        let request = "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(exchange(proxy.address(), "POST", request).status(), 200);
        assert_eq!(body_of(&well.last()), b"hello");
        let request = "POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(exchange(proxy.address(), "POST", request).status(), 200);
        assert_eq!(well.last().head.all("content-length"), ["0"]);
        let request = "HEAD /head HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(exchange(proxy.address(), "HEAD", request).status(), 200);
        assert_eq!(body_of(&well.last()), b"hello");
        the_next_is_clean(&proxy);
    }
    let mut client = Client::connect(proxy.address());
    client.send("POST /broken HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");
    let broken = well.wait_for(|arrived| arrived.head.target() == "/broken");
    drop(client);
    the_next_is_clean(&proxy);
    assert_ne!(well.last().connection, broken.connection);
    eventually("the broken one is seen as broken", || {
        let arrived = well.arrived();
        let broken = arrived
            .iter()
            .find(|arrived| arrived.head.target() == "/broken");
        broken.is_some_and(|arrived| arrived.body.as_ref().is_some_and(|body| body.cut.is_some()))
    });
}

/// A GET with a body keeps it, declared or chunked.
pub fn row_06_a_get_keeps_its_body(binary: &Path) {
    let backend = clean();
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for method in ["GET", "DELETE", "OPTIONS", "HEAD"] {
        for framing in [
            "Content-Length: 5\r\n\r\nhello",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        ] {
            client.send(format!("{method} /body HTTP/1.1\r\nHost: x\r\n{framing}"));
            assert_eq!(client.response(method).status(), 200);
            assert_eq!(body_of(&backend.last()), b"hello", "{method} {framing:?}");
        }
        assert_eq!(client.get("/clean").text(), "clean");
    }
}

/// `Transfer-Encoding` is `chunked`, once, or the request is refused; ours is always written anew.
pub fn row_07_transfer_encoding_is_chunked_once_or_refused(binary: &Path) {
    let backend = clean();
    let proxy = before(binary, &backend);
    for coding in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: \u{b}chunked",
    ] {
        let request =
            format!("POST /te HTTP/1.1\r\nHost: x\r\n{coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        refused(&proxy, &backend, &request, 400);
    }
    let old =
        "POST /te HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    refused(&proxy, &backend, old, 400);
    for coding in ["chunked", "Chunked", " chunked\t"] {
        let request = format!(
            "POST /te HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        assert_eq!(exchange(proxy.address(), "POST", request).status(), 200);
        let arrived = backend.last();
        assert_eq!(body_of(&arrived), b"hello");
        assert_eq!(arrived.head.all("transfer-encoding"), ["chunked"]);
    }
    // RFC 9112 §6.1: the chunks win, the length goes, and the connection ends with the answer.
    let both = "POST /te HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut client = Client::connect(proxy.address());
    match client.send(both).response("POST").status() {
        200 => assert_eq!(body_of(&backend.last()), b"hello"),
        status => assert_eq!(status, 400),
    }
    client.send(get_head("/smuggled"));
    client.rest();
    assert!(
        backend
            .arrived()
            .iter()
            .all(|arrived| arrived.head.target() != "/smuggled")
    );
    the_next_is_clean(&proxy);
}

/// What follows an upgrade request is a request of its own unless the backend said 101.
pub fn row_13_bytes_behind_an_upgrade_request_wait_for_the_101(binary: &Path) {
    let backend = clean();
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    client.send(format!("{ASK}{}", get_head("/second")));
    assert_eq!(client.response("GET").status(), 200);
    assert_eq!(client.response("GET").status(), 200);
    let arrived = backend.arrived();
    assert_eq!(arrived.len(), 2, "{arrived:#?}");
    let second = &arrived[1].head;
    assert_eq!(second.target(), "/second");
    for ours in ["x-forwarded-for", "x-request-id"] {
        assert!(second.has(ours), "it went around the proxy:\n{second:?}");
    }
    the_next_is_clean(&proxy);
}

/// Only a 101 switches: a 200 that claims to upgrade is a 200.
pub fn row_15_a_200_is_no_upgrade(binary: &Path) {
    let backend = clean_or(|talk| {
        if !talk.head().has("upgrade") {
            talk.body()?;
            return talk.answer(200, &[], "http");
        }
        talk.answer(200, &["Connection: Upgrade", "Upgrade: websocket"], "no")
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    let answer = client.send(ASK).response("GET");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "no"));
    assert!(!answer.head.lists("connection", "upgrade"), "{answer:?}");
    let answer = client.get("/after");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "http"));
    assert!(backend.last().head.has("x-forwarded-for"));
    the_next_is_clean(&proxy);
}

/// An upgrade request with a body is refused, and a connection that saw an upgrade request is not used again.
pub fn row_16_an_upgrade_with_a_body_is_refused(binary: &Path) {
    let backend = clean();
    let proxy = before(binary, &backend);
    for framing in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let head = ASK.strip_suffix("\r\n").expect("an empty line");
        refused(&proxy, &backend, &format!("{head}{framing}"), 400);
        // No other method upgrades: such a request is refused, too, or goes on without its upgrade.
        let post = format!("{head}{framing}").replace("GET", "POST");
        let before = backend.count();
        let answer = exchange(proxy.address(), "POST", post);
        if answer.status() == 200 {
            let arrived = backend.last();
            assert_eq!(body_of(&arrived), b"hello");
            assert!(
                !arrived.head.has("upgrade") && !arrived.head.has("connection"),
                "{arrived:?}"
            );
        } else {
            assert_eq!((answer.status(), backend.count()), (400, before));
        }
        the_next_is_clean(&proxy);
    }
    let mut client = Client::connect(proxy.address());
    client.send(ASK).response("GET");
    let asked = backend.last().connection;
    for _ in 0..4 {
        client.get("/clean");
        assert_ne!(
            backend.last().connection,
            asked,
            "the connection is used again"
        );
    }
}

/// A 101 that nobody asked for, or for something else than was asked, is an invalid answer.
pub fn row_17_an_unsolicited_101_is_a_502(binary: &Path) {
    let backend = clean_or(|talk| {
        talk.body()?;
        let to = if talk.head().has("upgrade") {
            "h2c"
        } else {
            "websocket"
        };
        talk.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        ))?;
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    for request in [
        get_head("/101"),
        ASK.into(),
        get_head("/101").replace("GET", "HEAD"),
    ] {
        let mut client = Client::connect(proxy.address());
        let method = &request[..4].trim();
        let answer = client.send(&request).response(method);
        assert_eq!(answer.status(), 502, "{request:?} got {answer:?}");
        assert!(!answer.text().contains("evil"));
        let connection = backend.last().connection;
        assert_eq!(
            client.get("/clean").text(),
            "clean",
            "the client's connection goes on"
        );
        assert_ne!(backend.last().connection, connection);
        the_next_is_clean(&proxy);
    }
}

/// An early answer to `Expect: 100-continue` poisons neither connection.
pub fn row_21_an_early_answer_to_expect_poisons_no_connection(binary: &Path) {
    let backend = clean_or(|talk| {
        match talk.head().target().as_str() {
            "/417" => talk.answer(417, &[], "no")?,
            "/200" => talk.answer(200, &[], "enough")?,
            "/403-close" => {
                talk.answer(403, &["Connection: close"], "no")?;
                return Ok(Then::Close);
            }
            _ => return Ok(Then::Close),
        };
        // The body is still owed. If the proxy used this connection again without sending it, the next head
        // would be swallowed here, as the body that was announced.
        talk.body()?;
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    for body in [
        b"x".repeat(10),
        b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n".repeat(40_000),
    ] {
        for (path, statuses) in [
            ("/417", [417, 417]),
            ("/200", [200, 200]),
            ("/403-close", [403, 502]),
            ("/close", [502, 502]),
        ] {
            let mut client = Client::connect(proxy.address());
            client.send(format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            let first = client.head();
            let answer = if first.status() == 100 {
                client.send(&body);
                client.answer("POST")
            } else {
                let body = client.incoming().body(first.response_framing("POST"));
                Ok(Response {
                    interim: Vec::new(),
                    head: first,
                    body,
                })
            };
            let answer = answer.unwrap_or_else(|cut| panic!("{path}: no answer: {cut:?}"));
            assert!(statuses.contains(&answer.status()), "{path}: {answer:?}");
            assert_eq!(answer.body.cut, None, "{path}: {answer:?}");
            // The client's connection is in step, or it ends.
            client.send(get_head("/clean"));
            if let Ok(next) = client.answer("GET") {
                assert!(
                    next.text() == "clean" || next.status() == 400,
                    "{path}: {next:?}"
                );
            }
            the_next_is_clean(&proxy);
        }
    }
    for arrived in backend.arrived() {
        assert!(
            arrived.head.has("x-forwarded-for"),
            "a body became a request: {arrived:?}"
        );
        assert!(!arrived.head.has("expect"), "{arrived:?}");
        let body = arrived.body.map(|body| body.bytes).unwrap_or_default();
        let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n".iter().cycle();
        assert!(
            body.iter().all(|byte| *byte == b'x') || body.iter().zip(smuggled).all(|(a, b)| a == b),
            "somebody else's bytes in a body"
        );
    }
    for expectation in ["200-ok", "100-continue, x", "100-continued"] {
        let request = format!(
            "POST /x HTTP/1.1\r\nHost: x\r\nExpect: {expectation}\r\nContent-Length: 0\r\n\r\n"
        );
        refused(&proxy, &backend, &request, 417);
    }
}

/// Malformed heads and mixed expectations leave both sides of one mind about where a message ends.
pub fn row_22_expect_options_and_folding_desynchronise_nobody(binary: &Path) {
    let backend = clean();
    let proxy = before(binary, &backend);
    for head in [
        "OPTIONS / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n folded\r\nContent-Length: 5\r\n\r\nhello",
        "OPTIONS / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\n Content-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\n X: y\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\n: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        refused(&proxy, &backend, head, 400);
    }
    // Each of these says where it ends; the next request in the same packet has to be found there.
    for (method, fields) in [
        ("OPTIONS", "Content-Length: 5\r\n\r\nhello"),
        (
            "OPTIONS",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        ("GET", "Expect: 100-continue\r\n\r\n"),
        ("GET", "Expect: 100-Continue\r\nContent-Length: 0\r\n\r\n"),
        (
            "POST",
            "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "POST",
            "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        ("POST", "Content-Length: 005\r\n\r\nhello"),
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(format!(
            "{method} /one HTTP/1.1\r\nHost: x\r\n{fields}{}",
            get_head("/clean")
        ));
        assert_eq!(client.response(method).status(), 200, "{method} {fields:?}");
        assert_eq!(
            client.response("GET").text(),
            "clean",
            "{method} {fields:?}"
        );
        let arrived = backend.arrived();
        let one = arrived
            .iter()
            .rfind(|arrived| arrived.head.target() == "/one")
            .expect("arrived");
        let wanted: &[u8] = if fields.contains("hello") {
            b"hello"
        } else {
            b""
        };
        assert_eq!(body_of(one), wanted, "{method} {fields:?}");
        assert!(!one.head.has("expect"), "{one:?}");
        the_next_is_clean(&proxy);
    }
    let old =
        "POST /old HTTP/1.0\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello";
    let answer = exchange(proxy.address(), "POST", old);
    assert_eq!(answer.status(), 200);
    assert!(answer.interim.is_empty(), "version 1.0 knows no 100");
    the_next_is_clean(&proxy);
}

/// `Connection` cannot name away what frames a message or tells who it is for and from.
pub fn row_23_connection_cannot_name_framing_or_identity_away(binary: &Path) {
    let backend = clean();
    let proxy = before(binary, &backend);
    let fields = "Authorization: Basic eA==\r\nCookie: a=1\r\nX-Own: gone\r\nConnection: Transfer-Encoding, content-length\r\n\
                  Connection: HOST,cookie, authorization , x-own, X-Forwarded-For, x-forwarded-host,x-forwarded-proto\r\n\
                  Connection: forwarded, via, x-request-id, te, ,\r\nX-Request-Id: mine\r\n";
    let mut client = Client::connect(proxy.address());
    for framing in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        for method in ["POST", "GET"] {
            client.send(format!(
                "{method} /own HTTP/1.1\r\nHost: own.example\r\n{fields}{framing}"
            ));
            assert_eq!(client.response(method).status(), 200);
            let arrived = backend.last();
            assert_eq!(body_of(&arrived), b"hello");
            for (name, value) in [
                ("host", "own.example"),
                ("authorization", "Basic eA=="),
                ("cookie", "a=1"),
                ("x-request-id", "mine"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", "own.example"),
                ("x-forwarded-proto", "http"),
            ] {
                assert_eq!(arrived.head.all(name), [value], "{arrived:?}");
            }
            assert!(
                !arrived.head.has("x-own") && !arrived.head.has("connection"),
                "{arrived:?}"
            );
            assert_eq!(client.get("/clean").text(), "clean");
        }
    }
    the_next_is_clean(&proxy);
}

/// An answer with both framings, or one length said twice, is put right; one with two lengths is invalid.
pub fn row_26_an_answer_has_one_framing(binary: &Path) {
    const ANSWERS: [(&str, &str, u16); 9] = [
        (
            "/cl-te",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            200,
        ),
        (
            "/te-cl",
            "Transfer-Encoding: chunked\r\nContent-Length: 500\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            200,
        ),
        ("/list", "Content-Length: 5, 5\r\n\r\nhello", 200),
        (
            "/twice",
            "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            200,
        ),
        ("/zeros", "Content-Length: 0005\r\n\r\nhello", 200),
        (
            "/differ",
            "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            502,
        ),
        ("/differ-list", "Content-Length: 5, 6\r\n\r\nhello!", 502),
        ("/sign", "Content-Length: +5\r\n\r\nhello", 502),
        (
            "/gzip",
            "Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            502,
        ),
    ];
    let backend = clean_or(|talk| {
        talk.body()?;
        let target = talk.head().target();
        let (_, rest, _) = ANSWERS
            .iter()
            .find(|answer| answer.0 == target)
            .expect("a known path");
        talk.send(format!("HTTP/1.1 200 OK\r\n{rest}"))?;
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    for (path, _, status) in ANSWERS {
        let mut client = Client::connect(proxy.address());
        let answer = client.get(path);
        assert_eq!(answer.status(), status, "{path}: {answer:?}");
        let framings =
            answer.head.all("content-length").len() + answer.head.all("transfer-encoding").len();
        assert_eq!(framings, 1, "{path}: {answer:?}");
        assert!(
            status != 200 || answer.text() == "hello",
            "{path}: {answer:?}"
        );
        assert_eq!(client.get("/clean").text(), "clean", "after {path}");
        the_next_is_clean(&proxy);
    }
}

/// Trailers that frame, route or identify are dropped on both ways; others pass.
pub fn row_27_forbidden_trailers_are_dropped(binary: &Path) {
    const TRAILERS: &str = "X-Checksum: 1\r\nContent-Length: 50\r\nHost: evil\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\
                            Authorization: Basic eA==\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\nSet-Cookie: a=1\r\nTrailer: x\r\n";
    const NAMES: &str = "X-Checksum, Content-Length, Host, Transfer-Encoding, Connection, Authorization, X-Forwarded-For, X_Forwarded_For, Set-Cookie, Trailer";
    let backend = clean_or(|talk| {
        talk.body()?;
        talk.send(format!(
            "HTTP/1.1 200 OK\r\nTrailer: {NAMES}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{TRAILERS}\r\n"
        ))?;
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for _ in 0..2 {
        client.send(format!(
            "POST /t HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\nTrailer: {NAMES}\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n{TRAILERS}\r\n"
        ));
        let answer = client.response("POST");
        assert_eq!(answer.text(), "hello");
        assert_eq!(trailers(&answer.body), ["x-checksum: 1"]);
        let arrived = backend.last();
        assert_eq!(body_of(&arrived), b"hello");
        assert_eq!(
            trailers(arrived.body.as_ref().expect("read")),
            ["x-checksum: 1"]
        );
        for head in [&answer.head, &arrived.head] {
            for name in head.all("trailer") {
                assert_eq!(name.to_lowercase(), "x-checksum", "{head:?}");
            }
        }
        assert_eq!(client.get("/clean").text(), "clean");
        the_next_is_clean(&proxy);
    }
}

/// Bytes a backend sends behind its answer belong to nobody, whether they come with it or later.
pub fn bytes_behind_an_answer_reach_nobody(binary: &Path) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let backend = clean_or(move |talk| {
        const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        talk.body()?;
        if talk.is("/with") {
            talk.send(format!("{OK}{EVIL}"))?;
        } else {
            talk.send(OK)?;
            talk.send(EVIL)?;
        }
        count.fetch_add(1, Ordering::SeqCst);
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    for round in 1..=20 {
        let mut client = Client::connect(proxy.address());
        let path = if round % 2 == 0 { "/with" } else { "/later" };
        assert_eq!(client.get(path).text(), "ok");
        let extra = backend.last().connection;
        eventually("they are sent", || sent.load(Ordering::SeqCst) == round);
        assert_eq!(client.get("/clean").text(), "clean", "{path}");
        let used = backend.last().connection;
        assert_ne!(extra, used, "a connection with unread bytes is used again");
        the_next_is_clean(&proxy);
        client.finish();
        assert_eq!(client.rest(), (Vec::new(), Cut::Fin));
    }
}
