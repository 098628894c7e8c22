//! A file may hold anything: it is read or refused, and the refusal can be shown.

use super::{BASE, TUTORIAL};
use crate::config::{Mistakes, parse};

const GROWN_UP: &str = r#"
workers = "${N:-auto}"
listen.web = { address = "[::1]:0" }
[pool.app]
servers = ["10.0.0.1:9001", { url = "http://bücher.example", weight = 2, name = "s2" }, 7]
health  = { method = "GET", path = "/healthz", interval = "2s", rise = 2, expect = "200-299" }
[pool.app.limits]
retry-budget = "20%" # 日本語
total = "off"
[limits]
trusted-proxies = ["10.0.0.0/8"]
head-bytes = "16KiB"
[log]
access = 0.01
"#;

/// Reads it, shows what is wrong, and checks that places are inside of the text.
fn survive(name: &str, text: &[u8]) {
    let Err(mistakes) = parse(name, text, &|_| None) else {
        return;
    };
    check(&mistakes, text);
}

fn check(mistakes: &Mistakes, text: &[u8]) {
    assert!(mistakes.iter().len() > 0);
    let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    for mistake in mistakes.iter() {
        assert!(!mistake.problem().is_empty());
        if let Some((line, column)) = mistake.position() {
            assert!((1..=lines).contains(&line));
            assert!((1..=text.len() + 1).contains(&column));
        }
    }
    let shown = mistakes.to_string();
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'));
    assert!(shown.len() < 100_000);
}

#[test]
fn every_prefix_is_survived() {
    for (name, text) in [("a.toml", GROWN_UP), ("a.toml", BASE), ("a.json", TUTORIAL)] {
        for end in 0..=text.len() {
            survive(name, &text.as_bytes()[..end]);
        }
    }
}

#[test]
fn every_changed_byte_is_survived() {
    for (name, text) in [("a.toml", GROWN_UP), ("a.json", TUTORIAL)] {
        let mut bytes = text.as_bytes().to_vec();
        for at in 0..bytes.len() {
            let before = bytes[at];
            for byte in [
                0,
                b'"',
                b'\\',
                b'\n',
                b'[',
                b'{',
                b'}',
                b'=',
                b'0',
                0x1B,
                0xFF,
                before ^ 1,
            ] {
                bytes[at] = byte;
                survive(name, &bytes);
            }
            bytes[at] = before;
        }
    }
}

#[test]
fn lines_in_any_order_are_survived() {
    let lines: Vec<&str> = GROWN_UP.lines().collect();
    for first in 0..lines.len() {
        for second in 0..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(first, second);
            survive("a.toml", swapped.join("\n").as_bytes());
            swapped.remove(first);
            survive("a.toml", swapped.join("\r\n").as_bytes());
        }
    }
}

#[test]
fn depth_is_bounded() {
    for depth in [10, 100, 100_000] {
        let open = "[".repeat(depth);
        let tables = "{\"a\":".repeat(depth);
        let close = "}".repeat(depth);
        for (name, text) in [
            ("a.toml", format!("a = {open}")),
            ("a.toml", format!("a = {open}{}", "]".repeat(depth))),
            ("a.toml", "a={b=".repeat(depth)),
            ("a.toml", format!("{}= 1", "a.".repeat(depth))),
            ("a.toml", format!("[{}a]", "a.".repeat(depth))),
            ("a.json", format!("{{\"a\":{open}")),
            ("a.json", format!("{tables}1{close}")),
            ("a.json", tables),
        ] {
            survive(name, text.as_bytes());
        }
    }
}

#[test]
fn size_is_bounded_in_and_out() {
    let many_keys: String = (0..50_000).map(|n| format!("k{n} = {n}\n")).collect();
    let many_values: String = (0..30_000).map(|n| format!("k{n}=\"${{\"\n")).collect();
    let servers = "\"a:1\",".repeat(50_000);
    for (name, text) in [
        ("a.toml", many_keys),
        ("a.toml", format!("port=\":1\"\nservers=[{servers}]")),
        (
            "a.toml",
            format!("[pool.{}]\n{many_values}", "k".repeat(500_000)),
        ),
        ("a.toml", "x".repeat(1 << 20)),
        ("a.toml", "ü".repeat(1 << 20)),
        ("a.toml", "\"\n".repeat(100_000)),
        (
            "a.json",
            format!("{{\"port\":\":1\",\"servers\":[{servers}\"a:2\"]}}"),
        ),
        ("a.json", format!("{{\"{}\":1}}", "k".repeat(500_000))),
    ] {
        survive(name, text.as_bytes());
    }
    let large = vec![b' '; (1 << 20) + 1];
    let mistakes = parse("a.toml", &large, &|_| None).unwrap_err();
    let problems: Vec<&str> = mistakes.iter().map(|mistake| mistake.problem()).collect();
    assert_eq!(problems, ["this file is larger than 1MiB"]);
}

#[test]
fn what_a_variable_holds_is_as_hostile_as_the_file() {
    for value in ["\u{1b}[2J", "${X}", "a\n[pool.b]", "\0", "ü", ""] {
        let env = |_: &str| Some(value.to_owned());
        for text in [
            "port = \"${X}\"\nservers = [\"${X}\"]",
            "port = \":1\"\nservers = [{ url = \"a:1\", name = \"${X}\" }]\nworkers = \"${X}\"",
        ] {
            let mistakes = parse("a.toml", text.as_bytes(), &env).unwrap_err();
            check(&mistakes, text.as_bytes());
        }
    }
}
