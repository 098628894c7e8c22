//! Values that are refused for what they are, and what is said about them.

use super::BASE;
use super::wrong::{said, said_of};

#[test]
fn values_out_of_bounds_are_refused_with_the_reason() {
    let duration = "a duration such as \"2s\" | the units are ms, s, m and h";
    for (text, message) in [
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
            "limits = { in-flight-per-server = 0 }".to_owned(),
            "pool.app.limits.in-flight-per-server: found 0 | a number from 1 to 1000000 | more than a server can do at \
             once only makes all of it slow"
                .to_owned(),
        ),
        (
            "limits = { queue = { size = 0 } }".to_owned(),
            "pool.app.limits.queue.size: found 0 | a number from 1 to 65536 | \"off\" is no queue; each request that \
             waits costs memory"
                .to_owned(),
        ),
        (
            "limits = { queue = { timeout = \"0s\" } }".to_owned(),
            "pool.app.limits.queue.timeout: found a zero duration | a duration above zero | nothing can happen within no \
             time at all"
                .to_owned(),
        ),
        (
            "limits = { hedge = \"p49\" }".to_owned(),
            "pool.app.limits.hedge: found `p49` | a percentile from \"p50\" to \"p99\", or a duration such as \"50ms\" | so \
             many of a hundred answers begin sooner; the others are asked for twice"
                .to_owned(),
        ),
        (
            "limits = { hedge = 50 }".to_owned(),
            "pool.app.limits.hedge: found the number 50 without a unit | a duration such as \"2s\" | the units are ms, s, m \
             and h"
                .to_owned(),
        ),
        (
            "limits = { hedge = \"50ms\", retries = 0 }".to_owned(),
            "pool.app.limits.hedge: a hedge together with retries = 0 is never made | \"off\" | a hedge is one of the \
             retries, and paid from their budget"
                .to_owned(),
        ),
        (
            "limits = { hedge = \"p95\", retry-budget = \"0%\" }".to_owned(),
            "pool.app.limits.hedge: a hedge together with retry-budget = \"0%\" is never made | \"off\" | a hedge is one of \
             the retries, and paid from their budget"
                .to_owned(),
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
            "log.access: unknown: `error` | \"off\", \"errors\", \"all\" or a fraction such as 0.01 | did you mean \
             \"errors\"?"
                .to_owned(),
        ),
        (
            "[log]\naccess = \"1.5\"".to_owned(),
            "log.access: found the number 1.5 | \"off\", \"errors\", \"all\" or a fraction such as 0.01 | a fraction lies between \
             0 and 1"
                .to_owned(),
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
            "[limits]\ntrusted-proxies = [\"10.0.0.0/8\"]\n[debug]\ndecision-header = \"Set-Cookie\"".to_owned(),
            "debug.decision-header: `Set-Cookie` has a meaning of its own | the name of a header field such as \
             \"X-LB-Decision\" | choose a name that nobody else uses"
                .to_owned(),
        ),
        (
            "[limits]\ntrusted-proxies = [\"10.0.0.0/8\"]\n[debug]\nbackend-header = \"X-A\"\ndecision-header = \"x-a\"".to_owned(),
            "debug.decision-header: backend-header has this name already | a name of its own | ".to_owned(),
        ),
        (
            "[debug]\ndecision-header = \"X-LB-Decision\"".to_owned(),
            "debug.decision-header: nobody could see it | limits.trusted-proxies beside it | only these may ask for it; state \
             their networks, or leave the key out"
                .to_owned(),
        ),
        (
            "[limits]\nretries = 1".to_owned(),
            "limits.retries: unknown key |  | the keys here are trusted-proxies, head-bytes, header-count, head-timeout, \
             body-idle, keep-alive-idle, connections, body-bytes, tunnel-idle, shutdown-delay, shutdown-grace"
                .to_owned(),
        ),
    ] {
        assert_eq!(said(&text), [message], "{text}");
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
