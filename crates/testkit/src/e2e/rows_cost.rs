//! The rows of the hostile-traffic table about what one peer may cost, and the one about bodies cut in silence.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::setup::{AT_ONCE, before, servers};
use crate::backend::{Backend, Then};
use crate::client::{Client, exchange, get, get_head};
use crate::wire::{Cut, pattern};

/// Sends `bytes` one by one, one every 20 ms, until the peer closes; how long that took.
fn drip(client: &mut Client, bytes: impl Iterator<Item = u8>) -> Duration {
    let start = Instant::now();
    client.patience(Duration::from_millis(20));
    for byte in bytes {
        if client.try_send([byte]).is_err() {
            break;
        }
        match client.incoming().piece() {
            Err(Cut::Silent) | Ok(_) => {}
            Err(_) => return start.elapsed(),
        }
    }
    start.elapsed()
}

/// One deadline spans a request head from its start, however it drips; no byte and no state moves it.
pub fn row_49_a_dripping_head_is_cut_at_its_deadline(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = servers([&backend])
        .limits("head-timeout = \"400ms\"")
        .start(binary);
    let endless = || {
        get_head("/")
            .into_bytes()
            .into_iter()
            .take(20)
            .chain(std::iter::repeat(b'x'))
            .take(1000)
    };
    std::thread::scope(|scope| {
        let fresh = scope.spawn(|| drip(&mut Client::connect(proxy.address()), endless()));
        let fields = scope.spawn(|| {
            let mut client = Client::connect(proxy.address());
            client.send("GET / HTTP/1.1\r\nHost: x\r\n");
            drip(&mut client, b"X: y\r\n".iter().copied().cycle().take(1000))
        });
        let kept = scope.spawn(|| {
            let mut client = Client::connect(proxy.address());
            client.get("/");
            drip(&mut client, endless())
        });
        let silent = scope.spawn(|| {
            let start = Instant::now();
            let (rest, cut) = Client::connect(proxy.address()).rest();
            assert_ne!(cut, Cut::Silent);
            assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"));
            start.elapsed()
        });
        for (what, taken) in [
            ("fresh", fresh),
            ("fields", fields),
            ("kept", kept),
            ("silent", silent),
        ] {
            let taken = taken.join().expect("no panic");
            assert!(
                taken > Duration::from_millis(300),
                "{what}: cut after {taken:?}"
            );
            assert!(taken < AT_ONCE, "{what}: cut after {taken:?}");
        }
        assert_eq!(get(proxy.address(), "/").text(), "ok");
    });
    // A connection that is merely idle between requests is held to another, longer time.
    let mut idle = Client::connect(proxy.address());
    idle.get("/");
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(idle.get("/").status(), 200);
    assert_eq!(
        backend
            .arrived()
            .iter()
            .filter(|arrived| arrived.head.target() != "/")
            .count(),
        0
    );
}

/// A head is bounded in fields and bytes, however large the pieces it arrives in.
pub fn row_50_a_large_head_is_refused(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    let fields = |count: usize| {
        (0..count)
            .map(|n| format!("X-{n}: y\r\n"))
            .collect::<String>()
    };
    let cookies = |count: usize| format!("Cookie: {}=1\r\n", "c".repeat(60)).repeat(count);
    for (what, fields) in [
        ("101 fields", fields(101)),
        ("5000 fields", fields(5000)),
        ("a value of 20 kB", format!("X: {}\r\n", "y".repeat(20_000))),
        (
            "a value of 500 kB",
            format!("X: {}\r\n", "y".repeat(500_000)),
        ),
        ("a name of 20 kB", format!("{}: y\r\n", "X".repeat(20_000))),
        ("cookies", cookies(400)),
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        match client.answer("GET") {
            Ok(answer) => assert!([400, 431].contains(&answer.status()), "{what}: {answer:?}"),
            // It closes with our bytes unread: the reset may overtake the answer.
            Err(cut) => assert_eq!(cut, Cut::Reset, "{what}"),
        }
        assert_eq!(backend.count(), 0, "{what} was forwarded");
    }
    let mut client = Client::connect(proxy.address());
    client.send(format!(
        "GET /{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "p".repeat(20_000)
    ));
    match client.answer("GET") {
        Ok(answer) => assert!([400, 414, 431].contains(&answer.status()), "{answer:?}"),
        Err(cut) => assert_eq!(cut, Cut::Reset),
    }
    assert_eq!(backend.count(), 0);
    let within = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}X: {}\r\n\r\n",
        fields(90),
        "y".repeat(10_000)
    );
    assert_eq!(
        exchange(proxy.address(), "GET", within).status(),
        200,
        "what is allowed passes"
    );
    assert_eq!(backend.last().head.all("x-89"), ["y"]);
}

/// Nothing is unpacked, and a body that waits is not held in memory.
pub fn row_51_nothing_is_unpacked_and_little_is_held(binary: &Path) {
    // The start of a gzip stream, and then rubbish: whoever unpacks it fails.
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    packed.extend(pattern(100_000));
    let returned = packed.clone();
    let backend = Backend::start(move |talk| {
        if talk.is("/held") {
            // Reads nothing until its peer gives up.
            let _ = talk.incoming().exactly(1);
            std::thread::sleep(Duration::from_secs(2));
            return Ok(Then::Close);
        }
        talk.body()?;
        talk.answer(200, &["Content-Encoding: gzip"], &returned)
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    client.send(format!(
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nAccept-Encoding: gzip, zstd\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    ));
    let answer = client.send(&packed).response("PUT");
    assert!(answer.body.bytes == packed, "the answer is as it was");
    assert_eq!(answer.head.all("content-encoding"), ["gzip"]);
    let arrived = backend.last();
    assert_eq!(arrived.head.all("accept-encoding"), ["gzip, zstd"]);
    assert!(
        arrived.body.is_some_and(|body| body.bytes == packed),
        "the request is as it was"
    );

    // Sixteen uploads that nobody reads, each may be repeated: the memory that holds them is bounded.
    let before = resident(&proxy);
    let body = pattern(1_000_000);
    let held = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = Client::connect(proxy.address());
                client.write_patience(Duration::from_millis(500));
                client.send("PUT /held HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n");
                while let Ok(taken) = client.try_send_some(&body) {
                    held.fetch_add(taken, Ordering::Relaxed);
                    if held.load(Ordering::Relaxed) > 16 * 40_000_000 {
                        break;
                    }
                }
            });
        }
    });
    let grown = resident(&proxy).saturating_sub(before);
    assert!(
        grown < 32_000_000,
        "{grown} bytes more for {held:?} bytes sent"
    );
}

/// The resident memory of the balancer, in bytes; 0 where `/proc` does not tell.
fn resident(proxy: &crate::process::Proxy) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// A backend that sends interim answers without end, fast or slow, is given up on.
pub fn row_53_endless_interim_answers_end_the_attempt(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        let slow = talk.is("/slow");
        if talk.is("/fine") {
            return talk.answer(200, &[], "ok");
        }
        loop {
            talk.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")?;
            if slow {
                std::thread::sleep(Duration::from_millis(60));
            }
        }
    });
    let proxy = servers([&backend])
        .pool_limits("first-byte = \"400ms\"")
        .start(binary);
    for path in ["/flood", "/slow"] {
        let start = Instant::now();
        let answer = get(proxy.address(), path);
        assert!([502, 504].contains(&answer.status()), "{path}: {answer:?}");
        assert!(answer.interim.is_empty(), "{path}: {answer:?}");
        assert!(
            start.elapsed() < AT_ONCE,
            "{path} took {:?}",
            start.elapsed()
        );
        let connection = backend.last().connection;
        assert_eq!(get(proxy.address(), "/fine").text(), "ok");
        assert_ne!(backend.last().connection, connection);
    }
}

/// A slow reader, small socket buffers, 3 MB and `Connection: close`: every byte arrives, a few hundred times.
pub fn row_62_a_slow_reader_gets_every_byte(binary: &Path) {
    const ROUNDS: usize = 300;
    let body = Arc::new(pattern(3_000_000));
    let sent = body.clone();
    // Below a few times the loopback's segment of 64 KiB, delayed acknowledgements would make this a test of patience.
    let backend = Backend::with_buffers(256 * 1024, move |talk| {
        talk.body()?;
        talk.answer(200, &["Connection: close"], &*sent)?;
        Ok(Then::Close)
    });
    let proxy = before(binary, &backend);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::SeqCst) < ROUNDS && !failed.load(Ordering::SeqCst)
                {
                    let got = read_slowly(proxy.address());
                    if got != *body {
                        failed.store(true, Ordering::SeqCst);
                        panic!("{} of {} bytes, or others", got.len(), body.len());
                    }
                }
            });
        }
    });
}

fn read_slowly(to: std::net::SocketAddr) -> Vec<u8> {
    let mut client = Client::with_buffers(to, 32 * 1024);
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let head = client.head();
    assert_eq!(head.status(), 200);
    let mut got = Vec::with_capacity(3_000_000);
    let mut pauses = 0;
    loop {
        match client.incoming().piece() {
            Ok(piece) => got.extend(piece),
            Err(cut) => {
                assert_eq!(cut, Cut::Fin);
                return got;
            }
        }
        // Slow enough to fill every buffer on the way a few times, not slower.
        if got.len() / 600_000 > pauses {
            pauses += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
