//! The tutorials: requests go round, a server dies, another one, they come back, none is left.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::setup::{AT_ONCE, servers};
use crate::backend::Backend;
use crate::client::{Client, get, get_head};
use crate::process::Proxy;
use crate::wait::eventually;
use crate::wire::{chunk, pattern};

const PROBES: &str =
    r#"{ path = "/healthz", interval = "100ms", interval-down = "50ms", rise = 1, fall = 1 }"#;

fn three() -> [Backend; 3] {
    ["A", "B", "C"].map(Backend::saying)
}

/// The servers that answer so many requests, each on a connection of its own.
fn turn(proxy: &Proxy, requests: usize) -> String {
    (0..requests)
        .map(|_| get(proxy.address(), "/").text())
        .collect()
}

fn wait_until_up(proxy: &Proxy, backends: &[Backend]) {
    for backend in backends {
        proxy.wait_for_transition(backend.address(), "up", 1);
    }
}

/// A serves requests 1 and 4, B 2 and 5, C 3 and 6, whichever connections and workers carry them.
pub fn requests_go_round_in_file_order_across_connections_and_workers(binary: &Path) {
    let backends = three();
    let proxy = servers(&backends).start(binary);
    assert_eq!(turn(&proxy, 6), "ABCABC");
    let mut kept: Vec<Client> = (0..4).map(|_| Client::connect(proxy.address())).collect();
    let mut answers = String::new();
    for _ in 0..3 {
        for client in &mut kept {
            answers.push_str(&client.get("/").text());
        }
    }
    assert_eq!(answers, "ABCABCABCABC");
}

/// The tutorial's rows with probes: 2,3 after the first server stopped, 3,3 after the second, and back.
pub fn stopped_servers_leave_the_rotation_and_returning_ones_rejoin(binary: &Path) {
    let backends = three();
    let proxy = servers(&backends).health(PROBES).start(binary);
    wait_until_up(&proxy, &backends);
    let first = turn(&proxy, 6);
    assert!("ABCABCABC".contains(&first), "{first}");

    backends[0].stop();
    proxy.wait_for_transition(backends[0].address(), "down", 1);
    let two = turn(&proxy, 4);
    assert!("BCBCB".contains(&two), "{two}");

    backends[1].stop();
    proxy.wait_for_transition(backends[1].address(), "down", 1);
    assert_eq!(turn(&proxy, 2), "CC");

    backends[0].resume();
    backends[1].resume();
    proxy.wait_for_transition(backends[0].address(), "up", 2);
    proxy.wait_for_transition(backends[1].address(), "up", 2);
    eventually("all three serve again", || {
        let answers = turn(&proxy, 6);
        ["A", "B", "C"].iter().all(|name| answers.contains(name))
    });
}

/// With no probes at all a dead server costs no request, and it comes back by a trial.
pub fn a_refused_server_costs_no_request_and_returns_without_probes(binary: &Path) {
    let backends = three();
    let proxy = servers(&backends).start(binary);
    backends[0].stop();
    assert_eq!(turn(&proxy, 4), "BCBC");
    backends[1].stop();
    assert_eq!(turn(&proxy, 3), "CCC");
    backends[0].resume();
    backends[1].resume();
    eventually("all three serve again", || {
        let answers = turn(&proxy, 6);
        ["A", "B", "C"].iter().all(|name| answers.contains(name))
    });
}

/// Nobody left: 503 with `Retry-After` and a body that says so, at once; the first server that returns ends it.
pub fn nobody_left_is_answered_503_with_retry_after_at_once(binary: &Path) {
    for health in ["\"off\"", PROBES, "{ interval = \"100ms\" }"] {
        let backends = three();
        let proxy = servers(&backends).health(health).start(binary);
        if health != "\"off\"" {
            wait_until_up(&proxy, &backends);
        }
        for backend in &backends {
            backend.stop();
        }
        for _ in 0..3 {
            let start = Instant::now();
            let answer = get(proxy.address(), "/");
            assert!(start.elapsed() < AT_ONCE);
            assert_eq!(answer.status(), 503, "{answer:?}");
            let retry_after = answer.head.one("retry-after").expect("Retry-After");
            assert!(retry_after.parse::<u32>().is_ok_and(|seconds| seconds > 0));
            let proxy_status = answer.head.one("proxy-status").expect("Proxy-Status");
            assert!(proxy_status.starts_with("lb; error="), "{proxy_status}");
            assert!(answer.text().contains("app"), "{}", answer.text());
            for backend in &backends {
                let port = backend.address().port().to_string();
                assert!(!answer.text().contains(&port), "{}", answer.text());
            }
        }
        backends[2].resume();
        eventually("C serves again", || get(proxy.address(), "/").text() == "C");
    }
}

/// Four clients never stop while a server dies and returns: not one GET fails.
pub fn a_flapping_server_fails_no_get(binary: &Path) {
    let backends = three();
    let proxy = servers(&backends).health(PROBES).start(binary);
    wait_until_up(&proxy, &backends);
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let (proxy, done, answered) = (&proxy, &done, &answered);
                scope.spawn(move || {
                    let mut client = Client::connect(proxy.address());
                    while !done.load(Ordering::Relaxed) {
                        if number % 2 == 0 {
                            client = Client::connect(proxy.address());
                        }
                        let answer = client.get("/");
                        assert_eq!(answer.status(), 200, "{answer:?}");
                        answered.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(1));
                    }
                })
            })
            .collect();
        let progress = |what: &str| {
            let before = answered.load(Ordering::Relaxed);
            eventually(what, || {
                clients.iter().any(|client| client.is_finished())
                    || answered.load(Ordering::Relaxed) > before + 60
            });
        };
        for _ in 0..8 {
            backends[1].stop();
            progress("requests pass while B is away");
            backends[1].resume();
            progress("requests pass while B is back");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// One of three freezes (its kernel still accepts): after the guard's second, for so little is known of it, what waits
/// there is answered by others and nothing new is sent there, apart from one trial at a time; thawed, it rejoins. No
/// request fails.
pub fn nothing_new_is_sent_to_a_frozen_server_after_the_guards_second(binary: &Path) {
    let backends = three();
    let proxy = servers(&backends)
        .health("{ interval = \"200ms\" }")
        .start(binary);
    wait_until_up(&proxy, &backends);
    turn(&proxy, 6);
    backends[1].freeze();
    let got = || {
        let arrived = backends[1].arrived();
        arrived
            .iter()
            .filter(|asked| asked.head.raw().starts_with(b"GET "))
            .count()
    };
    let before = got();
    let (answered, sent) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let ask = || {
            sent.fetch_add(1, Ordering::SeqCst);
            scope.spawn(|| {
                assert_eq!(get(proxy.address(), "/").status(), 200);
                answered.fetch_add(1, Ordering::SeqCst);
            });
        };
        let stalled = || {
            proxy.events().iter().any(|line| {
                line["event"] == "transition"
                    && line["to"] == "stalled"
                    && line["member"] == *backends[1].address().to_string()
            })
        };
        let start = Instant::now();
        while !stalled() {
            assert!(start.elapsed() < 4 * AT_ONCE, "it is never found out");
            ask();
            std::thread::sleep(Duration::from_millis(100));
        }
        eventually("what waited is answered by the others", || {
            answered.load(Ordering::SeqCst) == sent.load(Ordering::SeqCst)
        });
        let stuck = got();
        assert!(stuck >= before + 2, "only {stuck} requests reached it");
        for _ in 0..60 {
            ask();
            std::thread::sleep(Duration::from_millis(5));
        }
        eventually("all are answered, a trial, too", || {
            answered.load(Ordering::SeqCst) == sent.load(Ordering::SeqCst)
        });
        let trials = got() - stuck;
        assert!(trials <= 1, "{trials} requests went to the frozen server");
        backends[1].thaw();
    });
    assert_eq!(
        answered.into_inner(),
        sent.into_inner(),
        "each was answered"
    );
    eventually("B serves again", || turn(&proxy, 3).contains('B'));
}

/// The only client there is waits at a frozen server, and nobody else shows that others answer: the guard asks them itself,
/// and the request is answered by one of them.
pub fn one_client_alone_is_rescued_from_a_frozen_server(binary: &Path) {
    let backends = three();
    let proxy = servers(&backends)
        .health("{ interval = \"1s\" }")
        .start(binary);
    wait_until_up(&proxy, &backends);
    turn(&proxy, 6);
    backends[1].freeze();
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(get(proxy.address(), "/").status(), 200);
        assert!(start.elapsed() < AT_ONCE, "long before any timeout");
    }
    let stalled = proxy.wait_for_transition(backends[1].address(), "stalled", 1);
    let cause = stalled["cause"].as_str().unwrap_or_default();
    assert!(cause.starts_with("1 request waited"), "{stalled}");
    backends[1].thaw();
    eventually("B serves again", || turn(&proxy, 3).contains('B'));
}

/// A server becomes slow under eight clients: the limit that would keep its answers quick is logged, and as it is only
/// observed nobody is refused.
pub fn an_observed_limit_is_told_and_refuses_nobody(binary: &Path) {
    let slow = std::sync::Arc::new(AtomicBool::new(false));
    let is_slow = slow.clone();
    let backend = Backend::start(move |talk| {
        talk.body()?;
        if is_slow.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(100));
        }
        talk.answer(200, &[], "A")
    });
    let proxy = servers([&backend])
        .pool_limits("adaptive-concurrency = { mode = \"observe\", min = 1, max = 64 }")
        .start(binary);
    let (start, mut client) = (Instant::now(), Client::connect(proxy.address()));
    let mut asked = 0;
    while asked < 100 || start.elapsed() < Duration::from_millis(500) {
        assert_eq!(client.get("/").status(), 200);
        asked += 1;
    }
    slow.store(true, Ordering::SeqCst);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(proxy.address());
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(client.get("/").status(), 200);
                }
            });
        }
        eventually("the limit is told", || {
            proxy.events().iter().any(|line| {
                line["event"] == "adaptive-limit"
                    && line["applied"] == false
                    && line["member"] == *backend.address().to_string()
                    && line["limit"].as_u64().is_some_and(|limit| limit < 64)
            })
        });
        done.store(true, Ordering::SeqCst);
    });
}

/// Three balancers share six servers: each uses and probes two of its own, and together they use all.
pub fn balancers_share_a_fleet(binary: &Path) {
    let fleet = ["A", "B", "C", "D", "E", "F"].map(Backend::saying);
    let mut used = String::new();
    for balancer in 0..3 {
        let proxy = servers(&fleet)
            .health(PROBES)
            .pool(&format!(
                "subset = {{ size = 2, balancer = \"{balancer}\", of = 3 }}"
            ))
            .start(binary);
        eventually("both are up", || {
            let events = proxy.events();
            let ups = events.iter().filter(|line| line["to"] == "up");
            ups.count() == 2
        });
        let mut own: Vec<char> = turn(&proxy, 4).chars().collect();
        own.sort_unstable();
        own.dedup();
        assert_eq!(own.len(), 2, "{own:?}");
        used.extend(own);
        let probed = fleet.iter().filter(|backend| backend.count() > 0).count();
        assert_eq!(probed, used.len(), "nobody else is probed");
    }
    let mut all: Vec<char> = used.chars().collect();
    all.sort_unstable();
    assert_eq!(all, ['A', 'B', 'C', 'D', 'E', 'F']);
}

/// A refused connection sends the request elsewhere whatever its method and size.
pub fn a_large_post_to_a_refused_server_goes_elsewhere(binary: &Path) {
    let backends = three();
    let proxy = servers(&backends).start(binary);
    backends[0].stop();
    let body = pattern(5_000_000);
    let mut client = Client::connect(proxy.address());
    client.send(format!(
        "POST /sized HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    let answer = client.send(&body).response("POST");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "B"));
    backends[2].stop();
    client.send("POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(100_000) {
        client.send(chunk(piece));
    }
    let answer = client.send("0\r\n\r\n").response("POST");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "B"));
    for arrived in backends[1].arrived() {
        assert!(arrived.body.is_some_and(|got| got.bytes == body));
    }
}

/// The tutorial's `config.json`, as it stands but for the ports: probes are `HEAD /`, wanted 200, out after one
/// failure, back after one success.
pub fn the_tutorials_json_file_works_as_it_is(binary: &Path) {
    let healthy = std::sync::Arc::new(AtomicBool::new(true));
    let status = healthy.clone();
    let first = Backend::start(move |talk| {
        talk.body()?;
        let probe = talk.head().method() == "HEAD";
        let well = !probe || status.load(Ordering::SeqCst);
        talk.answer(if well { 200 } else { 204 }, &[], "A")
    });
    let second = Backend::saying("B");
    let config = format!(
        r#"{{
  "port": "127.0.0.1:0",
  "healthCheckInterval": "200ms",
  "servers": [
    "http://{}",
    "http://localhost:{}"
  ]
}}"#,
        first.address(),
        second.address().port(),
    );
    let proxy = Proxy::start_with_file(binary, "config.json", &config);
    for backend in [&first, &second] {
        let probe = backend.wait_for(|request| request.head.method() == "HEAD");
        assert_eq!(probe.head.target(), "/");
    }
    eventually("both serve", || {
        let answers = turn(&proxy, 4);
        answers.contains('A') && answers.contains('B')
    });
    healthy.store(false, Ordering::SeqCst);
    proxy.wait_for_transition(first.address(), "down", 1);
    assert_eq!(turn(&proxy, 4), "BBBB");
    healthy.store(true, Ordering::SeqCst);
    eventually("A is back", || turn(&proxy, 2).contains('A'));
}

/// The smallest TOML form, with its port in the tutorial's notation.
pub fn the_tutorials_keys_work_in_toml(binary: &Path) {
    let backends = three();
    let servers: Vec<String> = backends
        .iter()
        .map(|backend| format!("\"http://{}\"", backend.address()))
        .collect();
    let config = format!(
        "port = \":0\"\nhealthCheckInterval = \"2s\"\nservers = [{}]\n",
        servers.join(", ")
    );
    let proxy = Proxy::start(binary, &config);
    // `:0` listens on every address, which is none to connect to.
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], proxy.address().port()));
    eventually("all three serve", || {
        let answers: String = (0..3).map(|_| get(to, "/x").text()).collect();
        ["A", "B", "C"].iter().all(|name| answers.contains(name))
    });
}

/// `--listen`, `--to` and `--check` need no file.
pub fn flags_alone_are_enough_to_run(binary: &Path) {
    let backends = three();
    let [a, b, c] = [0, 1, 2].map(|n| backends[n].address().to_string());
    let proxy = Proxy::start_with(
        binary,
        &[
            "run",
            "--listen",
            "127.0.0.1:0",
            "--to",
            &a,
            "--to",
            &b,
            "--to",
            &c,
            "--check",
            "/healthz",
        ],
    );
    for backend in &backends {
        let probe = backend.wait_for(|request| request.head.target() == "/healthz");
        assert_eq!(probe.head.method(), "GET");
    }
    eventually("all three serve", || {
        let answers = turn(&proxy, 3);
        ["A", "B", "C"].iter().all(|name| answers.contains(name))
    });
}

/// The log says who changed, from what to what, and why.
pub fn transitions_are_logged_with_their_cause(binary: &Path) {
    let backends = three();
    let proxy = servers(&backends).health(PROBES).start(binary);
    wait_until_up(&proxy, &backends);
    backends[0].stop();
    let down = proxy.wait_for_transition(backends[0].address(), "down", 1);
    assert_eq!(down["pool"], "app", "{down}");
    let cause = down["cause"].as_str().unwrap_or_default();
    assert!(
        cause.contains("refused") || cause.contains("closed"),
        "{down}"
    );
    backends[0].resume();
    let up = proxy.wait_for_transition(backends[0].address(), "up", 2);
    assert!(
        up["cause"].as_str().unwrap_or_default().contains("passed"),
        "{up}"
    );

    let quiet = servers(&backends).start(binary);
    backends[1].stop();
    turn(&quiet, 3);
    let suspect = quiet.wait_for_transition(backends[1].address(), "suspect", 1);
    let cause = suspect["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("refused"), "{suspect}");
}

/// Each transition of a member begins with the state that the one before ended with, also when a request and the probe that
/// follows from it are told by two threads.
pub fn transitions_are_logged_in_the_order_in_which_they_happened(binary: &Path) {
    const ROUNDS: usize = 12;
    let backends = three();
    let proxy = servers(&backends)
        .health(r#"{ interval = "2s", interval-down = "20ms", rise = 1, fall = 1 }"#)
        .start(binary);
    wait_until_up(&proxy, &backends);
    let restless = backends[0].address();
    for round in 1..=ROUNDS {
        backends[0].stop();
        turn(&proxy, 3);
        proxy.wait_for_transition(restless, "down", round);
        backends[0].resume();
        proxy.wait_for_transition(restless, "up", round + 1);
    }
    let events = proxy.events();
    let transitions = events
        .iter()
        .filter(|line| line["event"] == "transition" && line["member"] == *restless.to_string());
    let mut before = serde_json::json!("unknown");
    for line in transitions {
        assert_eq!(line["from"], before, "{line}");
        before = line["to"].clone();
    }
}

/// `X-Forwarded-Server` tells which backend answered when it is asked for, and is absent otherwise.
pub fn the_debug_header_is_off_unless_configured(binary: &Path) {
    let backends = three();
    let plain = servers(&backends).start(binary);
    assert!(!get(plain.address(), "/").head.has("x-forwarded-server"));
    let debug = servers(&backends)
        .more("[debug]\nbackend-header = \"X-Forwarded-Server\"")
        .start(binary);
    for backend in &backends {
        let header = get(debug.address(), "/").head.one("x-forwarded-server");
        let header = header.expect("the debug header");
        assert!(header.contains(&backend.address().to_string()), "{header}");
    }
}

/// An HTTP/1.0 server, as Python's `http.server` is one: balanced, probed, and never kept.
pub fn an_http_10_server_is_balanced_and_probed(binary: &Path) {
    let old = || {
        Backend::start(|talk| {
            talk.body()?;
            talk.send(
                "HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6\r\nContent-type: text/html\r\n\r\n",
            )?;
            if talk.head().method() != "HEAD" {
                talk.send("old")?;
            }
            Ok(crate::backend::Then::Close)
        })
    };
    let backends = [old(), old()];
    let proxy = servers(&backends).health(PROBES).start(binary);
    wait_until_up(&proxy, &backends);
    let mut client = Client::connect(proxy.address());
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "old");
        client.send(get_head("/").replace("GET", "HEAD"));
        assert_eq!(client.response("HEAD").status(), 200);
    }
    for backend in &backends {
        assert!(backend.count() > 2);
        assert_eq!(backend.connections(), backend.count(), "none was kept");
    }
}
