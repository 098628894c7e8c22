//! What an HTTP probe may ask.

use http::HeaderMap;

use super::wrong::said;
use super::*;

fn check(text: &str) -> HttpCheck {
    match &probes(&with(&format!("health = {{ path = \"/up\", {text} }}"))).check {
        Check::Http(check) => HttpCheck::clone(check),
        Check::Tcp => panic!("no HTTP"),
    }
}

#[test]
fn a_probe_may_name_its_host_its_fields_and_the_text_it_wants() {
    let default = HttpCheck::get("/up".parse().unwrap());
    assert_eq!(check(""), default);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer x".parse().unwrap());
    headers.insert("x-probe", "1".parse().unwrap());
    assert_eq!(
        check(
            "host = \"shop.example:8080\", body = \"well\", \
             headers = { Authorization = \"Bearer x\", x-probe = \"1\" }"
        ),
        HttpCheck {
            host: Some("shop.example:8080".parse().unwrap()),
            headers,
            body: Some(b"well"[..].into()),
            ..default
        }
    );
}

#[test]
fn what_a_probe_cannot_send_or_find_is_a_mistake() {
    let connection = "this field is not free | another field | it belongs to the connection, which is not the configuration's";
    for (keys, expected) in [
        ("host = \"a b\"", "host: `a b` is no host | a host such as \"shop.example\" | ".to_owned()),
        ("host = \"u@a\"", "host: `u@a` is no host | a host such as \"shop.example\" | ".to_owned()),
        ("headers = { host = \"a\" }", "headers.host: this field is not free | another field | write health.host".to_owned()),
        ("headers = { Transfer-Encoding = \"chunked\" }", format!("headers.Transfer-Encoding: {connection}")),
        ("headers = { connection = \"close\" }", format!("headers.connection: {connection}")),
        ("headers = { \"a b\" = \"1\" }", "headers.`a b`: `a b` is no field name |  | ".to_owned()),
        ("headers = { a = \"ü\" }", "headers.a: found `ü` | a value without control characters and in ASCII | not every transport carries other bytes".to_owned()),
        ("headers = { a = 1 }", "headers.a: found the number 1 | a value in quotes | ".to_owned()),
        ("headers = { a = \"1\", A = \"2\" }", "headers.A: this field stands here twice |  | ".to_owned()),
        ("body = \"\"", "body: found 0 bytes | 1 to 1024 bytes | an empty one is in every answer, and a long one is hard to keep true".to_owned()),
        ("body = \"x\", method = \"HEAD\"", "body: the answer to HEAD has no body |  | leave the method out, or the text".to_owned()),
    ] {
        let text = format!("health = {{ path = \"/up\", {keys} }}");
        assert_eq!(said(&text), [format!("pool.app.health.{expected}")], "{keys}");
    }
}

#[test]
fn without_a_path_there_is_nothing_to_say() {
    let text = "health = { host = \"a\", headers = {}, body = \"x\" }";
    let keys: Vec<_> = said(text)
        .iter()
        .map(|line| line.split(" | ").next().unwrap_or_default().to_owned())
        .collect();
    let why = "without a path, a probe is a TCP connect";
    assert_eq!(
        keys,
        ["host", "headers", "body"].map(|key| format!("pool.app.health.{key}: {why}"))
    );
}
