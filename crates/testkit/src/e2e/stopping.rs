//! Graceful stop, and the ways in which a start fails.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::setup::{AT_ONCE, before, servers};
use super::tunnel::{AGREE, ASK};
use crate::backend::{Backend, Then};
use crate::client::{Client, get, get_head};
use crate::process::{Finished, run, run_with_file, run_with_variable};
use crate::wait::{Gate, PATIENCE, Watch, eventually};
use crate::wire::{Cut, pattern};

/// A GET, and nothing more on its connection.
const CLOSING: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A backend that holds `/held` until the gate opens, and the gate.
fn holding() -> (Backend, Arc<Gate>) {
    let gate = Arc::new(Gate::new());
    let held = gate.clone();
    let backend = Backend::start(move |talk| {
        talk.body()?;
        if talk.is("/held") {
            held.pass();
        }
        talk.answer(200, &[], "whole")
    });
    (backend, gate)
}

/// A request that runs when TERM comes gets its whole answer, with `Connection: close`; then the process ends with 0.
pub fn term_lets_running_requests_finish(binary: &Path) {
    let (backend, gate) = holding();
    let mut proxy = before(binary, &backend);
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(proxy.address())).collect();
    for client in &mut clients {
        client.send(get_head("/held"));
    }
    backend.wait_for_count(5);
    proxy.terminate();
    eventually("nobody is let in any more", || {
        // Rarely enough that the queue is seen empty in between.
        std::thread::sleep(Duration::from_millis(100));
        TcpStream::connect(proxy.address()).is_err()
    });
    assert!(proxy.ended().is_none(), "it waits for them");
    gate.open();
    for client in &mut clients {
        let answer = client.response("GET");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "whole"));
        assert!(answer.head.lists("connection", "close"), "{answer:?}");
        assert!(client.rest().0.is_empty());
    }
    assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
}

/// What was sent before TERM is answered, whether its connection was accepted, idle, or still in the queue.
pub fn nothing_that_was_sent_before_term_is_lost(binary: &Path) {
    let backend = Backend::saying("whole");
    for _ in 0..10 {
        let mut proxy = before(binary, &backend);
        let mut kept: Vec<Client> = (0..10).map(|_| Client::connect(proxy.address())).collect();
        for client in &mut kept {
            assert_eq!(client.get("/first").status(), 200);
        }
        for client in &mut kept {
            client.send(get_head("/kept"));
        }
        let mut fresh: Vec<Client> = (0..30).map(|_| Client::connect(proxy.address())).collect();
        for client in &mut fresh {
            client.send(get_head("/queued"));
        }
        proxy.terminate();
        for client in fresh.iter_mut().chain(&mut kept) {
            assert_eq!(client.response("GET").text(), "whole");
        }
        assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
    }
}

/// Of clients that keep coming, each with a connection of its own, everybody who gets one gets an answer: none is left in a
/// queue that closes.
pub fn clients_that_keep_coming_get_an_answer_or_no_connection(binary: &Path) {
    let backend = Backend::saying("whole");
    for _ in 0..3 {
        let mut proxy = before(binary, &backend);
        let to = proxy.address();
        let answers = Watch::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let start = Instant::now();
                        let Ok(mut client) = Client::try_connect(to) else {
                            return;
                        };
                        client.send(CLOSING);
                        // Who is too slow to say anything may be taken for one that never will.
                        if start.elapsed() < Duration::from_millis(300) {
                            assert_eq!(client.response("GET").text(), "whole");
                            answers.change(|count| *count += 1);
                        }
                    }
                });
            }
            let crowd = answers.wait_for(PATIENCE, |count| (*count > 100).then_some(()));
            proxy.terminate();
            assert!(crowd.is_some(), "nobody is answered");
        });
        assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
    }
}

/// A client that has sent further requests behind its last one gets the whole last answer: closing over what is unread
/// would reset the connection, and with it what has not arrived yet.
pub fn requests_behind_the_last_one_do_not_cost_its_answer(binary: &Path) {
    let gate = Arc::new(Gate::new());
    let held = gate.clone();
    let body = pattern(1 << 20);
    let whole = body.clone();
    let backend = Backend::start(move |talk| {
        held.pass();
        talk.answer(200, &[], &whole)
    });
    let mut proxy = before(binary, &backend);
    let mut client = Client::with_buffers(proxy.address(), 8 * 1024);
    client.send(get_head("/last"));
    backend.wait_for_count(1);
    client.write_patience(Duration::from_secs(1));
    client.send(get_head("/more").repeat(2000));
    proxy.terminate();
    proxy.wait_for_event("stopping", |_| true);
    gate.open();
    let answer = client.response("GET");
    assert!(answer.body.bytes == body, "{:?}", answer.head);
    assert!(answer.head.lists("connection", "close"), "{answer:?}");
    assert_eq!(client.rest(), (Vec::new(), Cut::Fin));
    drop(client);
    assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
    assert_eq!(backend.count(), 1);
}

/// Idle connections do not hold the process until the grace is over, and nobody is let in any more.
pub fn idle_connections_do_not_delay_the_end(binary: &Path) {
    let backend = Backend::saying("whole");
    let mut proxy = servers([&backend])
        .limits("shutdown-grace = \"120s\"")
        .start(binary);
    let mut kept = Client::connect(proxy.address());
    kept.get("/");
    let mut silent = Client::connect(proxy.address());
    proxy.terminate();
    assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
    assert!(kept.rest().0.is_empty());
    assert!(silent.rest().0.is_empty());
}

/// What is queued is let in, but a crowd that keeps coming does not keep the door open.
pub fn clients_that_keep_coming_do_not_keep_the_door_open(binary: &Path) {
    let backend = Backend::saying("whole");
    let mut proxy = servers([&backend])
        .limits("shutdown-grace = \"120s\"")
        .start(binary);
    proxy.terminate();
    eventually("nobody is let in any more", || {
        TcpStream::connect(proxy.address()).is_err()
    });
    assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
}

/// The second TERM ends it at once, whatever runs.
pub fn a_second_term_ends_at_once(binary: &Path) {
    let (backend, gate) = holding();
    let mut proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    client.send(get_head("/held"));
    backend.wait_for_count(1);
    proxy.terminate();
    proxy.wait_for_event("stopping", |_| true);
    assert!(proxy.ended().is_none(), "the first one waits");
    let start = Instant::now();
    proxy.terminate();
    proxy.wait(AT_ONCE);
    assert!(start.elapsed() < AT_ONCE);
    gate.open();
}

/// Even then an answer that breaks off does not look complete, not even to a client that knows no other end of a body
/// than that of the connection.
pub fn a_second_term_cuts_visibly(binary: &Path) {
    let gate = Arc::new(Gate::new());
    let held = gate.clone();
    let backend = Backend::start(move |talk| {
        talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")?;
        held.pass();
        talk.send("0\r\n\r\n")?;
        Ok(Then::Close)
    });
    let mut proxy = servers([&backend]).access("errors").start(binary);
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.incoming().exactly(4), Ok(b"part".to_vec()));
    proxy.terminate();
    proxy.wait_for_event("stopping", |_| true);
    proxy.terminate();
    assert_eq!(client.rest(), (Vec::new(), Cut::Reset));
    assert_eq!(proxy.wait(AT_ONCE).code(), Some(1));
    let line = proxy.wait_for_event("request", |_| true);
    assert_eq!(
        (&line["status"], &line["cause"]),
        (&json!(200), &json!("shutdown"))
    );
    let line = proxy.wait_for_event("stopped", |_| true);
    assert_eq!(
        (&line["cut"], &line["cause"]),
        (&json!(1), &json!("a second signal"))
    );
    gate.open();
}

/// What still runs when the grace is over is cut, and visibly so; no client is blamed for it.
pub fn the_end_of_the_grace_cuts_what_still_runs(binary: &Path) {
    let gate = Arc::new(Gate::new());
    let held = gate.clone();
    let backend = Backend::start(move |talk| {
        if talk.is("/chat") {
            talk.send(AGREE)?;
        }
        held.pass();
        Ok(Then::Close)
    });
    let mut proxy = servers([&backend])
        .limits("shutdown-grace = \"300ms\"")
        .access("errors")
        .start(binary);
    let mut tunnel = Client::connect(proxy.address());
    assert_eq!(tunnel.send(ASK).head().status(), 101);
    let mut client = Client::connect(proxy.address());
    client.send(get_head("/held"));
    backend.wait_for_count(2);
    proxy.terminate();
    assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
    assert!(client.rest().0.is_empty());
    assert!(tunnel.rest().0.is_empty());
    for (path, status) in [("/held", json!(null)), ("/chat", json!(101))] {
        let line = proxy.wait_for_event("request", |line| line["path"] == path);
        assert_eq!(
            (&line["status"], &line["cause"]),
            (&status, &json!("shutdown"))
        );
    }
    let line = proxy.wait_for_event("stopped", |_| true);
    assert_eq!(line["cut"], 2, "{line}");
    gate.open();
}

/// During `shutdown-delay` it still lets clients in, and tells them to go.
pub fn the_shutdown_delay_keeps_accepting(binary: &Path) {
    let backend = Backend::saying("whole");
    let mut proxy = servers([&backend])
        .limits("shutdown-delay = \"3s\"")
        .start(binary);
    get(proxy.address(), "/");
    proxy.terminate();
    proxy.wait_for_event("stopping", |_| true);
    // The line may be a moment ahead of the deed.
    eventually("answers say that it goes", || {
        let answer = get(proxy.address(), "/");
        assert_eq!(answer.status(), 200);
        answer.head.lists("connection", "close")
    });
    assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
}

fn fails(finished: &Finished, code: i32, wanted: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished:#?}");
    for text in wanted {
        assert!(
            finished.stderr.contains(text),
            "{text:?} not in\n{}",
            finished.stderr
        );
    }
}

/// A port that somebody has is an error, also when that is another instance, and told like a mistake in the file.
pub fn a_port_in_use_ends_with_1_and_a_message(binary: &Path) {
    let backend = Backend::saying("ok");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let first = before(binary, &backend);
    for address in [taken.local_addr().expect("bound"), first.address()] {
        let config = servers([&backend]).listen(&address.to_string()).text();
        fails(
            &run_with_file(binary, &["run", "--config"], "lb.toml", &config),
            1,
            &[
                &format!("error: listen.web: cannot listen on {address}: "),
                "in use",
                "lb.toml:3:7\n",
                "^ expected a port that nobody else has\n",
                "= help: another program has it",
                "1 mistake in ",
            ],
        );
    }
    assert_eq!(get(first.address(), "/").status(), 200);
}

/// All addresses that somebody has are told at once, those of the command line at their flags.
pub fn every_port_in_use_is_told_in_its_place(binary: &Path) {
    let taken = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [a, b] = taken
        .each_ref()
        .map(|taken| taken.local_addr().expect("bound").to_string());
    let config = format!(
        "[listen]\na = \"{a}\"\nfree = \"127.0.0.1:0\"\nb = {{ address = \"{b}\" }}\n[pool.app]\nservers = [\"127.0.0.1:9\"]\n"
    );
    fails(
        &run_with_file(binary, &["run", "--config"], "lb.toml", &config),
        1,
        &[
            "error: listen.a: ",
            "lb.toml:2:5\n",
            "error: listen.b.address: ",
            "lb.toml:4:17\n",
            "2 mistakes in ",
        ],
    );
    let to = ["--to", "127.0.0.1:9"];
    let flags = [&["--listen", &*a, "--listen", &*b], &to[..]].concat();
    let shown = format!(" | {}\n | ", flags.join(" "));
    fails(
        &run(binary, &flags),
        1,
        &["error: --listen: ", &shown, "2 mistakes in command line"],
    );
    fails(
        &run(binary, &["demo", "--once", "--listen", &a]),
        1,
        &["error: --listen: ", "1 mistake in command line"],
    );
}

/// A file that is not there: who named it, and what to do.
pub fn an_unreadable_file_ends_with_1_and_its_name(binary: &Path) {
    let missing = "/nonexistent/lb.toml";
    for command in ["run", "check"] {
        fails(
            &run(binary, &[command, "--config", missing]),
            1,
            &[
                "error: --config: can't read /nonexistent/lb.toml: ",
                " | --config /nonexistent/lb.toml\n",
                "= help: check the path",
            ],
        );
        fails(
            &run_with_variable(binary, ("LB_CONFIG", missing), &[command]),
            1,
            &[
                "error: LB_CONFIG: can't read /nonexistent/lb.toml: ",
                " | LB_CONFIG=/nonexistent/lb.toml\n",
                "= help: check the path",
            ],
        );
    }
}

/// All mistakes of a file at once, each with its place, a caret and a way out; `run` and `check` agree.
pub fn mistakes_in_the_file_end_with_1_and_are_all_reported(binary: &Path) {
    let config = "[listen]\nweb = \"127.0.0.1:0\"\n\n[pool.app]\nserver = [\"127.0.0.1:9001\"]\nservers = []\n\
                  health = { interval = \"2 parsecs\" }\n\n[limits]\nhead-timeout = 10\n\n\
                  [log]\naccess = \"some\"\n";
    for command in ["run", "check"] {
        let finished = run_with_file(binary, &[command, "--config"], "lb.toml", config);
        fails(
            &finished,
            1,
            &[
                "lb.toml:5:",
                "lb.toml:6:",
                "lb.toml:7:",
                "lb.toml:10:",
                "^",
                "servers",
                "parsecs",
                "expected \"off\", \"errors\", \"all\" or a fraction such as 0.01",
            ],
        );
    }
    // A key of the other form, left over, hides none of them.
    let stray = format!("port = \":8080\"\n{config}");
    let finished = run_with_file(binary, &["check", "--config"], "lb.toml", &stray);
    let wanted = ["beside `port`", "lb.toml:6:", "lb.toml:8:", "lb.toml:11:"];
    fails(&finished, 1, &wanted);
    assert!(!finished.stderr.contains("error: servers: missing"));
}

/// A key that product promises for later says so.
pub fn a_key_of_a_later_version_says_so(binary: &Path) {
    let config =
        "[listen]\nweb = \"127.0.0.1:0\"\n[pool.app]\nservers = [\"127.0.0.1:9001\"]\n[metrics]\n";
    let finished = run_with_file(binary, &["check", "--config"], "lb.toml", config);
    fails(
        &finished,
        1,
        &["metrics", "lb.toml:5:", "not in this version"],
    );
}

/// Wrong flags and words are wrong usage.
pub fn wrong_usage_ends_with_2(binary: &Path) {
    for arguments in [
        &["--bogus"][..],
        &["run", "--bogus"],
        &["frobnicate"],
        &["run", "--config"],
        &["run"],
        &["check"],
    ] {
        fails(&run(binary, arguments), 2, &[]);
    }
}

/// `check` prints what would run, and nothing runs.
pub fn check_prints_what_would_run(binary: &Path) {
    let backends = ["A", "B"].map(Backend::saying);
    let config = servers(&backends).text();
    let finished = run_with_file(binary, &["check", "--config"], "lb.toml", &config);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    for text in backends.iter().map(|backend| backend.address().to_string()) {
        assert!(finished.stdout.contains(&text), "{finished:#?}");
    }
    for text in ["app", "round-robin", "127.0.0.1:0"] {
        assert!(finished.stdout.contains(text), "{finished:#?}");
    }
    assert_eq!(backends[0].connections(), 0, "no probe was sent");
}

/// `--help` names the commands, `--version` the version.
pub fn help_and_version_are_there(binary: &Path) {
    let help = run(binary, &["--help"]);
    assert_eq!(help.code, Some(0));
    for command in ["run", "check", "demo"] {
        assert!(help.stdout.contains(command), "{}", help.stdout);
    }
    let version = run(binary, &["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(
        version.stdout.contains(env!("CARGO_PKG_VERSION")),
        "{version:?}"
    );
}

/// INT stops like TERM does; a process that nobody uses ends at once.
pub fn an_unused_process_stops_at_once(binary: &Path) {
    let backend = Backend::saying("ok");
    for interrupt in [false, true] {
        let mut proxy = before(binary, &backend);
        let start = Instant::now();
        if interrupt {
            proxy.interrupt();
        } else {
            proxy.terminate();
        }
        assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
        assert!(start.elapsed() < AT_ONCE + Duration::from_secs(1));
    }
}
