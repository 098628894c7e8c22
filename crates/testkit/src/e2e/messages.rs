//! What a message must look like on the other side: methods, targets, fields, framing, trailers, versions.

use std::path::Path;

use super::setup::{before, servers};
use crate::backend::{Backend, Then};
use crate::client::{Client, exchange, get, get_head};
use crate::wire::{chunk, pattern};

/// Every method but CONNECT and TRACE goes through, also one nobody knows, with and without a body.
pub fn all_methods_are_forwarded(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for method in [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "PURGE", "M-SEARCH",
    ] {
        for body in ["", "four"] {
            client.send(format!(
                "{method} /m HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            let answer = client.response(method);
            assert_eq!(answer.status(), 200, "{method}");
            let arrived = backend.last();
            assert_eq!(arrived.head.method(), method);
            assert_eq!(
                arrived.body.expect("read").bytes,
                body.as_bytes(),
                "{method}"
            );
        }
    }
}

/// Path and query arrive byte for byte.
pub fn path_and_query_go_through_byte_for_byte(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for target in [
        "/",
        "/?",
        "//",
        "/a%2Fb/%2e%2e/../c//d;v=1?q=%20+&&=x&q=%zz",
        "/%",
        "/?a=b?c=d&http://x/",
        "/{a}|\"b\"^~!$&'()*+,;=:@",
        "/caf\u{e9}/\u{65e5}\u{672c}?\u{fc}",
        "/a:80/@x",
    ] {
        assert_eq!(client.get(target).status(), 200, "{target}");
        assert_eq!(backend.last().head.target(), target);
    }
    client.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response("OPTIONS").status(), 200);
    assert_eq!(backend.last().head.target(), "*");

    client.get("/a?b#fragment");
    assert_eq!(
        backend.last().head.target(),
        "/a?b",
        "a fragment stays here"
    );
    // The README names what is refused; clients write it with `%`.
    let arrived = backend.count();
    for target in ["/<", "/>", "/`", "/?<", "/?>", "/?\"", "/\u{1}", "/?\u{7f}"] {
        let answer = exchange(proxy.address(), "GET", get_head(target));
        assert_eq!(answer.status(), 400, "{target}");
    }
    let not_utf8 = b"GET /\xE4 HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = exchange(proxy.address(), "GET", not_utf8);
    assert_eq!(answer.status(), 400);
    assert_eq!(backend.count(), arrived);
}

/// Fields of one name keep their number, order and bytes in both directions; hop-by-hop ones end here.
pub fn duplicate_fields_keep_their_order_both_ways(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        talk.answer(
            200,
            &[
                "Set-Cookie: a=1; Path=/",
                "X-Two: first",
                "Set-Cookie: b=2",
                "X-Two: second, third",
                "Set-Cookie: a=3",
                "Server: their/1.0",
                "Date: Thu, 01 Jan 1970 00:00:00 GMT",
                "Connection: keep-alive, X-Hop",
                "X-Hop: gone",
                "Keep-Alive: timeout=5",
            ],
            "ok",
        )
    });
    let proxy = before(binary, &backend);
    let answer = exchange(
        proxy.address(),
        "GET",
        "GET / HTTP/1.1\r\nHost: site.example:81\r\nX-Two: 1\r\nAccept: a\r\nX-Two: 2,3\r\naccept: b\r\nx-two: \r\n\
         X-Raw: caf\u{e9}\r\nConnection: X-Hop, keep-alive\r\nX-Hop: gone\r\nKeep-Alive: 5\r\nTE: gzip\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
    );
    let seen = backend.only().head;
    assert_eq!(seen.all("x-two"), ["1", "2,3", ""]);
    assert_eq!(seen.all("accept"), ["a", "b"]);
    assert_eq!(seen.all("cookie"), ["a=1", "b=2"]);
    assert_eq!(seen.one("host").as_deref(), Some("site.example:81"));
    assert_eq!(seen.one("x-raw").as_deref(), Some("caf\u{e9}"));
    for gone in [
        "connection",
        "x-hop",
        "keep-alive",
        "te",
        "proxy-connection",
        "proxy-authorization",
    ] {
        assert!(!seen.has(gone), "{gone} in\n{seen:?}");
    }
    assert_eq!(answer.head.all("set-cookie"), ["a=1; Path=/", "b=2", "a=3"]);
    assert_eq!(answer.head.all("x-two"), ["first", "second, third"]);
    assert_eq!(answer.head.all("server"), ["their/1.0"]);
    assert_eq!(answer.head.all("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
    for gone in ["x-hop", "keep-alive"] {
        assert!(!answer.head.has(gone), "{gone} in\n{:?}", answer.head);
    }
}

/// The backend learns who asked, how, for what, and under which id.
pub fn the_backend_is_told_about_the_client(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    get(proxy.address(), "/");
    let seen = backend.last().head;
    assert_eq!(seen.one("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.one("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(
        seen.one("x-forwarded-host").as_deref(),
        Some("site.example")
    );
    let made = seen.one("x-request-id").expect("an id");
    assert_eq!(made.len(), 32, "128 bits in hex: {made}");
    assert!(made.bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
    assert!(!seen.has("via") && !seen.has("forwarded"), "{seen:?}");
    for (sent, kept) in [
        ("mine-1", true),
        (&"x".repeat(128), true),
        (&"x".repeat(129), false),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: {sent}\r\n\r\n");
        exchange(proxy.address(), "GET", request);
        let seen = backend.last().head.one("x-request-id").expect("an id");
        assert_eq!(seen == sent, kept, "{seen}");
    }
}

/// A status line may hold any code; the answer's body follows its rules.
pub fn every_status_goes_through(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        let status = talk.head().target()[1..].parse().unwrap_or(200);
        talk.answer(status, &["Location: /else", "Retry-After: 7"], "text")
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for status in [
        200, 201, 206, 226, 301, 302, 307, 400, 401, 404, 418, 451, 499, 500, 502, 503, 599, 799,
    ] {
        let answer = client.get(&format!("/{status}"));
        assert_eq!((answer.status(), answer.text().as_str()), (status, "text"));
        assert_eq!(answer.head.all("location"), ["/else"]);
        assert_eq!(answer.head.all("retry-after"), ["7"]);
    }
}

/// Answers without a body have none, whatever their fields say, and the connections stay in step on both sides.
pub fn answers_without_a_body_keep_the_connection_in_step(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        match talk.head().target().as_str() {
            "/204" => talk.send("HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n")?,
            "/304" => {
                talk.send("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 77\r\n\r\n")?
            }
            "/304-bare" => talk.send("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n")?,
            "/chunked" => talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?,
            "/empty" => return talk.answer(200, &[], ""),
            _ => return talk.answer(200, &[], "hello"),
        }
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for round in 0..3 {
        for (method, path, status, length) in [
            ("GET", "/204", 204, None),
            ("GET", "/304", 304, None),
            ("GET", "/304-bare", 304, None),
            ("HEAD", "/hello", 200, Some("5")),
            ("HEAD", "/chunked", 200, None),
            ("GET", "/empty", 200, Some("0")),
        ] {
            client.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            let answer = client.response(method);
            assert_eq!(answer.status(), status, "{path}");
            assert!(answer.body.bytes.is_empty());
            if let Some(length) = length {
                assert_eq!(
                    answer.head.one("content-length").as_deref(),
                    Some(length),
                    "{path}"
                );
            }
            if status == 204 {
                assert!(!answer.head.has("content-length"), "{answer:?}");
                assert!(!answer.head.has("transfer-encoding"), "{answer:?}");
            }
            assert_eq!(
                client.get("/hello").text(),
                "hello",
                "round {round}, after {path}"
            );
        }
    }
}

/// Requests share connections on both sides, one after the other.
pub fn connections_are_kept_on_both_sides(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for number in 0..20 {
        client.send(format!(
            "POST /{number} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        ));
        assert_eq!(client.response("POST").status(), 200);
    }
    assert_eq!(backend.count(), 20);
    assert_eq!(backend.connections(), 1, "a sequence needs one connection");
}

/// Requests that come in one piece are answered in their order, bodies and all.
pub fn pipelined_requests_are_answered_in_order(binary: &Path) {
    let backends = ["A", "B", "C"].map(|name| {
        Backend::start(move |talk| {
            let body = talk.body()?;
            let answer = format!(
                "{name}{}{}",
                talk.head().target(),
                String::from_utf8_lossy(&body.bytes)
            );
            talk.answer(200, &[], answer)
        })
    });
    let proxy = servers(&backends).start(binary);
    let mut client = Client::connect(proxy.address());
    let mut all = String::new();
    for number in 0..6 {
        all.push_str(&get_head(&format!("/{number}")));
        all.push_str(&format!(
            "POST /{number} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
        ));
        all.push_str(&format!(
            "POST /{number} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nchu\r\n3\r\nnks\r\n0\r\n\r\n"
        ));
    }
    client.send(&all);
    for number in 0..6 {
        assert_eq!(client.response("GET").text(), format!("A/{number}"));
        assert_eq!(client.response("POST").text(), format!("B/{number}body"));
        assert_eq!(client.response("POST").text(), format!("C/{number}chunks"));
    }
}

/// Kept connections that the backend closes between two requests fail no request that may be repeated, and next
/// to none of the others: what was closed is noticed before it is used, but for the blink of an eye in which the
/// runtime has not yet heard of it.
pub fn a_kept_connection_that_the_backend_closed_costs_no_request(binary: &Path) {
    const ROUNDS: usize = 100;
    let closing = || {
        Backend::start(|talk| {
            talk.body()?;
            talk.answer(200, &[], "ok")?;
            Ok(Then::Close)
        })
    };
    let backends = [closing(), closing()];
    let proxy = servers(&backends).start(binary);
    let mut client = Client::connect(proxy.address());
    let mut lost = 0;
    for method in ["GET", "POST"] {
        for number in 0..ROUNDS {
            client.send(format!(
                "{method} /{number} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            ));
            let status = client.response(method).status();
            assert!(
                status == 200 || (method, status) == ("POST", 502),
                "{method} {number}: {status}"
            );
            lost += usize::from(status != 200);
            crate::wait::eventually("the backends have closed", || {
                backends.iter().all(|backend| backend.open() == 0)
            });
        }
    }
    assert!(lost <= ROUNDS / 10, "{lost} of {ROUNDS} were lost");
    let arrived: usize = backends.iter().map(Backend::count).sum();
    assert_eq!(arrived, 2 * ROUNDS - lost, "each was sent once");
}

/// A backend that gives up each connection just as its second request comes, and never says so, fails a few that may not
/// be repeated; then it is known, and each request gets a connection of its own.
pub fn a_backend_that_closes_under_requests_is_soon_known(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.answer(200, &[], "ok")?;
        let _ = talk.incoming().piece();
        Ok(Then::Close)
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let statuses: Vec<u16> = (0..20)
        .map(|_| client.send(post).response("POST").status())
        .collect();
    assert_eq!(statuses[..2], [200, 502], "{statuses:?}");
    assert_eq!(statuses[10..], [200; 10], "{statuses:?}");
}

/// Trailers reach the other side in both directions, behind bodies that stay whole.
pub fn trailers_go_through_both_ways(binary: &Path) {
    let backend = Backend::start(|talk| {
        let body = talk.body()?;
        talk.send("HTTP/1.1 200 OK\r\nTrailer: X-Checksum, X-Second\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        talk.send(chunk(&body.bytes))?;
        talk.send("0\r\nX-Checksum: response\r\nX-Second: 2\r\n\r\n")?;
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for _ in 0..3 {
        client.send(
            "POST / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Checksum, X-Other\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Checksum: request\r\nX-Other: 1\r\n\r\n",
        );
        let answer = client.response("POST");
        assert_eq!(answer.text(), "hello");
        assert_eq!(
            trailers(&answer.body),
            ["x-checksum: response", "x-second: 2"]
        );
        let arrived = backend.last().body.expect("read");
        assert_eq!(arrived.bytes, b"hello");
        assert_eq!(trailers(&arrived), ["x-checksum: request", "x-other: 1"]);
    }
    assert_eq!(backend.connections(), 1);
}

/// Trailers that no `Trailer` field names are left out both ways; an answer has none, and names none, for a client that did
/// not say that it takes them.
pub fn trailers_that_nobody_named_or_takes_are_left_out(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        let named = if talk.is("/named") {
            "Trailer: X-Named\r\n"
        } else {
            ""
        };
        talk.send(format!(
            "HTTP/1.1 200 OK\r\n{named}Transfer-Encoding: chunked\r\n\r\n"
        ))?;
        talk.send("3\r\nabc\r\n0\r\nX-Named: 1\r\nX-Other: 2\r\n\r\n")?;
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    let takes = "TE: trailers\r\nConnection: TE\r\n";
    for (path, takes, field, arrive) in [
        ("/named", takes, Some("x-named"), &["x-named: 1"][..]),
        ("/named", "", None, &[]),
        ("/unnamed", takes, None, &[]),
    ] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{takes}\r\n"));
        let answer = client.response("GET");
        assert_eq!(answer.text(), "abc");
        assert_eq!(
            answer.head.one("trailer").as_deref(),
            field,
            "{path} {takes}"
        );
        assert_eq!(trailers(&answer.body), arrive, "{path} {takes}");
    }
    client.send(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Named: 1\r\n\r\n",
    );
    assert_eq!(client.response("POST").text(), "abc");
    assert_eq!(trailers(&backend.last().body.expect("read")), [""; 0]);
}

/// The trailer fields of a body, names in lower case.
pub(super) fn trailers(body: &crate::wire::Received) -> Vec<String> {
    let line = |(name, value): &(String, String)| format!("{}: {value}", name.to_lowercase());
    body.trailers.iter().map(line).collect()
}

/// `Expect: 100-continue`: the client gets its 100, then the answer; the backend gets the body and no `Expect`.
pub fn expect_100_continue_brings_the_100_and_then_the_answer(binary: &Path) {
    let backend = Backend::saying("got it");
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        client.send(format!(
            "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"
        ));
        assert_eq!(client.head().status(), 100);
        client.send(if framing.starts_with('C') {
            "hello"
        } else {
            "5\r\nhello\r\n0\r\n\r\n"
        });
        let answer = client.response("PUT");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "got it"));
        assert!(answer.interim.is_empty());
        let arrived = backend.last();
        assert_eq!(arrived.body.expect("read").bytes, b"hello");
        assert!(!arrived.head.has("expect"), "{:?}", arrived.head);
    }
}

/// A client of version 1.0: no chunks, no kept connection unless it asks, and the backend hears 1.1.
pub fn an_http_10_client_gets_what_it_understands(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        if talk.is("/sized") {
            return talk.answer(200, &[], "hello");
        }
        talk.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        )?;
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    for path in ["/sized", "/chunked"] {
        for host in ["Host: x\r\n", ""] {
            let mut client = Client::connect(proxy.address());
            client.send(format!("GET {path} HTTP/1.0\r\n{host}\r\n"));
            let answer = client.response("GET");
            assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
            assert!(!answer.head.has("transfer-encoding"), "{answer:?}");
            assert_eq!(client.rest(), (Vec::new(), crate::wire::Cut::Fin));
        }
    }
    let mut kept = Client::connect(proxy.address());
    for _ in 0..3 {
        kept.send("GET /sized HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n");
        let answer = kept.response("GET");
        assert_eq!(answer.text(), "hello");
        assert!(answer.head.lists("connection", "keep-alive"), "{answer:?}");
    }
    let mut poster = Client::connect(proxy.address());
    poster.send("POST /sized HTTP/1.0\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(poster.response("POST").status(), 200);
    assert_eq!(backend.last().body.expect("read").bytes, b"body");
}

/// A server of version 1.0: its bodies end with its connections, which serve one request each; nothing of it
/// leaks into the client's version or connection.
pub fn an_http_10_server_serves_one_request_per_connection(binary: &Path) {
    let body = pattern(200_000);
    let whole = body.clone();
    let backend = Backend::start(move |talk| {
        talk.body()?;
        if talk.is("/kept") {
            talk.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")?;
            return Ok(Then::Next);
        }
        talk.send("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n")?;
        talk.send(&whole)?;
        Ok(Then::Close)
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for number in 0..4 {
        let answer = client.get("/close");
        assert!(
            answer.head.first_line().starts_with("HTTP/1.1 200"),
            "{answer:?}"
        );
        assert!(answer.body.bytes == body, "request {number}");
        client.send("POST /kept HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        assert_eq!(client.response("POST").text(), "ok");
        assert_eq!(backend.last().body.expect("read").bytes, b"hi");
    }
    assert_eq!(backend.connections(), 8, "none was used twice");
}

/// A backend that closes with its answer does not close the client's connection.
pub fn the_backends_connection_close_stays_on_its_side(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        talk.answer(200, &["Connection: close"], "ok")?;
        Ok(Then::Close)
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for _ in 0..5 {
        let answer = client.get("/");
        assert!(!answer.head.lists("connection", "close"), "{answer:?}");
    }
    assert_eq!(backend.connections(), 5);
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(client.response("GET").head.lists("connection", "close"));
    assert!(client.rest().0.is_empty(), "asked to close, it closes");
    assert!(!backend.last().head.has("connection"));
}

/// Of several interim answers none reaches the client, and the final one is not taken for one.
pub fn early_hints_are_dropped_and_the_answer_arrives(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        for _ in 0..3 {
            talk.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")?;
        }
        talk.answer(200, &[], "final")
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for _ in 0..3 {
        let answer = client.get("/");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "final"));
        assert!(
            answer.interim.is_empty() && !answer.head.has("link"),
            "{answer:?}"
        );
    }
}

/// A server that closes without a word: a GET goes elsewhere, a POST does not, because it may have been done.
pub fn only_what_may_be_repeated_is_sent_again(binary: &Path) {
    let dead = Backend::start(|talk| {
        talk.body()?;
        Ok(Then::Close)
    });
    let well = Backend::saying("ok");
    let proxy = servers([&dead, &well]).start(binary);
    for (method, status) in [
        ("GET", 200),
        ("PUT", 200),
        ("DELETE", 200),
        ("POST", 502),
        ("PATCH", 502),
    ] {
        let (before_dead, before_well) = (dead.count(), well.count());
        let mut last = 0;
        // The turn decides who is asked first: ask until the dead one was.
        while dead.count() == before_dead {
            let request = format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
            last = exchange(proxy.address(), method, request).status();
        }
        assert_eq!(last, status, "{method}");
        assert_eq!(dead.count(), before_dead + 1, "{method}");
        assert!(status == 502 || well.count() > before_well, "{method}");
    }
    for arrived in well.arrived() {
        assert_eq!(arrived.body.expect("read").bytes, b"abc");
    }
}
