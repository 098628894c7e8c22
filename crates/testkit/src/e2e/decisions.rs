//! Why a request goes where it goes: told before, in the log, and to a trusted peer that asks.

use std::path::Path;

use serde_json::Value;

use super::setup::servers;
use crate::backend::Backend;
use crate::client::{exchange, get};
use crate::process::{Finished, run_with_file};
use crate::wire::Head;

/// `explain` with these arguments, on the configuration in `text`.
fn explain(binary: &Path, arguments: &[&str], text: &str) -> Finished {
    let all = [&["explain"], arguments, &["--config"]].concat();
    run_with_file(binary, &all, "lb.toml", text)
}

/// `explain` says who is chosen, who is out and why, and what a retry would do; no server hears of it.
pub fn explain_tells_whom_and_why_and_asks_nobody(binary: &Path) {
    let [a, b] = [Backend::saying("a"), Backend::saying("b")];
    let text = servers([&a, &b]).health("{ interval = \"100ms\" }").text();
    let arguments = ["POST", "http://site.example/x", "--from", "10.1.2.3"];
    let told = explain(binary, &arguments, &text);
    assert_eq!(told.code, Some(0), "{told:?}");
    let [first, second] = [&a, &b].map(|backend| backend.address().to_string());
    for part in [
        "request  POST http://site.example/x from 10.1.2.3".to_owned(),
        "pool     app: round-robin, 2 of 2 can be chosen".to_owned(),
        format!("choice   {first} (round robin"),
        format!("if {first} refuses the connection: {second} is asked"),
        format!("if {first} breaks the connection: no retry, because the method is not idempotent"),
    ] {
        assert!(told.stdout.contains(&part), "{part} in\n{}", told.stdout);
    }
    let down = explain(binary, &["/", "--down", &first, "--repeat", "4"], &text);
    assert!(
        down.stdout.contains("out: a probe failed: refused"),
        "{down:?}"
    );
    assert!(
        down.stdout.contains(&format!("choice   {second} ")),
        "{down:?}"
    );
    assert!(
        down.stdout.contains(&format!("{second} 4 (100.0%)")),
        "{down:?}"
    );
    assert_eq!((a.count(), b.count()), (0, 0));
}

/// `--format json` is one object with the same facts.
pub fn explain_tells_machines_the_same(binary: &Path) {
    let [a, b] = [Backend::saying("a"), Backend::saying("b")];
    let text = servers([&a, &b])
        .pool("balance = { by = \"hash\", key = \"header:x-user\" }")
        .text();
    let arguments = [
        "/",
        "--header",
        "X-User: ann",
        "--repeat",
        "3",
        "--format",
        "json",
    ];
    let told = explain(binary, &arguments, &text);
    let value: Value = serde_json::from_str(&told.stdout).expect("JSON");
    let choice = &value["decision"]["pick"]["choice"];
    assert!(choice.is_string() && value["key"].is_string(), "{value}");
    let again = [choice.clone(), choice.clone(), choice.clone()];
    assert_eq!(
        value["repeated"]["choices"],
        Value::from(again.to_vec()),
        "{value}"
    );
    // The balancer itself decides as it was told.
    let proxy = servers([&a, &b])
        .pool("balance = { by = \"hash\", key = \"header:x-user\" }")
        .start(binary);
    let request = "GET / HTTP/1.1\r\nHost: site.example\r\nX-User: ann\r\n\r\n";
    exchange(proxy.address(), "GET", request);
    let chosen = if a.count() == 1 { &a } else { &b };
    assert_eq!(*choice, chosen.address().to_string(), "{value}");
}

/// A wrong file ends `explain` as it ends `run`; an unknown server is wrong usage.
pub fn explain_refuses_what_run_refuses(binary: &Path) {
    let wrong = explain(binary, &["/"], "listn = 1\n");
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("did you mean `listen`?"), "{wrong:?}");
    let backend = Backend::saying("a");
    let unknown = explain(binary, &["/", "--down", "b"], &servers([&backend]).text());
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(
        unknown.stderr.contains("there is no server `b`"),
        "{unknown:?}"
    );
}

/// The line of a request that nobody could serve says who was asked, how that ended, and who is out and why.
pub fn the_log_tells_the_decision_behind_a_local_answer(binary: &Path) {
    let backends = [Backend::saying("a"), Backend::saying("b")];
    let proxy = servers(&backends).access("all").start(binary);
    assert_eq!(get(proxy.address(), "/well").status(), 200);
    let line = proxy.wait_for_event("request", |line| line["path"] == "/well");
    assert!(line["decision"].is_null(), "nothing to tell: {line}");
    let names = backends
        .each_ref()
        .map(|backend| backend.address().to_string());
    backends.iter().for_each(Backend::stop);
    // What was kept open may break first; then everybody refuses, and then nobody is left.
    let mut answers = (0..10).map(|_| get(proxy.address(), "/gone").status());
    assert!(answers.all(|status| status >= 502));
    let line = proxy.wait_for_event("request", |line| line["cause"] == "no-member");
    let decision = &line["decision"];
    assert_eq!(
        (&decision["eligible"], &decision["size"]),
        (&0.into(), &2.into()),
        "{line}"
    );
    for (index, name) in names.iter().enumerate() {
        let server = &decision["servers"][index];
        assert_eq!(server["name"], **name, "{line}");
        assert_eq!(server["state"], "suspect", "{line}");
        assert_eq!(server["why"], "connect failed: refused", "{line}");
    }
    let tried = proxy.wait_for_event("request", |line| line["cause"] == "refused");
    let attempts = tried["decision"]["attempts"].as_array().expect("attempts");
    let last = attempts.last().expect("one at least");
    assert_eq!(last["end"], "refused", "{tried}");
    assert!(names.iter().any(|name| last["server"] == **name), "{tried}");
}

/// With `debug.decision-header`, a peer in `trusted-proxies` that sends `X-LB-Explain` sees the decision; nobody else does,
/// not even through such a peer, and no server ever sees the question.
pub fn the_decision_is_told_to_trusted_peers_that_ask_and_to_nobody_else(binary: &Path) {
    let backend = Backend::saying("ok");
    let name = backend.address().to_string();
    let ask = |proxy: &crate::process::Proxy, fields: &str| -> Head {
        let request = format!("GET / HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n");
        let answer = exchange(proxy.address(), "GET", request);
        assert_eq!(answer.status(), 200);
        let seen = backend.last().head;
        assert!(
            !seen.has("x-lb-explain") && !seen.has("x_lb_explain"),
            "{seen:?}"
        );
        answer.head
    };
    let start = |trusted: &str, debug: &str| {
        let limits = format!("trusted-proxies = [\"{trusted}\"]");
        servers([&backend])
            .limits(&limits)
            .more(debug)
            .start(binary)
    };
    let on = "[debug]\ndecision-header = \"X-LB-Decision\"";
    let trusting = start("127.0.0.0/8", on);
    let told = ask(&trusting, "X-LB-Explain: 1\r\n");
    assert_eq!(
        told.all("x-lb-decision"),
        [format!(
            "1 of 1 eligible: *{name}; round robin: the next in turn; attempts: {name} answered 200"
        )]
    );
    let inside = ask(
        &trusting,
        "X-LB-Explain: 1\r\nX-Forwarded-For: 127.0.0.9\r\n",
    );
    assert!(inside.has("x-lb-decision"), "{inside:?}");
    for fields in [
        "",
        "X_LB_Explain: 1\r\n",
        "X-LB-Explain: 1\r\nConnection: X-Real-IP\r\nX-Real-IP: 192.0.2.1\r\n",
        "X-LB-Explain: 1\r\nX-Forwarded-For: 192.0.2.1\r\n",
        "X-LB-Explain: 1\r\nX-Forwarded-For: 127.0.0.1, 192.0.2.1\r\n",
        "X-LB-Explain: 1\r\nForwarded: for=127.0.0.1\r\n",
    ] {
        let head = ask(&trusting, fields);
        assert!(!head.has("x-lb-decision"), "{fields}{head:?}");
    }
    let elsewhere = start("10.0.0.0/8", on);
    let off = start("127.0.0.0/8", "");
    for proxy in [&elsewhere, &off] {
        let head = ask(proxy, "X-LB-Explain: 1\r\nX-Forwarded-For: 10.0.0.1\r\n");
        assert!(!head.has("x-lb-decision"), "{head:?}");
    }
    backend.stop();
    let lost = "GET / HTTP/1.1\r\nHost: site.example\r\nX-LB-Explain: 1\r\n\r\n";
    let answer = exchange(trusting.address(), "GET", lost);
    assert!(answer.status() >= 502);
    let told = answer.head.all("x-lb-decision").join("");
    assert!(told.contains(&format!("attempts: {name} ")), "{told}");
    assert!(
        !exchange(elsewhere.address(), "GET", lost)
            .head
            .has("x-lb-decision")
    );
}
