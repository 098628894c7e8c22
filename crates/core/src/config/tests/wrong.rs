//! Wrong files and what is said about them.

use super::BASE;
use crate::config::parse;

fn refusal(name: &str, text: &str) -> String {
    match parse(name, text.as_bytes(), &|_| None) {
        Err(mistakes) => mistakes.to_string(),
        Ok(settings) => panic!("accepted {text}: {settings:?}"),
    }
}

/// `key: problem | expected | help` of each mistake in [`BASE`] and `more`.
pub(super) fn said(more: &str) -> Vec<String> {
    said_of("lb.toml", &format!("{BASE}{more}"))
}

pub(super) fn said_of(name: &str, text: &str) -> Vec<String> {
    let mistakes = match parse(name, text.as_bytes(), &|_| None) {
        Err(mistakes) => mistakes,
        Ok(settings) => panic!("accepted {text}: {settings:?}"),
    };
    mistakes
        .iter()
        .map(|m| {
            format!(
                "{}: {} | {} | {}",
                m.key(),
                m.problem(),
                m.expected(),
                m.help()
            )
        })
        .collect()
}

#[test]
fn all_mistakes_are_shown_at_once_each_in_its_place() {
    let text = r#"worker = 4
[listen]
web = "8080"

[pool.app]
servers = ["127.0.0.1:9001", "http://grün.example:x", "127.0.0.1:9001"]
balance = "roundrobin"
health  = { path = "healthz", interval = 2, timeut = "1s" }
sticky  = { ttl = "1h", key = "0123456789abcdef" }

[limits]
head-bytes = "16KB"
"#;
    assert_eq!(
        refusal("lb.toml", text),
        r#"error: worker: unknown key
 --> lb.toml:1:1
  |
1 | worker = 4
  | ^^^^^^
  = help: did you mean `workers`?

error: listen.web: `8080` is only a port
 --> lb.toml:3:7
  |
3 | web = "8080"
  |       ^^^^^^ expected an address such as ":8080" or "127.0.0.1:8080"
  = help: put a colon in front to listen on every address

error: pool.app.servers[2]: `x` is not a port
 --> lb.toml:6:30
  |
6 | servers = ["127.0.0.1:9001", "http://grün.example:x", "127.0.0.1:9001"]
  |                              ^^^^^^^^^^^^^^^^^^^^^^^ expected a server such as "127.0.0.1:9001" or "http://app.internal:9001"
  = help: a port is a number from 1 to 65535

error: pool.app.servers[3]: `127.0.0.1:9001` stands here twice
 --> lb.toml:6:55
  |
6 | servers = ["127.0.0.1:9001", "http://grün.example:x", "127.0.0.1:9001"]
  |                                                       ^^^^^^^^^^^^^^^^ expected an address of its own
  = help: each server is one entry; there is no weight by repetition

error: pool.app.balance: unknown: `roundrobin`
 --> lb.toml:7:11
  |
7 | balance = "roundrobin"
  |           ^^^^^^^^^^^^ expected "round-robin", "random", "least-requests", "p2c", "peak-ewma" or "hash"
  = help: did you mean "round-robin"?

error: pool.app.health.path: found `healthz`
 --> lb.toml:8:20
  |
8 | health  = { path = "healthz", interval = 2, timeut = "1s" }
  |                    ^^^^^^^^^ expected a path such as "/healthz"
  = help: a path begins with a slash; host and port are the server's

error: pool.app.health.interval: found the number 2 without a unit
 --> lb.toml:8:42
  |
8 | health  = { path = "healthz", interval = 2, timeut = "1s" }
  |                                          ^ expected a duration such as "2s"
  = help: the units are ms, s, m and h

error: pool.app.health.timeut: unknown key
 --> lb.toml:8:45
  |
8 | health  = { path = "healthz", interval = 2, timeut = "1s" }
  |                                             ^^^^^^
  = help: did you mean `timeout`?

error: pool.app.sticky.cookie: missing
 --> lb.toml:9:1
  |
9 | sticky  = { ttl = "1h", key = "0123456789abcdef" }
  | ^^^^^^ expected the name of a cookie
  = help: write { cookie = "lb" }

error: limits.head-bytes: `16KB` has an unknown unit `KB`
  --> lb.toml:12:14
   |
12 | head-bytes = "16KB"
   |              ^^^^^^ expected a size such as "16KiB"
   = help: the units are B, KiB, MiB and GiB

10 mistakes in lb.toml"#
    );
}

#[test]
fn a_wrong_json_file_is_told_in_the_same_way() {
    let text = "{\n  \"port\": 8080,\n  \"healthCheckIntervall\": \"2s\",\n  \"servers\": [\"http://löcal:5001\", null]\n}\n";
    assert_eq!(
        refusal("config.json", text),
        r#"error: port: found the number 8080
 --> config.json:2:11
  |
2 |   "port": 8080,
  |           ^^^^ expected an address such as ":8080" or "127.0.0.1:8080"
  = help: for every address of this machine write ":8080"

error: healthCheckIntervall: unknown key
 --> config.json:3:3
  |
3 |   "healthCheckIntervall": "2s",
  |   ^^^^^^^^^^^^^^^^^^^^^^
  = help: did you mean `healthCheckInterval`?

error: servers[1]: `löcal` is not a host name
 --> config.json:4:15
  |
4 |   "servers": ["http://löcal:5001", null]
  |               ^^^^^^^^^^^^^^^^^^^ expected a server such as "127.0.0.1:9001" or "http://app.internal:9001"
  = help: names outside of ASCII are written in their xn-- form

error: servers[2]: found null
 --> config.json:4:36
  |
4 |   "servers": ["http://löcal:5001", null]
  |                                    ^^^^ expected a server such as "127.0.0.1:9001" or "http://app.internal:9001"

4 mistakes in config.json"#
    );
}

#[test]
fn broken_toml_is_told_line_by_line_together_with_what_was_understood() {
    let text = "[listen]\nweb = :8080\n[pool.app]\nservers = [\"a\"]\n[limits]\nhead-timeout = 10s\nconections = 1\n";
    let shown = refusal("lb.toml", text);
    let unquoted = "this is not TOML: string values must be quoted";
    assert!(shown.contains(unquoted), "{shown}");
    let heads: Vec<&str> = shown.lines().filter(|line| line.contains("-->")).collect();
    assert_eq!(
        heads,
        [
            " --> lb.toml:2:7",
            " --> lb.toml:4:12",
            " --> lb.toml:6:16",
            " --> lb.toml:7:1"
        ],
        "{shown}"
    );
    assert!(shown.contains("= help: write \":8080\""), "{shown}");
    assert!(shown.contains("= help: write \"10s\""), "{shown}");
}

#[test]
fn an_array_that_swallows_the_rest_of_the_file_is_one_mistake() {
    let text = "listn = 1\n[pool.app]\nservers = [\"a:1\"\n[limits]\nconnections = 1\n";
    assert_eq!(
        refusal("lb.toml", text),
        r#"error: listn: unknown key
 --> lb.toml:1:1
  |
1 | listn = 1
  | ^^^^^
  = help: did you mean `listen`?

error: this is not TOML: missing comma between array elements
 --> lb.toml:4:1
  |
4 | [limits]
  | ^ expected `,` or `]`
  = help: an array ends with `]`, a string with its quote

2 mistakes in lb.toml"#
    );
}

#[test]
fn broken_json_is_told_where_it_breaks() {
    assert_eq!(
        refusal(
            "config.json",
            "{\n  \"port\": \":8080\"\n  \"servers\": []\n}"
        ),
        r#"error: this is not JSON: expected `,` or `}`
 --> config.json:3:3
  |
3 |   "servers": []
  |   ^

1 mistake in config.json"#
    );
    for (text, problem) in [
        ("{", ": this is not JSON: EOF while parsing an object |  | "),
        (
            "{\"port\": \":1\", \"port\": \":2\"}",
            ": this is not JSON: the key `port` stands here twice |  | ",
        ),
        ("{} x", ": this is not JSON: trailing characters |  | "),
        (
            "{\"port\": \"\\ud800\"}",
            ": this is not JSON: unexpected end of hex escape |  | ",
        ),
    ] {
        assert_eq!(said_of("a.json", text), [problem], "{text}");
    }
    assert_eq!(
        said_of("a.json", "")[0],
        ": this is not JSON: EOF while parsing a value |  | "
    );
    assert_eq!(
        said_of("a.json", "[]")[0],
        ": this is not JSON: found an array instead of an object |  | "
    );
}

#[test]
fn bytes_that_are_no_text_are_told_by_place() {
    let mistakes = parse("lb.toml", b"[listen]\nweb = \"\xFF\"\n", &|_| None).unwrap_err();
    assert_eq!(
        mistakes.to_string(),
        "error: this is not UTF-8
 --> lb.toml:2:8
  |
2 | web = \"
  |        ^
  = help: save the file as UTF-8

1 mistake in lb.toml"
    );
}

#[test]
fn an_empty_file_says_how_to_begin() {
    assert_eq!(
        refusal("lb.toml", ""),
        r#"error: listen: missing
 --> lb.toml
  = expected at least one address to listen on
  = help: add a section [listen] with a line such as web = ":8080"

error: pool: missing
 --> lb.toml
  = expected a pool of servers
  = help: add a section [pool.app] with a line such as servers = ["127.0.0.1:9001"]

2 mistakes in lb.toml"#
    );
}

#[test]
fn what_contradicts_is_refused_with_the_reason() {
    for (text, said) in [
        (
            "port = \":1\"\nservers = [\"a:1\"]\n[pool.x]\nservers = [\"b:1\"]",
            "pool: this section can't stand beside `port` and `servers` |  | use either port, healthCheckInterval and servers, \
             or the sections [listen] and [pool.NAME]",
        ),
        (
            "servers = [\"a:1\"]",
            "port: missing | where to listen | add a line such as port = \":8080\"",
        ),
        (
            "port = \":1\"\nservers = []",
            "servers: found an empty list | at least one server | a pool without servers can serve nobody",
        ),
        (
            "port = \":1\"\nservers = \"a:1\"",
            "servers: found a string | a list such as [\"127.0.0.1:9001\", \"127.0.0.1:9002\"] | put it in brackets",
        ),
        (
            "port = \":1\"\nservers = [{ url = \"a:1\", name = \"x\" }, { url = \"a:2\", name = \"x\" }]",
            "servers[2]: the name `x` stands here twice | a name of its own | ",
        ),
        (
            "port = \":1\"\nservers = [\"a:1\", \"http://localhost:1\"]",
            "servers[2]: `localhost:1` is this balancer itself | another address than where it listens | requests \
             would go round for ever",
        ),
        (
            "port = \":1\"\nservers = [{ name = \"x\" }]",
            "servers[1].url: missing | where the server is | write { url = \"127.0.0.1:9001\" }",
        ),
        (
            "listen = \":1\"\n[pool.app]\nservers = [\"a:1\"]",
            "listen: found a string | a table of listeners | name it: a section [listen] with a line web = \":1\"",
        ),
        (
            "[listen]\n[pool.app]\nservers = [\"a:1\"]",
            "listen.NAME: missing | at least one address to listen on | add a section [listen] with a line such as \
             web = \":8080\"",
        ),
        (
            "[listen]\na = \":80\"\nb = \"127.0.0.1:80\"\n[pool.app]\nservers = [\"a:1\"]",
            "listen.b: listener `a` has this port already | an address of its own | ",
        ),
        (
            "[listen]\n\"a b\" = \":80\"\n[pool.app]\nservers = [\"a:1\"]",
            "listen.`a b`: `a b` is not a name | letters, digits, `-`, `_` and `.`, at most 64 | ",
        ),
        (
            "[listen.web]\n[pool.app]\nservers = [\"a:1\"]",
            "listen.web.address: missing | where to listen | add a line such as address = \"0.0.0.0:8080\"",
        ),
        (
            "[listen]\nweb = \":1\"\n[pool]\nservers = [\"a:1\"]",
            "pool: this pool has no name | [pool.NAME] | write [pool.app]",
        ),
        (
            "[listen]\nweb = \":1\"\n[pool.app]\nbalance = \"round-robin\"",
            "pool.app.servers: missing | a list such as [\"127.0.0.1:9001\", \"127.0.0.1:9002\"] | ",
        ),
    ] {
        assert_eq!(said_of("lb.toml", text), [said], "{text}");
    }
}

#[test]
fn a_stray_key_of_the_smallest_form_hides_no_mistake_and_makes_up_none() {
    let sections = "[listen]\nweb = \"8080\"\n[pool.app]\nservers = [\"a\"]\nbalanc = \"random\"\n";
    let own = said_of("lb.toml", sections);
    assert_eq!(own.len(), 3, "{own:#?}");
    for (stray, key) in [
        ("port = \":1\"\n", "port"),
        ("healthCheckInterval = \"2s\"\n", "healthCheckInterval"),
        ("servers = [\"b:1\"]\n", "servers"),
    ] {
        let all = said_of("lb.toml", &format!("{stray}{sections}"));
        let beside = format!("this section can't stand beside `{key}` | ");
        let (refused, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|said| said.contains(&beside));
        assert_eq!(refused.len(), 2, "{refused:#?}");
        assert_eq!(others, own, "{stray}");
    }
}

#[test]
fn variables_that_are_not_set_are_refused_once() {
    let text = format!("{BASE}health = {{ interval = \"${{EVERY}}\" }}\n");
    assert_eq!(
        said_of("lb.toml", &text),
        [
            "pool.app.health.interval: the variable `EVERY` is not set | ${NAME} or ${NAME:-default} | set it, or give a \
          default"
        ]
    );
}

#[test]
fn keys_of_later_versions_are_known() {
    let not_yet = "this key is known, but not in this version |  | leave it out for now";
    for (text, key) in [
        ("[metrics]", "metrics"),
        ("[admin]", "admin"),
        ("[[route]]", "route"),
        (
            "[listen.tls]\naddress = \":1\"\ntls = { cert = \"a\" }",
            "listen.tls.tls",
        ),
    ] {
        assert_eq!(said(text), [format!("{key}: {not_yet}")], "{text}");
    }
    let later =
        |what: &str| format!("{what} is known, but not in this version |  | leave it out for now");
    assert_eq!(
        said("[pool.other]\nservers = [\"c:1\"]"),
        [format!("pool.other: {}", later("more than one pool"))]
    );
    let servers =
        |server: &str| said_of("lb.toml", &format!("port = \":1\"\nservers = [{server}]"));
    assert_eq!(
        servers("\"https://a:1\"")[0].split(" | ").next(),
        Some("servers[1]: TLS to servers (https://) is known, but not in this version")
    );
}
