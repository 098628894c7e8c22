//! Keys that are right each by itself and wrong together, or that would do nothing where they stand.

use super::wrong::{said, said_of};
use super::*;

const HASH: &str = "balance = { by = \"hash\", key = \"client\" }";

#[test]
fn what_would_do_nothing_or_the_contrary_is_refused_with_the_reason() {
    let header = |name: &str| format!("balance = {{ by = \"hash\", key = \"header:{name}\" }}");
    let keys = "\"client\", \"path\", \"uri\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"";
    let load = "\"off\" or a number from 1.01 to 100 such as 1.25";
    for (text, expected) in [
        (
            format!("{HASH}\nslow-start = \"10s\""),
            "slow-start: a hash knows no slow start | \"off\", or an algorithm that shares out | a key belongs to its server, \
             fresh or not"
                .to_owned(),
        ),
        (
            "balance = { by = \"hash\", key = \"cookie:lb\" }\nsticky = { cookie = \"lb\", key = \"0123456789abcdef\" }".to_owned(),
            "sticky: the hash reads the same cookie `lb` | a cookie of its own | this one is set by the balancer, to what it \
             has chosen; hash one that the servers set"
                .to_owned(),
        ),
        (
            "sticky = { cookie = \"__Host-lb\", key = \"0123456789abcdef\" }".to_owned(),
            "sticky.cookie: browsers keep `__Host-lb` over TLS only | a name without this prefix | without TLS no client would \
             ever come back with it"
                .to_owned(),
        ),
        (
            "sticky = { cookie = \"__secure-lb\", key = \"0123456789abcdef\" }".to_owned(),
            "sticky.cookie: browsers keep `__secure-lb` over TLS only | a name without this prefix | without TLS no client \
             would ever come back with it"
                .to_owned(),
        ),
        (
            header("TE"),
            format!(
                "balance.key: `header:TE` spreads nothing by key | {keys} | this field is about the connection and ends here, \
                 so no request has it"
            ),
        ),
        (
            header("x-request-id"),
            format!(
                "balance.key: `header:x-request-id` spreads nothing by key | {keys} | it is another one in each request; \
                 balance = \"random\" is as good"
            ),
        ),
        (
            "balance = { by = \"hash\", key = \"client\", max-load = 1 }".to_owned(),
            format!(
                "balance.max-load: found the number 1 | {load} | with no room above the mean the load decides, and not the key"
            ),
        ),
        (
            "balance = { by = \"hash\", key = \"client\", max-load = 1.004 }".to_owned(),
            format!(
                "balance.max-load: found the number 1.004 | {load} | with no room above the mean the load decides, and not the \
                 key"
            ),
        ),
        (
            "limits = { retries = 0, retry-budget = \"20%\" }".to_owned(),
            "limits.retry-budget: a budget of which nothing is spent | retries above 0 | with retries = 0 nothing is retried; \
             leave the budget out"
                .to_owned(),
        ),
        (
            "limits = { total = \"2s\", queue = { timeout = \"3s\" } }".to_owned(),
            "limits.queue: its timeout is longer than total | a timeout of at most total | the wait is a part of the whole: it \
             would end with the total, and this time never come"
                .to_owned(),
        ),
        (
            "limits = { hedge = \"30s\" }".to_owned(),
            "limits.hedge: a hedge together with a first-byte that is not longer is never made | less than first-byte | by then \
             the attempt is over"
                .to_owned(),
        ),
        (
            "limits = { hedge = \"3s\", total = \"2s\" }".to_owned(),
            "limits.hedge: a hedge together with a total that is not longer is never made | less than total | by then the \
             attempt is over"
                .to_owned(),
        ),
        (
            "health = { interval = \"1s\", timeout = \"1001ms\" }".to_owned(),
            "health.timeout: longer than the interval | at most the interval | a server is not asked again before the last probe \
             is over, so a slow one would be asked less often than that"
                .to_owned(),
        ),
        (
            "limits = { queue = { size = \"off\" } }".to_owned(),
            "limits.queue.size: this can't be switched off | a number from 1 to 65536 | a queue without a bound fills the \
             memory; queue = \"off\" is no queue"
                .to_owned(),
        ),
        (
            "limits = { in-flight-per-server = \"off\" }".to_owned(),
            "limits.in-flight-per-server: this can't be switched off | a number from 1 to 1000000 | without this limit nobody \
             would ever wait in the queue; a large number is as good as none"
                .to_owned(),
        ),
    ] {
        assert_eq!(said(&text), [format!("pool.app.{expected}")], "{text}");
    }
}

#[test]
fn a_weight_needs_others_whatever_the_algorithm() {
    let expected = "the only server has a weight | several servers, or no weight | a weight is a share relative to the other \
                    servers";
    for balance in ["", "balance = \"random\"", HASH] {
        let pool = "[listen]\nweb = \":1\"\n[pool.app]\nservers = [{ url = \"a:1\", weight = 2 }]";
        let text = format!("{pool}\n{balance}");
        assert_eq!(
            said_of("lb.toml", &text),
            [format!("pool.app.servers: {expected}")]
        );
    }
    let smallest = "port = \":1\"\nservers = [{ url = \"a:1\", weight = 2 }]";
    assert_eq!(
        said_of("lb.toml", smallest),
        [format!("servers: {expected}")]
    );
}

#[test]
fn what_needs_a_second_server_is_refused_where_there_is_one() {
    const HEAD: &str = "[listen]\nweb = \":1\"\n[pool.app]\n";
    let one = "servers = [\"a:1\"]";
    let standby = "servers = [{ url = \"a:1\" }, { url = \"a:2\", backup = true }]";
    let weight = "no weight there | a weight is a share relative to others, and backups serve only where no other server can";
    let hash = "balance: a hash of one server | several servers, or no hash | every key belongs to that one, and no load is \
                too much for it";
    let hedge = "limits.hedge: a hedge together with one server is never made | \"off\", or several servers | it goes to a \
                 second server, and never to a backup while others serve";
    for (text, expected) in [
        (format!("{one}\n{HASH}"), hash.to_owned()),
        (format!("{standby}\n{HASH}"), hash.to_owned()),
        (format!("{one}\nlimits = {{ hedge = \"50ms\" }}"), hedge.to_owned()),
        (format!("{standby}\nlimits = {{ hedge = \"p95\" }}"), hedge.to_owned()),
        (
            format!("{one}\npassive = {{ failures = 3 }}"),
            "passive: rules for the only server | \"off\", or several servers | the last server that is up always stays; \
             leave this out"
                .to_owned(),
        ),
        (
            "servers = [{ url = \"a:1\", weight = 5 }, { url = \"a:2\", backup = true }]".to_owned(),
            format!("servers: the only server that is no backup has a weight | {weight}"),
        ),
        (
            "servers = [\"a:1\", \"a:3\", { url = \"a:2\", backup = true, weight = 5 }]".to_owned(),
            format!("servers: the only backup has a weight | {weight}"),
        ),
    ] {
        let said = said_of("lb.toml", &format!("{HEAD}{text}"));
        assert_eq!(said, [format!("pool.app.{expected}")], "{text}");
    }
    for text in [
        format!("{one}\npassive = \"off\"\nlimits = {{ hedge = \"off\" }}"),
        format!("{standby}\npassive = {{ failures = 3 }}"),
        // Two backups share what a single server leaves them.
        format!("servers = [\"a:1\", {{ url = \"a:2\", backup = true }}, {{ url = \"a:3\", backup = true }}]\n{HASH}"),
        // Here everybody is tried together in the end.
        "servers = [{ url = \"a:1\", weight = 5 }, { url = \"a:2\", backup = true }]\nwhen-all-down = \"try-anyway\"".to_owned(),
    ] {
        read(&format!("{HEAD}{text}\n"));
    }
}

#[test]
fn what_only_looks_like_a_contradiction_is_taken() {
    for text in [
        format!("{HASH}\nslow-start = \"off\""),
        format!("{HASH}\nsticky = {{ cookie = \"lb\", key = \"0123456789abcdef\" }}"),
        "balance = { by = \"hash\", key = \"cookie:id\" }\nsticky = { cookie = \"lb\", key = \"0123456789abcdef\" }".to_owned(),
        "balance = { by = \"hash\", key = \"header:host\", max-load = 1.01 }".to_owned(),
        "sticky = { cookie = \"__Hostess\", key = \"0123456789abcdef\" }".to_owned(),
        "limits = { retries = 0, retry-budget = \"0%\" }".to_owned(),
        "limits = { total = \"500ms\", queue = { size = 9 } }".to_owned(),
        "limits = { total = \"2s\", queue = { timeout = \"2s\" } }".to_owned(),
        "limits = { in-flight-per-server = 1, queue = \"off\" }".to_owned(),
        "limits = { hedge = \"29s\", total = \"30s\" }".to_owned(),
        "health = { interval = \"1s\", timeout = \"1s\" }".to_owned(),
        "health = \"off\"\npassive = \"off\"\nwhen-all-down = \"try-anyway\"".to_owned(),
    ] {
        with(&text);
    }
}
