//! Bodies flow as they come, slow readers slow their senders, and what breaks off looks broken.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::setup::{AT_ONCE, before, servers};
use crate::backend::{Backend, Then};
use crate::client::{Client, exchange, get, get_head};
use crate::wait::{Gate, Watch, eventually};
use crate::wire::{Cut, chunk, pattern};

/// The first part of an answer arrives while the backend still holds back the second.
pub fn an_answer_streams_while_it_is_made(binary: &Path) {
    for chunked in [false, true] {
        let gate = Arc::new(Gate::new());
        let held = gate.clone();
        let backend = Backend::start(move |talk| {
            talk.body()?;
            if chunked {
                talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
                held.pass();
                talk.send("6\r\nsecond\r\n0\r\n\r\n")?;
            } else {
                talk.send("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst")?;
                held.pass();
                talk.send("second")?;
            }
            Ok(Then::Next)
        });
        let proxy = before(binary, &backend);
        let mut client = Client::connect(proxy.address());
        client.send(get_head("/"));
        let head = client.head();
        assert_eq!(head.has("transfer-encoding"), chunked);
        if chunked {
            assert_eq!(client.incoming().chunk_size(), Ok(5));
        }
        assert_eq!(client.incoming().exactly(5), Ok(b"first".to_vec()));
        gate.open();
        if chunked {
            assert_eq!(client.incoming().exactly(2), Ok(b"\r\n".to_vec()));
            assert_eq!(client.incoming().chunk_size(), Ok(6));
        }
        assert_eq!(client.incoming().exactly(6), Ok(b"second".to_vec()));
    }
}

/// The first part of a request arrives while the client still holds back the second.
pub fn a_request_streams_while_it_is_sent(binary: &Path) {
    for chunked in [false, true] {
        let first = Arc::new(Gate::new());
        let arrived = first.clone();
        let backend = Backend::start(move |talk| {
            let expected: &[u8] = if chunked { b"5\r\nfirst\r\n" } else { b"first" };
            if talk.incoming().exactly(expected.len())? == expected {
                arrived.open();
            }
            let rest: &[u8] = if chunked {
                b"6\r\nsecond\r\n0\r\n\r\n"
            } else {
                b"second"
            };
            let whole = talk.incoming().exactly(rest.len())? == rest;
            talk.answer(if whole { 200 } else { 500 }, &[], "done")
        });
        let proxy = before(binary, &backend);
        let mut client = Client::connect(proxy.address());
        if chunked {
            client.send(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
            );
            first.pass();
            client.send("6\r\nsecond\r\n0\r\n\r\n");
        } else {
            client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nfirst");
            first.pass();
            client.send("second");
        }
        assert_eq!(client.response("POST").status(), 200);
    }
}

/// Both directions at once: the answer comes back while the request is still being sent.
pub fn an_answer_may_start_before_the_request_has_ended(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            let size = talk.incoming().chunk_size()?;
            let piece = talk
                .incoming()
                .exactly(usize::try_from(size).unwrap_or(0))?;
            talk.incoming().exactly(2)?;
            if piece.is_empty() {
                talk.send("0\r\n\r\n")?;
                return Ok(Then::Next);
            }
            talk.send(chunk(&piece))?;
        }
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    for number in 0..10 {
        let text = format!("piece {number}");
        client.send(chunk(&text));
        assert_eq!(client.incoming().chunk_size(), Ok(text.len() as u64));
        assert_eq!(
            client.incoming().exactly(text.len() + 2),
            Ok(format!("{text}\r\n").into_bytes())
        );
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.incoming().exactly(5), Ok(b"0\r\n\r\n".to_vec()));
}

/// Large bodies arrive whole, both ways, under both framings.
pub fn large_bodies_arrive_whole(binary: &Path) {
    let body = pattern(8_000_000);
    let backend = Backend::start(|talk| {
        let body = talk.body()?.bytes;
        if talk.is("/sized") {
            return talk.answer(200, &[], body);
        }
        talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for piece in body.chunks(77_777) {
            talk.send(chunk(piece))?;
        }
        talk.send("0\r\n\r\n")?;
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    client.send(format!(
        "POST /chunked HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    assert!(client.send(&body).response("POST").body.bytes == body);
    client.send("POST /sized HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(33_333) {
        client.send(chunk(piece));
    }
    assert!(client.send("0\r\n\r\n").response("POST").body.bytes == body);
}

/// More than all kernel buffers on the way can hold, less than a balancer that buffers would take.
const BOUND: usize = 64_000_000;

/// A client that does not read stops the backend from writing.
pub fn a_slow_reader_slows_the_backend(binary: &Path) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let backend = Backend::start(move |talk| {
        talk.body()?;
        if talk.is("/small") {
            return talk.answer(200, &[], "ok");
        }
        talk.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            3 * BOUND
        ))?;
        let piece = pattern(100_000);
        for _ in 0..3 * BOUND / piece.len() {
            talk.send(&piece)?;
            count.fetch_add(piece.len(), Ordering::SeqCst);
        }
        Ok(Then::Next)
    });
    let proxy = before(binary, &backend);
    let mut client = Client::with_buffers(proxy.address(), 16 * 1024);
    client.send(get_head("/large"));
    assert_eq!(client.head().status(), 200);
    stands_still(&sent);
    assert!(
        sent.load(Ordering::SeqCst) < BOUND,
        "{sent:?} bytes were taken"
    );
    assert_eq!(
        get(proxy.address(), "/small").text(),
        "ok",
        "nobody else suffers"
    );
    let so_far = sent.load(Ordering::SeqCst);
    let mut got = 0;
    while got < BOUND {
        got += client.incoming().piece().expect("it flows again").len();
    }
    assert!(sent.load(Ordering::SeqCst) > so_far);
}

/// Waits until a count no longer grows.
fn stands_still(count: &AtomicUsize) {
    let mut seen = (usize::MAX, 0);
    eventually("the flow stands still", || {
        let now = count.load(Ordering::SeqCst);
        seen = if now == seen.0 {
            (now, seen.1 + 1)
        } else {
            (now, 0)
        };
        std::thread::sleep(Duration::from_millis(20));
        now > 0 && seen.1 >= 25
    });
}

/// A backend that does not read stops the client from writing.
pub fn a_slow_backend_slows_the_sender(binary: &Path) {
    let gate = Arc::new(Gate::new());
    let held = gate.clone();
    let backend = Backend::with_buffers(16 * 1024, move |talk| {
        if talk.is("/small") {
            return talk.answer(200, &[], "ok");
        }
        held.pass();
        let body = talk.body()?;
        talk.answer(200, &[], body.bytes.len().to_string())
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    client.send(format!(
        "POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: {BOUND}\r\n\r\n"
    ));
    client.write_patience(Duration::from_secs(1));
    let body = pattern(BOUND);
    let mut sent = 0;
    while sent < BOUND {
        match client.try_send_some(&body[sent..(sent + 100_000).min(BOUND)]) {
            Ok(taken) => sent += taken,
            Err(cut) => {
                assert_eq!(cut, Cut::Silent);
                break;
            }
        }
    }
    assert!(sent < BOUND, "{sent} bytes were taken");
    assert_eq!(
        get(proxy.address(), "/small").text(),
        "ok",
        "nobody else suffers"
    );
    gate.open();
    client.write_patience(4 * AT_ONCE);
    client.send(&body[sent..]);
    assert_eq!(client.response("POST").text(), BOUND.to_string());
}

/// A client that goes away takes its request with it: before the head, within the answer, within its own body.
pub fn a_client_that_goes_away_cancels_its_request(binary: &Path) {
    let ends: Arc<Watch<Vec<String>>> = Arc::default();
    let seen = ends.clone();
    let backend = Backend::start(move |talk| {
        let path = talk.head().target();
        match path.as_str() {
            "/next" => return talk.answer(200, &[], "ok"),
            "/within" => talk.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")?,
            _ => {}
        }
        assert_ne!(talk.end(), Cut::Garbled);
        seen.change(|ends| ends.push(path));
        Ok(Then::Close)
    });
    let proxy = before(binary, &backend);
    for (path, reset) in [
        ("/waiting", false),
        ("/within", false),
        ("/waiting", true),
        ("/within", true),
    ] {
        let mut client = Client::connect(proxy.address());
        let count = backend.count();
        client.send(get_head(path));
        if path == "/within" {
            client.head();
        } else {
            backend.wait_for_count(count + 1);
        }
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        let ended = ends.wait_for(4 * AT_ONCE, |ends| {
            ends.iter().any(|end| end == path).then_some(())
        });
        assert!(ended.is_some(), "{path}: the backend is not told");
        ends.change(Vec::clear);
        assert_eq!(get(proxy.address(), "/next").text(), "ok");
    }
    let mut client = Client::connect(proxy.address());
    client.send("POST /sending HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nsome");
    backend.wait_for(|arrived| arrived.head.target() == "/sending");
    drop(client);
    let ended = ends.wait_for(4 * AT_ONCE, |ends| (!ends.is_empty()).then_some(()));
    assert!(ended.is_some(), "the backend is not told");
}

/// An answer that breaks off never looks complete, whatever its framing, to no version of client.
pub fn a_cut_answer_never_looks_complete(binary: &Path) {
    const CASES: [(&str, &str); 6] = [
        (
            "/sized",
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome of it",
        ),
        (
            "/chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nsome of it\r\n",
        ),
        (
            "/in-chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nsome of it",
        ),
        (
            "/no-last",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nsome of it\r\n0\r\n",
        ),
        (
            "/bad",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nsome of it\r\nzz\r\n",
        ),
        ("/old", "HTTP/1.0 200 OK\r\n\r\nsome of it"),
    ];
    let backend = Backend::start(|talk| {
        talk.body()?;
        let target = talk.head().target();
        let (path, how) = target.split_once('?').unwrap_or((&target, ""));
        let Some((_, answer)) = CASES.iter().find(|case| case.0 == path) else {
            return talk.answer(200, &[], "whole");
        };
        talk.send(answer)?;
        if how == "reset" {
            // A reset overtakes what was sent; the head has to be there first.
            std::thread::sleep(Duration::from_millis(50));
            return Ok(Then::Reset);
        }
        Ok(Then::Close)
    });
    let proxy = before(binary, &backend);
    for (path, _) in CASES {
        for how in ["close", "reset"] {
            if path == "/old" && how == "close" {
                continue; // That is how such a body ends.
            }
            for version in ["1.1", "1.0"] {
                let mut client = Client::connect(proxy.address());
                client.send(format!(
                    "GET {path}?{how} HTTP/{version}\r\nHost: x\r\n\r\n"
                ));
                match client.answer("GET") {
                    Ok(answer) if answer.status() == 200 => {
                        assert!(
                            answer.body.cut.is_some(),
                            "{path} {how} {version}: {answer:?}"
                        );
                        if !answer.head.has("content-length") && version == "1.0" {
                            assert_eq!(answer.body.cut, Some(Cut::Reset), "{path} {how}");
                        }
                    }
                    Ok(answer) => assert_eq!(answer.status(), 502, "{path} {how} {version}"),
                    Err(cut) => assert_ne!(cut, Cut::Silent, "{path} {how} {version}"),
                }
                assert_eq!(get(proxy.address(), "/next").text(), "whole");
            }
        }
    }
}

/// A request body that breaks off never reaches the backend as a whole one, and its connection is not used again.
pub fn a_cut_request_never_looks_complete(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    for (framing, rest) in [
        ("Content-Length: 100\r\n\r\nsome of it", ""),
        ("Transfer-Encoding: chunked\r\n\r\na\r\nsome of it\r\n", ""),
        (
            "Transfer-Encoding: chunked\r\n\r\na\r\nsome of it\r\n",
            "64\r\nmore",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\na\r\nsome of it\r\n",
            "zz\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\na\r\nsome of it\r\n",
            "0\r\n",
        ),
    ] {
        let mut client = Client::connect(proxy.address());
        let before = backend.count();
        client.send(format!("POST /cut HTTP/1.1\r\nHost: x\r\n{framing}"));
        backend.wait_for_count(before + 1);
        client.send(rest);
        drop(client);
        let cut = || {
            backend.arrived()[before]
                .body
                .as_ref()
                .and_then(|body| body.cut)
        };
        eventually("the backend is told", || cut().is_some());
        assert_eq!(
            exchange(proxy.address(), "GET", get_head("/next")).text(),
            "ok"
        );
        let arrived = backend.arrived();
        assert_ne!(
            arrived[before].connection,
            backend.last().connection,
            "{framing:?} {rest:?}"
        );
    }
}

/// Silent backends and clients are not waited for longer than configured, and the status says who it was.
pub fn timeouts_answer_with_who_was_silent(binary: &Path) {
    let backend = Backend::start(|talk| {
        if talk.is("/stall") {
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")?;
        }
        let _ = talk.end();
        Ok(Then::Close)
    });
    let proxy = servers([&backend])
        .pool_limits("first-byte = \"300ms\"\nbody-idle = \"300ms\"")
        .limits("body-idle = \"300ms\"")
        .start(binary);
    let answer = get(proxy.address(), "/silent");
    assert_eq!(answer.status(), 504, "{answer:?}");
    assert!(
        answer
            .head
            .one("proxy-status")
            .is_some_and(|why| why.contains("http_response_timeout"))
    );

    let mut client = Client::connect(proxy.address());
    client.send(get_head("/stall"));
    let answer = client.answer("GET").expect("a head");
    assert!(
        matches!(answer.body.cut, Some(Cut::Fin | Cut::Reset)),
        "{answer:?}"
    );

    let mut client = Client::connect(proxy.address());
    client.send("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
    let answer = client.response("POST");
    assert_eq!(answer.status(), 408, "{answer:?}");
}

/// `body-bytes` bounds a request body, declared or not.
pub fn a_body_above_the_limit_gets_413(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = servers([&backend])
        .limits("body-bytes = \"1KiB\"")
        .start(binary);
    let within = format!(
        "POST /within HTTP/1.1\r\nHost: x\r\nContent-Length: 1024\r\n\r\n{}",
        "x".repeat(1024)
    );
    assert_eq!(exchange(proxy.address(), "POST", within).status(), 200);
    let declared = "POST /declared HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n";
    assert_eq!(exchange(proxy.address(), "POST", declared).status(), 413);
    let mut client = Client::connect(proxy.address());
    client.send("POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        client.send(chunk([b'x'; 600]));
    }
    assert_eq!(client.send("0\r\n\r\n").response("POST").status(), 413);
    for arrived in backend.arrived() {
        let whole = arrived.body.is_some_and(|body| body.cut.is_none());
        assert_eq!(whole, arrived.head.target() == "/within");
    }
}

/// A local answer does not wait for the rest of a body. It arrives whole all the same, also at a client that sends first
/// and reads later, and the connection says that it ends.
pub fn an_answer_that_did_not_wait_for_the_body_arrives_whole(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = servers([&backend])
        .limits("body-bytes = \"1KiB\"")
        .start(binary);
    for _ in 0..20 {
        let mut client = Client::connect(proxy.address());
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
        for _ in 0..30 {
            client.send([b'x'; 100_000]);
        }
        let answer = client.response("POST");
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.head.all("connection"), ["close"]);
        client.finish();
        assert_eq!(client.rest(), (Vec::new(), Cut::Fin));
    }
    assert_eq!(backend.count(), 0);
}
