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
fn said(more: &str) -> Vec<String> {
    said_of("lb.toml", &format!("{BASE}{more}"))
}

fn said_of(name: &str, text: &str) -> Vec<String> {
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
sticky  = { cookie = "lb" }

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
  |           ^^^^^^^^^^^^ expected "round-robin"
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

error: pool.app.sticky: this key is known, but not in this version
 --> lb.toml:9:1
  |
9 | sticky  = { cookie = "lb" }
  | ^^^^^^
  = help: leave it out for now

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
    assert!(shown.contains("strings stand in quotes"), "{shown}");
    assert!(
        shown.contains("durations, sizes, shares and addresses are strings"),
        "{shown}"
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
            "pool: this section can't stand beside `port`, `healthCheckInterval` and `servers` |  | use either port, \
             healthCheckInterval and servers, or the sections [listen] and [pool.NAME]",
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
fn values_out_of_bounds_are_refused_with_the_reason() {
    let duration = "a duration such as \"2s\" | the units are ms, s, m and h";
    for (text, said) in [
        (
            "health = { interval = \"0s\" }".to_owned(),
            "pool.app.health.interval: found a zero duration | a duration above zero | nothing can happen within no \
             time at all"
                .to_owned(),
        ),
        (
            "health = { interval = \"1s\", interval-down = \"2s\" }".to_owned(),
            "pool.app.health.interval-down: longer than the interval | at most the interval | a member that is down \
             is asked more often, so that it is back soon"
                .to_owned(),
        ),
        (
            "health = { timeout = \"1sec\" }".to_owned(),
            format!("pool.app.health.timeout: `1sec` has an unknown unit `sec` | {duration}"),
        ),
        (
            "health = { timeout = \"25h\" }".to_owned(),
            "pool.app.health.timeout: `25h` is longer than 24h | at most \"24h\" | ".to_owned(),
        ),
        (
            "limits = { connect = \"off\" }".to_owned(),
            format!("pool.app.limits.connect: this can't be switched off | {duration}"),
        ),
        (
            "limits = { connect = true }".to_owned(),
            format!("pool.app.limits.connect: found true | {duration}"),
        ),
        (
            "limits = { connect = 2.5 }".to_owned(),
            format!("pool.app.limits.connect: found the number 2.5 without a unit | {duration}"),
        ),
        (
            "limits = { retries = 11 }".to_owned(),
            "pool.app.limits.retries: found 11 | a number from 0 to 10 | each retry multiplies the load of an incident"
                .to_owned(),
        ),
        (
            "limits = { retries = \"2\" }".to_owned(),
            "pool.app.limits.retries: found a string | a number from 0 to 10 | ".to_owned(),
        ),
        (
            "limits = { retry-budget = 20 }".to_owned(),
            "pool.app.limits.retry-budget: found the number 20 | a share such as \"20%\" | a share is a string with a \
             percent sign"
                .to_owned(),
        ),
        (
            "limits = { retry-budget = \"120%\" }".to_owned(),
            "pool.app.limits.retry-budget: found `120%` | a share such as \"20%\" | a whole number from 0 to 100 and a \
             percent sign"
                .to_owned(),
        ),
        (
            "health = { rise = 0, path = \"/\" }".to_owned(),
            "pool.app.health.rise: found 0 | a number from 1 to 1000 | it is a number of probes in a row".to_owned(),
        ),
        (
            "health = { method = \"GET\" }".to_owned(),
            "pool.app.health.method: without a path, a probe is a TCP connect |  | add a path such as path = \
             \"/healthz\", or leave this out"
                .to_owned(),
        ),
        (
            "health = { path = \"/\", method = \"get\" }".to_owned(),
            "pool.app.health.method: unknown: `get` | \"GET\", \"HEAD\" or \"OPTIONS\" | did you mean \"GET\"?".to_owned(),
        ),
        (
            "health = { path = \"/a b\" }".to_owned(),
            "pool.app.health.path: `/a b` is not a path | a path such as \"/healthz\" | spaces, # and what is not ASCII \
             are written with %"
                .to_owned(),
        ),
        (
            "health = { path = \"/\", expect = \"299-200\" }".to_owned(),
            "pool.app.health.expect: found `299-200` | statuses such as \"200-299\" or \"200,204\" | a status that ends \
             an exchange is a number from 200 to 599"
                .to_owned(),
        ),
        (
            "health = \"tcp\"".to_owned(),
            "pool.app.health: found `tcp` | \"off\", a path such as \"/healthz\", or a table | left out, it is a TCP \
             connect every 2s"
                .to_owned(),
        ),
        (
            "[limits]\nhead-bytes = \"1KiB\"".to_owned(),
            "limits.head-bytes: found `1KiB` | a size from 8KiB to 1MiB | smaller heads refuse ordinary requests, larger \
             ones cost memory per connection"
                .to_owned(),
        ),
        (
            "[limits]\nbody-bytes = \"0B\"".to_owned(),
            format!("limits.body-bytes: found `0B` | a size from 1B to {}B | \"off\" is no limit", u64::MAX),
        ),
        (
            "[limits]\nconnections = -1".to_owned(),
            "limits.connections: found -1 | a number from 1 to 1000000 | the system's limit of open files counts, too"
                .to_owned(),
        ),
        (
            "[limits]\ntrusted-proxies = [\"10.0.0.1/8\"]".to_owned(),
            "limits.trusted-proxies[1]: `10.0.0.1/8` has bits behind its prefix | a network such as \"10.0.0.0/8\" | did \
             you mean \"10.0.0.0/8\"?"
                .to_owned(),
        ),
        (
            "[limits]\ntrusted-proxies = [\"10.0.0.0/33\"]".to_owned(),
            "limits.trusted-proxies[1]: `10.0.0.0/33` has a bad prefix length | a network such as \"10.0.0.0/8\" | the \
             length of the prefix is a number up to 32"
                .to_owned(),
        ),
        (
            "[log]\naccess = 1.5".to_owned(),
            "log.access: found the number 1.5 | \"off\", \"errors\", \"all\" or a fraction such as 0.01 | a fraction lies \
             between 0 and 1"
                .to_owned(),
        ),
        (
            "[log]\naccess = \"error\"".to_owned(),
            "log.access: unknown: `error` | \"off\", \"errors\" or \"all\" | did you mean \"errors\"?".to_owned(),
        ),
        (
            "[log]\nformat = 1979-05-27".to_owned(),
            "log.format: found a date or time | \"auto\", \"text\" or \"json\" | ".to_owned(),
        ),
        (
            "[debug]\nbackend-header = \"X Server\"".to_owned(),
            "debug.backend-header: `X Server` is no name of a header field | the name of a header field such as \
             \"X-Forwarded-Server\" | it is off when the key is left out"
                .to_owned(),
        ),
        (
            "[debug]\nbackend-header = \"Content-Length\"".to_owned(),
            "debug.backend-header: `Content-Length` has a meaning of its own | the name of a header field such as \
             \"X-Forwarded-Server\" | choose a name that nobody else uses"
                .to_owned(),
        ),
        (
            "[limits]\nretries = 1".to_owned(),
            "limits.retries: unknown key |  | the keys here are trusted-proxies, head-bytes, header-count, head-timeout, \
             body-idle, keep-alive-idle, connections, body-bytes, tunnel-idle, shutdown-delay, shutdown-grace"
                .to_owned(),
        ),
    ] {
        assert_eq!(self::said(&text), [said], "{text}");
    }
    for (text, found) in [
        ("0", "the number 0"),
        ("1025", "the number 1025"),
        ("\"many\"", "`many`"),
    ] {
        assert_eq!(
            said_of("lb.toml", &format!("workers = {text}\n{BASE}")),
            [format!(
                "workers: found {found} | \"auto\" or a number from 1 to 1024 | \"auto\" is one worker per core"
            )]
        );
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
        ("passive = { failures = 5 }", "pool.app.passive"),
        ("sticky = { cookie = \"lb\" }", "pool.app.sticky"),
        ("slow-start = \"10s\"", "pool.app.slow-start"),
        ("when-all-down = \"fail\"", "pool.app.when-all-down"),
        (
            "limits = { in-flight-per-server = 9 }",
            "pool.app.limits.in-flight-per-server",
        ),
        ("limits = { queue = { size = 9 } }", "pool.app.limits.queue"),
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
    for (text, key, what) in [
        (
            "balance = \"least-requests\"",
            "pool.app.balance",
            "`least-requests`",
        ),
        ("balance = { by = \"p2c\" }", "pool.app.balance.by", "`p2c`"),
        (
            "[pool.other]\nservers = [\"c:1\"]",
            "pool.other",
            "more than one pool",
        ),
    ] {
        assert_eq!(said(text), [format!("{key}: {}", later(what))], "{text}");
    }
    let servers =
        |server: &str| said_of("lb.toml", &format!("port = \":1\"\nservers = [{server}]"));
    assert_eq!(
        servers("{ url = \"a:1\", weight = 2 }"),
        [format!(
            "servers[1].weight: {}",
            later("a weight other than 1")
        )]
    );
    assert_eq!(
        servers("{ url = \"a:1\", backup = true }"),
        [format!("servers[1].backup: {not_yet}")]
    );
    assert_eq!(
        servers("{ url = \"a:1\", weight = 0 }"),
        [
            "servers[1].weight: found a weight of zero | a whole number above zero | a server that shall get nothing is \
          left out"
        ]
    );
    assert_eq!(
        servers("\"https://a:1\"")[0].split(" | ").next(),
        Some("servers[1]: TLS to servers (https://) is known, but not in this version")
    );
}
