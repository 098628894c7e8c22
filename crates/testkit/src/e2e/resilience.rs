//! Hedging, the total, and limits that say their names.

use std::path::Path;
use std::time::Duration;

use super::setup::{AT_ONCE, servers};
use crate::backend::{Backend, Then};
use crate::client::{Client, exchange, get, get_head};
use crate::wait::{PATIENCE, eventually};
use crate::wire::{Cut, pattern};

/// A GET that waits at one server is sent to the next one as well; a POST waits.
pub fn a_get_that_waits_is_hedged_and_the_first_answer_wins(binary: &Path) {
    let slow = Backend::start(|talk| {
        if talk.head().method() == "POST" {
            talk.body()?;
            std::thread::sleep(Duration::from_millis(300));
            return talk.answer(200, &[], "A");
        }
        // It never answers, and sees that its connection is closed.
        let _ = talk.end();
        Ok(Then::Close)
    });
    let fast = Backend::saying("B");
    let proxy = servers([&slow, &fast])
        .pool_limits("hedge = \"50ms\"")
        .access("all")
        .start(binary);
    let answer = get(proxy.address(), "/get");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "B"));
    eventually("the loser's connection is closed", || slow.open() == 0);
    assert_eq!((slow.count(), fast.count()), (1, 1));
    let line = proxy.wait_for_event("request", |line| line["path"] == "/get");
    assert_eq!(
        (&line["attempts"], &line["hedge"]),
        (&2.into(), &"won".into()),
        "{line}"
    );
    assert_eq!(line["member"], *fast.address().to_string(), "{line}");

    let post = "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(exchange(proxy.address(), "POST", post).text(), "A");
    let line = proxy.wait_for_event("request", |line| line["path"] == "/post");
    assert!(line["attempts"] == 1 && line["hedge"].is_null(), "{line}");
}

/// `total` ends an answer that drips, one that stands still, and one that its client does not read.
pub fn the_total_ends_an_answer_whatever_it_does(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        match talk.head().target().as_str() {
            "/drip" => loop {
                talk.send("x")?;
                std::thread::sleep(Duration::from_millis(50));
            },
            "/still" => {
                talk.send("x")?;
                let _ = talk.end();
                Ok(Then::Close)
            }
            _ => loop {
                talk.send(pattern(100_000))?;
            },
        }
    });
    let proxy = servers([&backend])
        .pool_limits("total = \"1s\"")
        .access("errors")
        .start(binary);
    let ends = |path: &str| {
        let line = proxy.wait_for_event("request", |line| line["path"] == path);
        assert_eq!(line["cause"], "answer-deadline", "{line}");
        let took = line["duration"].as_f64().expect("seconds");
        assert!((1.0..AT_ONCE.as_secs_f64()).contains(&took), "{line}");
    };
    for path in ["/drip", "/still"] {
        let mut client = Client::connect(proxy.address());
        let answer = client.send(get_head(path)).answer("GET").expect("a head");
        assert!(
            matches!(answer.body.cut, Some(Cut::Fin | Cut::Reset)),
            "{path}: {:?}",
            answer.body.cut
        );
        ends(path);
    }
    let mut client = Client::with_buffers(proxy.address(), 16 * 1024);
    client.send(get_head("/unread"));
    assert_eq!(client.head().status(), 200);
    ends("/unread");
    eventually("the server is let go", || backend.open() == 0);
}

/// Each limit answers 503 at once, with its name in the text and in the log.
pub fn each_limit_that_is_hit_says_its_name(binary: &Path) {
    let hold = || {
        Backend::start(|talk| {
            if talk.is("/hold") {
                let _ = talk.end();
                return Ok(Then::Close);
            }
            talk.answer(200, &[], "ok")
        })
    };
    let full = "in-flight-per-server = 1\n";
    let table = [
        (
            format!("{full}queue = \"off\""),
            "in-flight-limit",
            "(in-flight-per-server)",
        ),
        (
            format!("{full}queue = {{ size = 1, timeout = \"60s\" }}"),
            "queue-full",
            "(queue.size)",
        ),
        (
            format!("{full}queue = {{ size = 9, timeout = \"300ms\" }}"),
            "queue-timeout",
            "(queue.timeout)",
        ),
    ];
    for (limits, cause, name) in table {
        let backend = hold();
        let proxy = servers([&backend])
            .pool_limits(&limits)
            .access("errors")
            .start(binary);
        let mut holds = Client::connect(proxy.address());
        holds.send(get_head("/hold"));
        backend.wait_for_count(1);
        let asks = if cause == "queue-full" { 2 } else { 1 };
        let mut asking: Vec<Client> = (0..asks)
            .map(|_| Client::connect(proxy.address()))
            .collect();
        for client in &mut asking {
            client.patience(Duration::from_millis(20));
            client.send(get_head("/refused"));
        }
        // Which of two comes first to the place in the queue is not ours to say.
        let mut refused = None;
        eventually(cause, || {
            refused = asking.iter_mut().enumerate().find_map(|(index, client)| {
                let answer = client.answer("GET").ok()?;
                Some((index, answer))
            });
            refused.is_some()
        });
        let (index, answer) = refused.expect("an answer");
        asking.remove(index);
        assert_eq!(answer.status(), 503, "{cause}");
        assert!(
            answer.text().trim_end().ends_with(name),
            "{}",
            answer.text()
        );
        assert_eq!(answer.head.all("retry-after"), ["1"]);
        proxy.wait_for_event("request", |line| line["cause"] == cause);
        drop(holds);
        for mut client in asking {
            client.patience(PATIENCE);
            assert_eq!(client.response("GET").text(), "ok");
        }
    }
}

/// One connection too many is told so with its first request, and closed; when another one has ended it is welcome.
pub fn a_connection_above_the_limit_is_told_so_at_once(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = servers([&backend])
        .limits("connections = 1")
        .access("errors")
        .start(binary);
    let mut first = Client::connect(proxy.address());
    assert_eq!(first.get("/").text(), "ok");
    for _ in 0..3 {
        let mut more = Client::connect(proxy.address());
        let answer = more.get("/more");
        assert_eq!(answer.status(), 503);
        assert!(answer.text().ends_with("(limits.connections)\n"));
        assert_eq!(answer.head.all("connection"), ["close"]);
        assert_eq!(more.rest(), (Vec::new(), Cut::Fin));
    }
    let line = proxy.wait_for_event("request", |line| line["cause"] == "connection-limit");
    assert_eq!(
        (&line["status"], &line["attempts"]),
        (&503.into(), &0.into()),
        "{line}"
    );
    assert_eq!(first.get("/").text(), "ok", "nobody else suffers");
    assert_eq!(backend.count(), 2);

    // One that asks for nothing does not keep others from being told.
    let mut silent = Client::connect(proxy.address());
    assert_ne!(silent.rest().1, Cut::Silent);
    drop(first);
    eventually("the place is free", || {
        get(proxy.address(), "/").status() == 200
    });
}
