//! The access log: one line per exchange, with what an operator asks for.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::setup::{before, servers};
use crate::backend::{Backend, Then};
use crate::client::{Client, exchange, get, get_head};

fn with_id(path: &str, id: &str) -> String {
    get_head(path).replace("\r\n\r\n", &format!("\r\nX-Request-Id: {id}\r\n\r\n"))
}

/// `access = "all"`: every field of the line says what was.
pub fn the_access_log_says_what_was(binary: &Path) {
    let backend = Backend::saying("hello");
    let proxy = servers([&backend]).access("all").start(binary);
    let mut client = Client::connect(proxy.address());
    client.send(with_id("/path?q=1", "id-1")).response("GET");
    let line = proxy.wait_for_event("request", |line| line["request_id"] == "id-1");
    assert_eq!(line["method"], "GET", "{line}");
    assert_eq!(line["path"], "/path", "a query may hold secrets: {line}");
    assert_eq!(line["status"], 200, "{line}");
    assert_eq!(line["bytes"], 5, "{line}");
    assert_eq!(line["pool"], "app", "{line}");
    assert_eq!(line["member"], *backend.address().to_string(), "{line}");
    assert_eq!(line["attempts"], 1, "{line}");
    assert!(
        line["client"]
            .as_str()
            .is_some_and(|text| text.starts_with("127.0.0.1")),
        "{line}"
    );
    for key in ["time", "duration"] {
        assert!(!line[key].is_null(), "{key} in {line}");
    }
}

/// On a listener for both families an IPv4 client has its IPv4 address, as the server is told it.
pub fn an_ipv4_client_is_logged_by_its_ipv4_address(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = servers([&backend]).listen(":0").access("all").start(binary);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.address().port()));
    let mut client = Client::connect(to);
    let address = client.local().to_string();
    client.send(with_id("/", "plain")).response("GET");
    let line = proxy.wait_for_event("request", |line| line["request_id"] == "plain");
    assert_eq!(line["client"], *address, "{line}");
    let mut client = Client::connect(to);
    let address = client.local().to_string();
    client.send("?\r\n\r\n").response("GET");
    let line = proxy.wait_for_event("malformed request", |_| true);
    assert_eq!(line["client"], *address, "{line}");
}

/// `access = "errors"`: what went well is silent; what failed is told with its cause.
pub fn the_error_log_tells_causes_and_is_silent_otherwise(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        match talk.head().target().as_str() {
            "/500" => talk.answer(500, &[], "theirs"),
            "/cut" => {
                talk.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")?;
                Ok(Then::Close)
            }
            "/garbage" => {
                talk.send("nonsense\r\n\r\n")?;
                Ok(Then::Close)
            }
            _ => talk.answer(200, &[], "ok"),
        }
    });
    let proxy = servers([&backend]).access("errors").start(binary);
    let to = proxy.address();
    assert_eq!(exchange(to, "GET", with_id("/", "well")).status(), 200);
    assert_eq!(exchange(to, "GET", with_id("/500", "theirs")).status(), 500);
    assert_eq!(
        exchange(to, "GET", with_id("/garbage", "garbage")).status(),
        502
    );
    // Whether the head arrives is a race: what breaks off before it left is cut with it.
    let _ = Client::connect(to)
        .send(with_id("/cut", "cut"))
        .answer("GET");
    backend.stop();
    // 502 if it went on a kept connection whose end nobody had noticed yet.
    let gone = exchange(to, "GET", with_id("/", "gone")).status();
    assert!([502, 503].contains(&gone), "{gone}");
    for (id, status) in [
        ("theirs", 500),
        ("garbage", 502),
        ("cut", 200),
        ("gone", gone),
    ] {
        let line = proxy.wait_for_event("request", |line| line["request_id"] == id);
        assert_eq!(line["status"], status, "{line}");
        assert!(id == "theirs" || !line["cause"].is_null(), "{line}");
    }
    assert!(
        !proxy
            .events()
            .iter()
            .any(|line| line["request_id"] == "well")
    );
}

/// A client that left is told as 499.
pub fn a_client_that_left_is_logged_as_499(binary: &Path) {
    let backend = Backend::start(|talk| {
        let _ = talk.end();
        Ok(Then::Close)
    });
    let proxy = servers([&backend]).access("errors").start(binary);
    let mut client = Client::connect(proxy.address());
    client.send(with_id("/", "left"));
    backend.wait_for_count(1);
    drop(client);
    let line = proxy.wait_for_event("request", |line| line["request_id"] == "left");
    assert_eq!(line["status"], 499, "{line}");
}

/// Nothing a client sends can forge a line: one request is one line, and every line is JSON.
pub fn what_clients_send_cannot_forge_a_line(binary: &Path) {
    let backend = Backend::saying("ok");
    let proxy = servers([&backend]).access("all").start(binary);
    let path = "/\"},{\"event\":\"forged\"}\u{e9}?\u{2028}";
    exchange(proxy.address(), "GET", with_id(path, "quote\"{},"));
    let line = proxy.wait_for_event("request", |line| line["request_id"] == "quote\"{},");
    assert!(
        line["path"]
            .as_str()
            .is_some_and(|text| text.starts_with("/\"},")),
        "{line}"
    );
    for line in proxy.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(&line).is_ok(),
            "{line}"
        );
    }
    assert!(!proxy.events().iter().any(|line| line["event"] == "forged"));
}

/// `access = "off"`: no line per request, not even for an error.
pub fn the_access_log_can_be_off(binary: &Path) {
    let backend = Backend::saying("ok");
    let mut proxy = before(binary, &backend);
    get(proxy.address(), "/");
    backend.stop();
    assert!(get(proxy.address(), "/").status() >= 502);
    assert_eq!(exchange(proxy.address(), "GET", "?\r\n\r\n").status(), 400);
    proxy.terminate();
    proxy.wait(crate::wait::PATIENCE);
    let about_a_request = |event: &serde_json::Value| {
        event
            .as_str()
            .is_some_and(|event| event.contains("request"))
    };
    assert!(
        !proxy
            .events()
            .iter()
            .any(|line| about_a_request(&line["event"]))
    );
}
