//! The keys that say when members leave and how they return.

use super::wrong::{said, said_of};
use super::*;

#[test]
fn passive_takes_each_key_and_keeps_the_other_defaults() {
    let default = Passive::default();
    let table = [
        ("{}", Some(default.clone())),
        ("\"off\"", None),
        (
            "{ failures = 7 }",
            Some(Passive {
                failures: NonZeroU32::new(7).unwrap(),
                ..default.clone()
            }),
        ),
        (
            "{ share = \"30%\", eject = \"5m\" }",
            Some(Passive {
                share_percent: Some(30),
                eject: Duration::from_secs(300),
                ..default.clone()
            }),
        ),
        (
            "{ latency = 3 }",
            Some(Passive {
                latency_factor: Some(3),
                ..default.clone()
            }),
        ),
        ("{ latency = \"off\" }", Some(default.clone())),
        (
            "{ share = \"off\", max-ejected = \"100%\" }",
            Some(Passive {
                share_percent: None,
                max_ejected_percent: 100,
                ..default.clone()
            }),
        ),
    ];
    for (text, expected) in table {
        let settings = with(&format!("passive = {text}"));
        assert_eq!(settings.pool.passive, expected, "{text}");
    }
    assert_eq!(with("").pool.passive, Some(default));
}

#[test]
fn slow_start_is_a_duration_or_off() {
    for (text, expected) in [
        ("", Some(10)),
        ("slow-start = \"1m\"", Some(60)),
        ("slow-start = \"off\"", None),
    ] {
        let expected = expected.map(Duration::from_secs);
        assert_eq!(with(text).pool.slow_start, expected, "{text}");
    }
    assert_eq!(
        said("slow-start = \"0s\""),
        [
            "pool.app.slow-start: found a zero duration | a duration above zero | nothing can happen within no time at all"
        ]
    );
    let smallest = read("port = \":1\"\nservers = [\"a:1\"]\n").pool;
    assert_eq!((smallest.slow_start, smallest.passive), (None, None));
}

#[test]
fn backups_and_what_a_pool_does_when_all_are_down() {
    let settings = with("when-all-down = \"try-anyway\"");
    assert_eq!(settings.pool.when_all_down, WhenAllDown::TryAnyway);
    assert_eq!(with("").pool.when_all_down, WhenAllDown::Fail);
    assert_eq!(
        said("when-all-down = \"pray\""),
        ["pool.app.when-all-down: unknown: `pray` | \"fail\" or \"try-anyway\" | "]
    );
    let smallest = |servers: &str| format!("port = \":1\"\nservers = [{servers}]\n");
    let pool = read(&smallest(
        "\"a:1\", { url = \"b:1\", backup = true }, { url = \"c:1\", backup = false }",
    ))
    .pool;
    let backups: Vec<bool> = pool.servers.iter().map(|server| server.backup).collect();
    assert_eq!(backups, [false, true, false]);
    for (servers, expected) in [
        (
            "{ url = \"b:1\", backup = true }",
            "servers: every server is a backup | a server without backup = true | a backup stands in for others",
        ),
        (
            "\"a:1\", { url = \"b:1\", backup = 1 }",
            "servers[2].backup: found the number 1 | true or false | ",
        ),
    ] {
        assert_eq!(said_of("lb.toml", &smallest(servers)), [expected]);
    }
}

#[test]
fn sticky_needs_a_cookie_and_a_secret_and_may_have_an_age() {
    let sticky = |text: &str| with(&format!("sticky = {text}")).pool.sticky;
    let plain = Sticky {
        cookie: "lb".into(),
        ttl: None,
        key: "0123456789abcdef".into(),
    };
    assert_eq!(
        sticky("{ cookie = \"lb\", key = \"0123456789abcdef\" }"),
        Some(plain.clone())
    );
    let full = Sticky {
        ttl: Some(Duration::from_secs(3600)),
        ..plain
    };
    let text = "{ cookie = \"lb\", ttl = \"1h\", key = \"0123456789abcdef\" }";
    assert_eq!(sticky(text), Some(full));
    for (text, expected) in [
        (
            "{ key = \"0123456789abcdef\" }",
            "cookie: missing | the name of a cookie | write { cookie = \"lb\" }",
        ),
        (
            "{ cookie = \"lb\" }",
            "key: missing | a secret of at least 16 bytes, such as key = \"${LB_COOKIE_KEY}\" | clients could find out the \
             servers' addresses by trying; the same secret at each start and at each balancer keeps them at their servers",
        ),
        (
            "{ cookie = \"a b\", key = \"0123456789abcdef\" }",
            "cookie: `a b` is no cookie's name | the name of a cookie such as \"lb\" | letters, digits, - and _, at most 64",
        ),
        (
            "{ cookie = \"lb\", ttl = \"500ms\", key = \"0123456789abcdef\" }",
            "ttl: a cookie's age is in whole seconds | at least \"1s\" | ",
        ),
        (
            "{ cookie = \"lb\", key = \"short\" }",
            "key: this is too short for a secret | at least 16 bytes | the value shows nothing to whoever can't guess this",
        ),
    ] {
        let text = format!("sticky = {text}");
        assert_eq!(
            said(&text),
            [format!("pool.app.sticky.{expected}")],
            "{text}"
        );
    }
}

#[test]
fn passive_rules_that_would_do_nothing_are_mistakes() {
    for (text, expected) in [
        (
            "passive = true",
            "pool.app.passive: found true | \"off\", or a table such as { failures = 5, eject = \"30s\" } | ",
        ),
        (
            "passive = { failures = 0 }",
            "pool.app.passive.failures: found 0 | a number from 1 to 10000 | it is a number of failures in a row; \
             passive = \"off\" ejects nobody",
        ),
        (
            "passive = { latency = 1 }",
            "pool.app.passive.latency: found 1 | a number from 2 to 1000 | it is a factor: so many times the median of the \
             others",
        ),
        (
            "passive = { eject = \"6m\" }",
            "pool.app.passive.eject: longer than any ejection | at most \"5m\" | this is the first ejection; those that \
             follow last longer, up to 5m",
        ),
        (
            "passive = { share = \"0%\" }",
            "pool.app.passive.share: found no share at all | a share from \"1%\" to \"100%\" | \"off\" switches a rule off",
        ),
        (
            "passive = { max-ejected = \"49%\" }",
            "pool.app.passive.max-ejected: 49% of 2 servers is less than one | at least \"50%\" | nobody would ever be \
             ejected; passive = \"off\" says so",
        ),
        (
            "passive = { ejekt = \"1s\" }",
            "pool.app.passive.ejekt: unknown key |  | did you mean `eject`?",
        ),
    ] {
        assert_eq!(said(text), [expected], "{text}");
    }
}
