//! Who gets a request where more than the turn decides: cookies, keys, backups, probes that read, and nobody left.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::setup::servers;
use crate::backend::{Backend, Then};
use crate::client::{Response, exchange, get};
use crate::process::Proxy;
use crate::wait::eventually;

const QUICKLY: &str = r#"interval = "100ms", interval-down = "50ms", rise = 1, fall = 1"#;

fn three() -> [Backend; 3] {
    ["A", "B", "C"].map(Backend::saying)
}

/// The answer to a GET with these fields.
fn ask(proxy: &Proxy, fields: &str) -> Response {
    let request = format!("GET / HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n");
    exchange(proxy.address(), "GET", request)
}

/// The servers that answer so many requests.
fn turn(proxy: &Proxy, requests: usize) -> String {
    let texts = (0..requests).map(|_| get(proxy.address(), "/").text());
    texts.collect()
}

/// A client stays at its server, also when the balancer starts anew with its servers in another order, and moves when that
/// server is gone. What it is given is a hash.
pub fn a_cookie_keeps_a_client_at_its_server_across_restarts_and_orders(binary: &Path) {
    let backends = three();
    let [a, b, c] = &backends;
    let sticky = "sticky = { cookie = \"lb\", key = \"known to no client\" }";
    let start = |order: [&Backend; 3]| servers(order).pool(sticky).start(binary);
    let mut proxy = start([a, b, c]);
    let jars = [0; 3].map(|_| {
        let answer = ask(&proxy, "");
        let cookie = answer.head.one("set-cookie").expect("a cookie");
        let value = cookie.split(';').next().expect("a pair").to_owned();
        let token = value.strip_prefix("lb=").expect("our name");
        let opaque = token.len() == 16 && token.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(opaque, "{value}");
        (format!("Cookie: other=1; {value}\r\n"), answer.text())
    });
    for order in [[a, b, c], [c, a, b], [b, c, a]] {
        for (cookie, server) in jars.iter().rev().chain(&jars) {
            let answer = ask(&proxy, cookie);
            assert_eq!(answer.text(), *server);
            assert!(!answer.head.has("set-cookie"), "{answer:?}");
        }
        proxy = start(order);
    }
    a.stop();
    let (cookie, _) = jars
        .iter()
        .find(|(_, server)| server == "A")
        .expect("one each");
    let moved = ask(&proxy, cookie);
    assert_eq!(moved.status(), 200);
    let cookie = moved.head.one("set-cookie").expect("another cookie");
    let value = cookie.split(';').next().expect("a pair");
    for _ in 0..3 {
        let again = ask(&proxy, &format!("Cookie: {value}\r\n"));
        assert_eq!(again.text(), moved.text());
    }
}

/// A key has one server, in any order of the servers; when a server is gone only its keys move, and they come back.
pub fn a_key_keeps_its_server_in_any_order_and_whoever_else_leaves(binary: &Path) {
    for ring in ["rendezvous", "ketama"] {
        let backends = three();
        let [a, b, c] = &backends;
        let hash =
            format!("balance = {{ by = \"hash\", key = \"header:x-user\", ring = \"{ring}\" }}");
        let start = |order: [&Backend; 3]| servers(order).pool(&hash).start(binary);
        let owners = |proxy: &Proxy| -> Vec<String> {
            let owner = |user: usize| ask(proxy, &format!("X-User: u{user}\r\n")).text();
            (0..16).map(owner).collect()
        };
        let proxy = start([a, b, c]);
        let before = owners(&proxy);
        assert_eq!(owners(&proxy), before, "{ring}");
        assert_eq!(owners(&start([c, a, b])), before, "{ring}");
        let first = &before[0];
        let gone = ["A", "B", "C"].iter().position(|name| name == first);
        let gone = &backends[gone.expect("one of them")];
        gone.stop();
        for (before, after) in before.iter().zip(owners(&proxy)) {
            assert!(
                after == *before || before == first,
                "{ring}: {before} {after}"
            );
            assert_ne!(after, *first, "{ring}");
        }
        gone.resume();
        eventually("its keys are back", || owners(&proxy) == before);
    }
}

/// A backup serves while no other server can, and no longer.
pub fn a_backup_serves_only_while_no_other_server_can(binary: &Path) {
    let [a, b, c] = three();
    let health = format!("{{ path = \"/healthz\", {QUICKLY} }}");
    let proxy = servers([&a, &b]).backup(&c).health(&health).start(binary);
    for backend in [&a, &b, &c] {
        proxy.wait_for_transition(backend.address(), "up", 1);
    }
    assert!(!turn(&proxy, 6).contains('C'));
    a.stop();
    proxy.wait_for_transition(a.address(), "down", 1);
    assert_eq!(turn(&proxy, 3), "BBB");
    b.stop();
    assert_eq!(turn(&proxy, 3), "CCC", "nobody waits for a probe");
    b.resume();
    proxy.wait_for_transition(b.address(), "up", 2);
    assert_eq!(turn(&proxy, 3), "BBB");
}

/// What the only other server breaks is answered by the backup, although that server stays up.
pub fn a_backup_answers_what_the_only_server_breaks(binary: &Path) {
    let broken = Backend::start(|_| Ok(Then::Close));
    let backup = Backend::saying("backup");
    let proxy = servers([&broken]).backup(&backup).start(binary);
    for count in 1..=3 {
        assert_eq!(turn(&proxy, 1), "backup");
        assert_eq!((broken.count(), backup.count()), (count, count));
    }
}

/// A server whose answer to a probe lacks the wanted text is down, until it is there again.
pub fn a_probe_that_looks_for_a_text_takes_a_server_out_without_it(binary: &Path) {
    let well = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&well);
    let a = Backend::start(move |talk| match talk.is("/healthz") {
        true if says.load(Ordering::SeqCst) => talk.answer(200, &[], "state: all well."),
        true => talk.answer(200, &[], "state: not well."),
        false => talk.answer(200, &[], "A"),
    });
    let b = Backend::start(|talk| match talk.is("/healthz") {
        true => talk.answer(200, &[], "all well"),
        false => talk.answer(200, &[], "B"),
    });
    let health = format!("{{ path = \"/healthz\", body = \"all well\", {QUICKLY} }}");
    let proxy = servers([&a, &b]).health(&health).start(binary);
    for backend in [&a, &b] {
        proxy.wait_for_transition(backend.address(), "up", 1);
    }
    well.store(false, Ordering::SeqCst);
    proxy.wait_for_transition(a.address(), "down", 1);
    assert_eq!(turn(&proxy, 3), "BBB");
    well.store(true, Ordering::SeqCst);
    proxy.wait_for_transition(a.address(), "up", 2);
    eventually("A serves again", || turn(&proxy, 2).contains('A'));
}

/// When every server is down a request is refused, or tried all the same, as the pool says.
pub fn when_all_are_down_anybody_is_tried_only_where_the_pool_says_so(binary: &Path) {
    let sick = |name: &'static str| {
        Backend::start(move |talk| match talk.is("/healthz") {
            true => talk.answer(500, &[], ""),
            false => talk.answer(200, &[], name),
        })
    };
    let health = format!("{{ path = \"/healthz\", {QUICKLY} }}");
    for (rule, status) in [("fail", 503), ("try-anyway", 200)] {
        let backends = [sick("A"), sick("B")];
        let proxy = servers(&backends)
            .health(&health)
            .pool(&format!("when-all-down = \"{rule}\""))
            .start(binary);
        for backend in &backends {
            proxy.wait_for_transition(backend.address(), "down", 1);
        }
        for _ in 0..4 {
            assert_eq!(get(proxy.address(), "/").status(), status, "{rule}");
        }
        if status == 200 {
            let all = turn(&proxy, 4);
            assert!(all.contains('A') && all.contains('B'), "{all}");
        }
    }
}
