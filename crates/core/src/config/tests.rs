//! Whole files: what right ones mean, and what wrong ones are told.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use http::Method;

use super::parse;
use super::settings::*;
use crate::backend::{Address, Backend};

mod adaptive;
mod balance;
mod bounds;
mod checks;
mod combinations;
mod hostile;
mod leaving;
mod subset;
mod wrong;

/// The smallest canonical file, to which a test adds.
const BASE: &str = "[listen]\nweb = \":8080\"\n[pool.app]\nservers = [\"a:1\", \"b:2\"]\n";

fn read(text: &str) -> Settings {
    match parse("lb.toml", text.as_bytes(), &|_| None) {
        Ok(settings) => settings,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// [`BASE`] and more.
fn with(text: &str) -> Settings {
    read(&format!("{BASE}{text}"))
}

fn probes(settings: &Settings) -> &ProbeSettings {
    match &settings.pool.health {
        Health::Probes(probes) => probes,
        Health::Off => panic!("no probes"),
    }
}

fn server(host: &str, port: u16) -> Backend {
    Backend::new(Address {
        host: host.into(),
        port,
    })
}

/// The tutorial's `config.json`, to the byte.
const TUTORIAL: &str = r#"{
  "port": ":8080",
  "healthCheckInterval": "2s",
  "servers": [
    "http://localhost:5001",
    "http://localhost:5002",
    "http://localhost:5003",
    "http://localhost:5004",
    "http://localhost:5005"
  ]
}
"#;

#[test]
fn the_tutorials_json_behaves_as_the_tutorial_did() {
    let settings = parse("config.json", TUTORIAL.as_bytes(), &|_| None).unwrap();
    assert_eq!(
        settings.listeners,
        [Listener {
            name: "web".into(),
            address: ListenAddress::Any(8080),
            origin: Origin::default(),
        }]
    );
    let ports = 5001..=5005;
    let servers: Vec<Backend> = ports.map(|port| server("localhost", port)).collect();
    assert_eq!(&*settings.pool.name, "app");
    assert_eq!(settings.pool.servers, servers);
    assert_eq!(
        settings.pool.health,
        Health::Probes(ProbeSettings {
            check: Check::from(HttpCheck {
                method: Method::HEAD,
                expect: StatusRanges::new(vec![200..=200]),
                ..HttpCheck::get("/".parse().unwrap())
            }),
            interval: Duration::from_secs(2),
            interval_down: Duration::from_millis(200),
            timeout: Duration::from_secs(1),
            rise: NonZeroU32::MIN,
            fall: NonZeroU32::MIN,
        })
    );
    // The name of the file does not matter, nor do blanks in front or a byte order mark.
    let moved = format!("\u{feff}\n  {TUTORIAL}");
    assert_eq!(parse("lb.conf", moved.as_bytes(), &|_| None), Ok(settings));
}

#[test]
fn the_smallest_form_is_the_same_in_toml() {
    let toml = "port = \":8080\"\nhealthCheckInterval = \"2s\"\nservers = [\"http://localhost:5001\", \
        \"http://localhost:5002\", \"http://localhost:5003\", \"http://localhost:5004\", \
        \"http://localhost:5005\"]\n";
    let json = parse("config.json", TUTORIAL.as_bytes(), &|_| None).unwrap();
    assert_eq!(read(toml), json);
}

#[test]
fn the_smallest_form_takes_the_general_sections() {
    let settings = read("port = \":1\"\nservers = [\"a:1\"]\n[log]\naccess = \"all\"\n");
    assert_eq!(settings.log.access, AccessLog::All);
    assert_eq!(probes(&settings).interval, Duration::from_secs(2));
}

#[test]
fn the_canonical_form_has_the_defaults() {
    let settings = with("");
    let expected = Settings {
        workers: Workers::Auto,
        listeners: vec![Listener {
            name: "web".into(),
            address: ListenAddress::Any(8080),
            origin: Origin::default(),
        }],
        pool: PoolSettings::new("app", vec![server("a", 1), server("b", 2)]),
        limits: Limits::default(),
        log: LogSettings::default(),
        debug: DebugSettings::default(),
    };
    assert_eq!(settings, expected);
}

#[test]
fn json_takes_the_canonical_form_too() {
    let json = r#"{"listen": {"web": {"address": ":8080"}}, "pool": {"app": {"servers": ["a:1", {"url": "b:2"}]}}}"#;
    assert_eq!(parse("x.json", json.as_bytes(), &|_| None), Ok(with("")));
}

#[test]
fn each_general_key_reaches_its_setting() {
    let settings = read(
        r#"
        workers = 4
        [listen.web]
        address = "0.0.0.0:80"
        [listen]
        admin = "[::1]:81"
        [pool.app]
        servers = ["a:1"]
        [limits]
        trusted-proxies = ["10.0.0.0/8", "::1"]
        head-bytes = "32KiB"
        header-count = 50
        head-timeout = "5s"
        body-idle = "6s"
        keep-alive-idle = "7s"
        connections = 8
        body-bytes = "9MiB"
        tunnel-idle = "10m"
        shutdown-delay = "11s"
        shutdown-grace = "0s"
        [log]
        access = 0.5
        format = "json"
        [debug]
        backend-header = "X-Forwarded-Server"
        decision-header = "X-LB-Decision"
        "#,
    );
    assert_eq!(
        settings.workers,
        Workers::Count(NonZeroUsize::new(4).unwrap())
    );
    let names: Vec<&str> = settings.listeners.iter().map(|l| &*l.name).collect();
    assert_eq!(names, ["web", "admin"]);
    let network = |ip: &str, prefix| Network::new(ip.parse().unwrap(), prefix).unwrap();
    assert_eq!(
        settings.limits,
        Limits {
            trusted_proxies: vec![network("10.0.0.0", 8), network("::1", 128)],
            head_bytes: 32 << 10,
            header_count: 50,
            head_timeout: Duration::from_secs(5),
            body_idle: Duration::from_secs(6),
            keep_alive_idle: Duration::from_secs(7),
            connections: 8,
            body_bytes: Some(9 << 20),
            tunnel_idle: Duration::from_secs(600),
            shutdown_delay: Duration::from_secs(11),
            shutdown_grace: Duration::ZERO,
        }
    );
    assert_eq!(
        settings.log,
        LogSettings {
            access: AccessLog::Share(0.5),
            format: LogFormat::Json
        }
    );
    let summary = crate::config::summary(&settings);
    assert!(summary.contains("trusted proxies may ask for the decision, in x-lb-decision"));
    assert_eq!(settings.debug.backend_header.unwrap(), "x-forwarded-server");
    assert_eq!(settings.debug.decision_header.unwrap(), "x-lb-decision");
}

#[test]
fn each_key_of_a_pool_reaches_its_setting() {
    let settings = read(
        r#"
        listen = { web = ":1" }
        [pool.shop]
        servers = [{ url = "http://a", name = "s1", weight = 1 }, "b:2"]
        balance = { by = "round-robin" }
        [pool.shop.health]
        method = "HEAD"
        path = "/up?full=1"
        interval = "5s"
        interval-down = "3s"
        timeout = "4s"
        rise = 6
        fall = 7
        expect = "200, 300-399"
        [pool.shop.limits]
        retries = 1
        retry-budget = "50%"
        connect = "1s"
        first-byte = "2s"
        body-idle = "3s"
        total = "8s"
        idle-per-worker = 0
        in-flight-per-server = 9
        queue = { size = 8, timeout = "7s" }
        "#,
    );
    let first = Backend {
        name: "s1".into(),
        ..server("a", 80)
    };
    let pool = PoolSettings {
        health: Health::Probes(ProbeSettings {
            check: Check::from(HttpCheck {
                method: Method::HEAD,
                expect: StatusRanges::new(vec![200..=200, 300..=399]),
                ..HttpCheck::get("/up?full=1".parse().unwrap())
            }),
            interval: Duration::from_secs(5),
            interval_down: Duration::from_secs(3),
            timeout: Duration::from_secs(4),
            rise: NonZeroU32::new(6).unwrap(),
            fall: NonZeroU32::new(7).unwrap(),
        }),
        limits: PoolLimits {
            retries: 1,
            retry_budget_percent: 50,
            hedge: None,
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(2),
            body_idle: Duration::from_secs(3),
            total: Some(Duration::from_secs(8)),
            idle_per_worker: 0,
            in_flight_per_server: 9,
            adaptive: Adaptive {
                max: 9,
                ..Adaptive::default()
            },
            queue: QueueSettings {
                size: 8,
                timeout: Duration::from_secs(7),
            },
        },
        ..PoolSettings::new("shop", vec![first, server("b", 2)])
    };
    assert_eq!(settings.pool, pool);
}

#[test]
fn a_hedge_is_off_a_time_or_a_percentile() {
    let hedge = |text: &str| with(&format!("limits = {{ {text} }}")).pool.limits.hedge;
    assert_eq!(hedge(""), None);
    assert_eq!(hedge("hedge = \"off\", retries = 0"), None);
    let time = HedgeAfter::Time(Duration::from_millis(50));
    assert_eq!(hedge("hedge = \"50ms\""), Some(time));
    let percentile = HedgeAfter::Percentile(95);
    assert_eq!(hedge("hedge = \"p95\""), Some(percentile));
}

#[test]
fn a_queue_can_be_off_and_has_limits_by_default() {
    let queue = |text: &str| with(text).pool.limits.queue;
    assert_eq!(queue("limits = { queue = \"off\" }").size, 0);
    let default = QueueSettings::default();
    assert_eq!(queue("limits = { queue = {} }"), default);
    let size = QueueSettings { size: 3, ..default };
    assert_eq!(queue("limits = { queue = { size = 3 } }"), size);
}

#[test]
fn health_has_short_forms() {
    assert_eq!(with("health = \"off\"").pool.health, Health::Off);
    let long = with("health = { path = \"/up\" }").pool.health;
    assert_eq!(with("health = \"/up\"").pool.health, long);
    assert_eq!(with("health = {}").pool.health, with("").pool.health);
    let number = with("health = { path = \"/\", expect = 204 }");
    let text = with("health = { path = \"/\", expect = \"204\" }");
    assert_eq!(number.pool.health, text.pool.health);
}

#[test]
fn what_is_not_said_follows_from_the_interval() {
    for (interval, down, timeout) in [
        ("10s", 200_000, 1_000_000),
        ("1s", 200_000, 500_000),
        ("100ms", 100_000, 50_000),
        ("1ms", 1_000, 500),
    ] {
        let settings = with(&format!("health = {{ interval = \"{interval}\" }}"));
        let probes = probes(&settings);
        assert_eq!(probes.check, Check::Tcp);
        assert_eq!(
            probes.interval_down,
            Duration::from_micros(down),
            "{interval}"
        );
        assert_eq!(probes.timeout, Duration::from_micros(timeout), "{interval}");
    }
}

#[test]
fn off_is_no_limit_where_there_need_not_be_one() {
    let settings = with("limits = { total = \"off\" }\n[limits]\nbody-bytes = \"off\"");
    assert_eq!(settings.pool.limits.total, None);
    assert_eq!(settings.limits.body_bytes, None);
}

#[test]
fn access_is_a_word_or_a_fraction() {
    for (text, access) in [
        ("\"off\"", AccessLog::Off),
        ("\"errors\"", AccessLog::Errors),
        ("\"all\"", AccessLog::All),
        ("0.01", AccessLog::Share(0.01)),
        ("\"0.01\"", AccessLog::Share(0.01)),
        ("1", AccessLog::Share(1.0)),
        ("0", AccessLog::Share(0.0)),
    ] {
        let settings = with(&format!("[log]\naccess = {text}"));
        assert_eq!(settings.log.access, access, "{text}");
    }
}

#[test]
fn variables_reach_every_string() {
    let env = |name: &str| match name {
        "PORT" => Some("8081".to_owned()),
        "BACKEND" => Some("b:2".to_owned()),
        _ => None,
    };
    let text = "workers = \"${WORKERS:-3}\"\n[listen]\nweb = \":${PORT}\"\n[pool.app]\n\
        servers = [\"a:1\", { url = \"${BACKEND}\" }]\n";
    let settings = parse("lb.toml", text.as_bytes(), &env).unwrap();
    assert_eq!(
        settings.workers,
        Workers::Count(NonZeroUsize::new(3).unwrap())
    );
    assert_eq!(settings.listeners[0].address, ListenAddress::Any(8081));
    assert_eq!(settings.pool.servers[1], server("b", 2));
}
