//! What would run, in words.

use std::fmt::{Display, Write as _};

use super::settings::{
    AccessLog, Adaptive, AdaptiveMode, Check, Health, HedgeAfter, Limits, ListenAddress, LogFormat,
    LogSettings, Passive, PoolLimits, PoolSettings, QueueSettings, Settings, StatusRanges,
    WhenAllDown, Workers,
};
use super::value::{show_duration, show_size};

/// What a balancer with these settings would do, as lines for a person: listeners, pool, servers, health, and whatever
/// differs from the defaults.
pub fn summary(settings: &Settings) -> String {
    let mut lines = Lines::default();
    for listener in &settings.listeners {
        let address = match listener.address {
            ListenAddress::Any(port) => format!(":{port} (every address)"),
            ListenAddress::Exact(address) => address.to_string(),
        };
        lines.row("listen", &format_args!("{} on {address}", listener.name));
    }
    let pool = &settings.pool;
    let count = pool.servers.len();
    let servers = if count == 1 { "server" } else { "servers" };
    lines.row(
        "pool",
        &format_args!("{}: {count} {servers}, {}", pool.name, pool.balance),
    );
    if let Some((subset, fleet)) = &pool.subset {
        let (number, of) = (subset.balancer, subset.of);
        let row = format!("these of {fleet}, for balancer {number} of {of} (from 0 on)");
        lines.row("subset", &row);
    }
    for server in &pool.servers {
        let address = server.address.to_string();
        let weight = match server.weight.get() {
            1 => String::new(),
            weight => format!(", weight {weight}"),
        };
        let backup = if server.backup { ", a backup" } else { "" };
        let facts = format!("{weight}{backup}");
        if *server.name == *address {
            lines.row("", &format_args!("{address}{facts}"));
        } else {
            lines.row("", &format_args!("{} at {address}{facts}", server.name));
        }
    }
    lines.row("health", &health(&pool.health));
    rules(pool, &mut lines);
    match settings.workers {
        Workers::Auto => lines.row("workers", &"one per core"),
        Workers::Count(count) => lines.row("workers", &count),
    }
    lines.row("log", &log(settings.log));
    if let Some(header) = &settings.debug.backend_header {
        lines.row(
            "debug",
            &format_args!("responses name the server in {header}"),
        );
    }
    if let Some(header) = &settings.debug.decision_header {
        lines.row(
            "debug",
            &format_args!("trusted proxies may ask for the decision, in {header}"),
        );
    }
    let mut label = "limits";
    let changed = pool_limits(&pool.limits)
        .into_iter()
        .zip(pool_limits(&PoolLimits::default()));
    for ((key, value), (_, default)) in changed {
        if value != default {
            let row = format!(
                "pool.{}.limits.{key} = {value} (default {default})",
                pool.name
            );
            lines.row(std::mem::take(&mut label), &row);
        }
    }
    let changed = limits(&settings.limits)
        .into_iter()
        .zip(limits(&Limits::default()));
    for ((key, value), (_, default)) in changed {
        if value != default {
            let row = format!("limits.{key} = {value} (default {default})");
            lines.row(std::mem::take(&mut label), &row);
        }
    }
    lines.0
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn row(&mut self, label: &str, text: &dyn Display) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "{label:<8} {text}");
    }
}

fn health(health: &Health) -> String {
    let Health::Probes(probes) = health else {
        return "off: traffic alone decides".to_owned();
    };
    let check = match &probes.check {
        Check::Tcp => "TCP connect".to_owned(),
        Check::Http(check) => {
            let body = match check.body {
                Some(_) => " and its text",
                None => "",
            };
            let statuses = ranges(&check.expect);
            format!("{} {} expecting {statuses}{body}", check.method, check.path)
        }
    };
    format!(
        "{check}, every {} ({} while not up), timeout {}, rise {}, fall {}",
        show_duration(probes.interval),
        show_duration(probes.interval_down),
        show_duration(probes.timeout),
        probes.rise,
        probes.fall
    )
}

/// What differs from the defaults in how members leave and return.
fn rules(pool: &PoolSettings, lines: &mut Lines) {
    if pool.passive != Some(Passive::default()) {
        lines.row("passive", &passive(pool.passive.as_ref()));
    }
    if pool.when_all_down == WhenAllDown::TryAnyway {
        lines.row("all down", &"any server is tried");
    }
    if let Some(sticky) = &pool.sticky {
        lines.row("sticky", &format_args!("cookie {}", sticky.cookie));
    }
    let default = PoolSettings::new("", Vec::new());
    if pool.slow_start != default.slow_start {
        let window = pool.slow_start.map_or_else(off, show_duration);
        let default = default.slow_start.map_or_else(off, show_duration);
        lines.row(
            "return",
            &format_args!("slow start {window} (default {default})"),
        );
    }
}

fn passive(rules: Option<&Passive>) -> String {
    let Some(rules) = rules else {
        return "off: failing requests eject nobody".to_owned();
    };
    let share = match rules.share_percent {
        Some(percent) => format!(" or {percent}% of 10s"),
        None => String::new(),
    };
    let latency = match rules.latency_factor {
        Some(factor) => format!(" or {factor} times the others' latency"),
        None => String::new(),
    };
    format!(
        "{} failures in a row{share}{latency} eject for {}, at most {}% of the pool",
        rules.failures,
        show_duration(rules.eject),
        rules.max_ejected_percent
    )
}

fn ranges(statuses: &StatusRanges) -> String {
    let range = |range: &std::ops::RangeInclusive<u16>| match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let ranges: Vec<String> = statuses.ranges().iter().map(range).collect();
    ranges.join(",")
}

fn log(log: LogSettings) -> String {
    let access = match log.access {
        AccessLog::Off => "no requests".to_owned(),
        AccessLog::Errors => "failed requests".to_owned(),
        AccessLog::All => "all requests".to_owned(),
        AccessLog::Share(share) => format!("failed requests and {share} of the others"),
    };
    let format = match log.format {
        LogFormat::Auto => "text on a terminal, else JSON",
        LogFormat::Text => "text",
        LogFormat::Json => "JSON",
    };
    format!("{access}, as {format}")
}

fn pool_limits(limits: &PoolLimits) -> [(&'static str, String); 11] {
    [
        ("retries", limits.retries.to_string()),
        ("retry-budget", format!("{}%", limits.retry_budget_percent)),
        ("hedge", limits.hedge.map_or_else(off, hedge)),
        ("connect", show_duration(limits.connect)),
        ("first-byte", show_duration(limits.first_byte)),
        ("body-idle", show_duration(limits.body_idle)),
        ("total", limits.total.map_or_else(off, show_duration)),
        ("idle-per-worker", limits.idle_per_worker.to_string()),
        (
            "in-flight-per-server",
            limits.in_flight_per_server.to_string(),
        ),
        ("adaptive-concurrency", adaptive(limits.adaptive)),
        ("queue", queue(limits.queue)),
    ]
}

fn hedge(after: HedgeAfter) -> String {
    match after {
        HedgeAfter::Time(time) => show_duration(time),
        HedgeAfter::Percentile(percent) => format!("p{percent}"),
    }
}

fn adaptive(limit: Adaptive) -> String {
    let mode = match limit.mode {
        AdaptiveMode::Off => return off(),
        AdaptiveMode::Observe => "observe",
        AdaptiveMode::On => "on",
    };
    format!("{mode}, {} to {}", limit.min, limit.max)
}

fn queue(queue: QueueSettings) -> String {
    match queue.size {
        0 => off(),
        size => format!("{size}, each for {}", show_duration(queue.timeout)),
    }
}

fn limits(limits: &Limits) -> [(&'static str, String); 11] {
    let proxies: Vec<String> = limits
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    [
        ("trusted-proxies", format!("[{}]", proxies.join(", "))),
        ("head-bytes", show_size(limits.head_bytes as u64)),
        ("header-count", limits.header_count.to_string()),
        ("head-timeout", show_duration(limits.head_timeout)),
        ("body-idle", show_duration(limits.body_idle)),
        ("keep-alive-idle", show_duration(limits.keep_alive_idle)),
        ("connections", limits.connections.to_string()),
        ("body-bytes", limits.body_bytes.map_or_else(off, show_size)),
        ("tunnel-idle", show_duration(limits.tunnel_idle)),
        ("shutdown-delay", show_duration(limits.shutdown_delay)),
        ("shutdown-grace", show_duration(limits.shutdown_grace)),
    ]
}

fn off() -> String {
    "off".to_owned()
}

#[cfg(test)]
mod tests {
    use crate::config::{parse, summary};

    #[test]
    fn the_summary_shows_what_runs_and_what_differs_from_the_defaults() {
        let text = br#"
            workers = 2
            [listen]
            web = ":8080"
            local = "127.0.0.1:0"
            [pool.app]
            servers = ["127.0.0.1:9001", { url = "localhost:9002", name = "s2", backup = true }]
            when-all-down = "try-anyway"
            health = { path = "/up", interval = "1m30s", expect = "200-299,304" }
            passive = { failures = 3 }
            slow-start = "off"
            limits = { retries = 1, total = "1m" }
            [limits]
            trusted-proxies = ["10.0.0.0/8", "192.0.2.1"]
            body-bytes = "10MiB"
            [log]
            access = 0.01
            [debug]
            backend-header = "X-Served-By"
        "#;
        let settings = parse("lb.toml", text, &|_| None).unwrap();
        assert_eq!(
            summary(&settings),
            "listen   web on :8080 (every address)
listen   local on 127.0.0.1:0
pool     app: 2 servers, round-robin
         127.0.0.1:9001
         s2 at localhost:9002, a backup
health   GET /up expecting 200-299,304, every 1m30s (200ms while not up), timeout 1s, rise 2, fall 3
passive  3 failures in a row or 50% of 10s eject for 30s, at most 50% of the pool
all down any server is tried
return   slow start off (default 10s)
workers  2
log      failed requests and 0.01 of the others, as text on a terminal, else JSON
debug    responses name the server in x-served-by
limits   pool.app.limits.retries = 1 (default 2)
         pool.app.limits.total = 1m (default off)
         limits.trusted-proxies = [10.0.0.0/8, 192.0.2.1/32] (default [])
         limits.body-bytes = 10MiB (default off)
"
        );
    }

    #[test]
    fn untouched_defaults_are_not_listed() {
        let text = b"[listen]\nweb = \":1\"\n[pool.app]\nservers = [\"a:1\"]\nhealth = \"off\"\n";
        let settings = parse("lb.toml", text, &|_| None).unwrap();
        assert_eq!(
            summary(&settings),
            "listen   web on :1 (every address)
pool     app: 1 server, round-robin
         a:1
health   off: traffic alone decides
workers  one per core
log      failed requests, as text on a terminal, else JSON
"
        );
    }
}
