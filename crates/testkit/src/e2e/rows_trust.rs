//! The trust rows of the hostile-traffic table: who asked, for whom, and what may pass.

use std::path::Path;

use super::setup::{before, servers};
use crate::backend::{Backend, Then};
use crate::client::{Client, exchange, get_head};
use crate::wire::Head;

/// What the backend sees of a GET with these fields.
fn seen(proxy: &crate::process::Proxy, backend: &Backend, fields: &str) -> Head {
    let request = format!("GET / HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n");
    assert_eq!(exchange(proxy.address(), "GET", request).status(), 200);
    backend.last().head
}

/// A client cannot make us drop what we add by naming it in `Connection`.
pub fn row_29_connection_cannot_name_our_fields_away(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    let head = seen(
        &proxy,
        &backend,
        "Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Request-Id, X-Real-IP, Forwarded, Via\r\n\
         X-Forwarded-For: 10.0.0.1\r\n",
    );
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "site.example"),
        ("x-forwarded-proto", "http"),
    ] {
        assert_eq!(head.all(name), [value], "{head:?}");
    }
    assert_eq!(head.all("x-request-id").len(), 1, "{head:?}");
    assert!(!head.has("connection"));
}

/// A name that a backend may take for one of ours, underscores for hyphens, does not pass.
pub fn row_30_aliases_of_our_fields_do_not_pass(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    let aliases = [
        "X_Forwarded_For",
        "X-Forwarded_For",
        "x_forwarded-for",
        "X_Forwarded_Host",
        "X-Forwarded_Proto",
        "X_Request_Id",
        "Content_Length",
        "Transfer_Encoding",
    ];
    let fields: String = aliases
        .iter()
        .map(|name| format!("{name}: evil\r\n"))
        .collect();
    let head = seen(&proxy, &backend, &format!("{fields}X_Own_Field: mine\r\n"));
    for name in aliases {
        assert!(!head.has(name), "{name} in\n{head:?}");
    }
    assert_eq!(
        head.all("x_own_field"),
        ["mine"],
        "other underscores are nobody's business"
    );
    assert_eq!(head.all("x-forwarded-for"), ["127.0.0.1"]);
}

/// What a client claims about itself is replaced; what a trusted proxy says is kept and appended to.
pub fn row_31_forwarded_fields_are_believed_from_trusted_proxies_only(binary: &Path) {
    let backend = Backend::saying("ok");
    let claims = "X-Forwarded-For: 10.1.1.1\r\nX-Forwarded-For: 10.2.2.2\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: evil.example\r\nForwarded: for=10.3.3.3\r\nX-Real-IP: 10.4.4.4\r\n";
    let plain = before(binary, &backend);
    let head = seen(&plain, &backend, claims);
    assert_eq!(head.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(head.all("x-forwarded-proto"), ["http"]);
    assert_eq!(head.all("x-forwarded-host"), ["site.example"]);
    assert!(!head.has("forwarded") && !head.has("x-real-ip"), "{head:?}");

    let elsewhere = servers([&backend])
        .limits("trusted-proxies = [\"10.0.0.0/8\"]")
        .start(binary);
    assert_eq!(
        seen(&elsewhere, &backend, claims).all("x-forwarded-for"),
        ["127.0.0.1"]
    );

    let trusting = servers([&backend])
        .limits("trusted-proxies = [\"127.0.0.0/8\"]")
        .start(binary);
    let head = seen(&trusting, &backend, claims);
    let chain = head.all("x-forwarded-for").join(", ");
    assert_eq!(chain, "10.1.1.1, 10.2.2.2, 127.0.0.1");
    assert_eq!(head.all("x-forwarded-proto"), ["https"]);
    assert_eq!(head.all("x-forwarded-host"), ["evil.example"]);
}

/// `Proxy` (httpoxy) never passes.
pub fn row_32_the_proxy_field_is_dropped(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    let head = seen(
        &proxy,
        &backend,
        "Proxy: http://evil.example\r\nproxy: x\r\nX-Proxy: mine\r\n",
    );
    assert!(!head.has("proxy"), "{head:?}");
    assert_eq!(head.all("x-proxy"), ["mine"]);
}

/// Only `websocket` is an upgrade; `h2c` is an ordinary request, and its settings stay here.
pub fn row_33_h2c_does_not_pass(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        if talk.head().has("upgrade") {
            talk.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            )?;
            return Ok(Then::Next);
        }
        talk.answer(200, &[], "http")
    });
    let proxy = before(binary, &backend);
    for upgrade in ["h2c", "H2C", "TLS/1.0", "h2c, x"] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        );
        let mut client = Client::connect(proxy.address());
        client.send(&request).send(get_head("/behind"));
        let answer = client.response("GET");
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "http"),
            "{upgrade}"
        );
        assert_eq!(
            client.response("GET").status(),
            200,
            "it is HTTP that follows"
        );
        let arrived = backend.arrived();
        for arrived in &arrived[arrived.len() - 2..] {
            for name in ["upgrade", "http2-settings", "connection"] {
                assert!(!arrived.head.has(name), "{upgrade}: {arrived:?}");
            }
            assert!(arrived.head.has("x-forwarded-for"), "{arrived:?}");
        }
    }
    // Of several protocols websocket alone may be offered, and nothing else accepted.
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\n\
                   HTTP2-Settings: AAMAAABk\r\n\r\n";
    let status = exchange(proxy.address(), "GET", request).status();
    let seen = backend.last().head;
    assert!([200, 502].contains(&status), "{status}");
    assert!(
        !seen.lists("upgrade", "h2c") && !seen.has("http2-settings"),
        "{seen:?}"
    );
}

/// A request is for exactly one valid host, and an absolute target decides which.
pub fn row_38_a_request_has_exactly_one_valid_host(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    for fields in [
        "",
        "Host: a.example\r\nHost: a.example\r\n",
        "Host: a.example\r\nhost: b.example\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@a.example\r\n",
        "Host: a.example, b.example\r\n",
        "Host: a.example:port\r\n",
        "Host: a.example:99999\r\n",
        "Host: http://a.example\r\n",
        "Host: a.example?x\r\n",
        "Host: a.example#x\r\n",
        "Host: [::1\r\n",
    ] {
        let request = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(
            exchange(proxy.address(), "GET", request).status(),
            400,
            "{fields:?}"
        );
    }
    assert_eq!(backend.count(), 0, "none of them was forwarded");

    for host in [
        "a.example",
        "a.example:8080",
        "127.0.0.1:80",
        "[::1]:80",
        "A-b_c.Example.",
    ] {
        let request = format!("GET /p HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            exchange(proxy.address(), "GET", request).status(),
            200,
            "{host}"
        );
        assert_eq!(backend.last().head.all("host"), [host]);
    }
    for (target, path) in [
        ("http://a.example/p?q", "/p?q"),
        ("http://a.example:81/", "/"),
        ("http://a.example", "/"),
        ("http://a.example?q", "/?q"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: b.example\r\n\r\n");
        assert_eq!(
            exchange(proxy.address(), "GET", request).status(),
            200,
            "{target}"
        );
        let head = backend.last().head;
        let authority = if target.contains(":81") {
            "a.example:81"
        } else {
            "a.example"
        };
        assert_eq!(
            (head.target(), head.all("host")),
            (path.into(), vec![authority.into()]),
            "{target}"
        );
        assert_eq!(head.all("x-forwarded-host"), [authority]);
    }
    // Version 1.0 may go without; its backend may not.
    assert_eq!(
        exchange(proxy.address(), "GET", "GET /old HTTP/1.0\r\n\r\n").status(),
        200
    );
    assert_eq!(backend.last().head.all("host").len(), 1);
}

/// CONNECT and TRACE are answered here.
pub fn row_39_connect_and_trace_are_refused(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = before(binary, &backend);
    for line in [
        "CONNECT evil.example:443",
        "CONNECT /a",
        "CONNECT 127.0.0.1:80",
        "TRACE /",
        "TRACE http://evil.example/",
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: x.example\r\nCookie: secret\r\n\r\n");
        let mut client = Client::connect(proxy.address());
        let answer = client.send(request).response("GET");
        assert!([400, 405].contains(&answer.status()), "{line}: {answer:?}");
        assert!(
            line == "CONNECT /a" || answer.status() == 405,
            "{line}: {answer:?}"
        );
        assert!(!answer.text().contains("secret"));
    }
    assert_eq!(backend.count(), 0);
}
