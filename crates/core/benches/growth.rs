//! What grows with the number of members, and how fast: `cargo bench -p lb-core --bench growth`.
//!
//! Prints a table of nanoseconds, with 10, 1,000 and 10,000 members:
//!
//! * on the path of a request: a whole attempt (pick, lease, first byte, answered) under every algorithm, with about as many
//!   attempts under way as there are members;
//! * beside it, in the monitor: a probe that changes nothing, from when it is due until it is due again; a look at all members,
//!   which the stall guard takes twice a second;
//! * when somebody is asked to leave or to return, up to the monitor's step that publishes the snapshot, for which an algorithm
//!   may have something to prepare;
//! * at the start: reading and checking a configuration, for each server in it.
//!
//! What the monitor does or takes part in is the median of many times, all else the best of several runs.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod shared;

use std::fmt::Write as _;
use std::future::Future;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant as Clock};

use http::{Request, Response};
use lb_core::body::Body;
use lb_core::config;
use lb_core::config::settings::{Balance, Health, PoolSettings, ProbeSettings};
use lb_core::error::TransportError;
use lb_core::event::Silent;
use lb_core::health::monitor;
use lb_core::pool::SharedPool;
use lb_core::rng::Rng;
use lb_core::time::{Instant, Timer};
use lb_core::transport::{Attempt, Transport};

use shared::{NOW, algorithms, attempt, best, pool, settings, traffic};

const MEMBERS: [u16; 3] = [10, 1_000, 10_000];
/// So many of each thing that the monitor does are waited for.
const ENOUGH: usize = 50;
/// Longer than the monitor pauses between two snapshots.
const PAUSE: Duration = Duration::from_millis(60);

fn main() {
    println!("| ns | 10 members | 1,000 members | 10,000 members |");
    println!("|---|--:|--:|--:|");
    for (name, balance, weights) in algorithms() {
        let times = MEMBERS.map(|members| {
            let pool = pool(&settings(members, &balance, weights));
            let _under_way = traffic(&pool, members);
            best(|rng| attempt(&pool, rng))
        });
        row(&format!("an attempt, {name}"), times);
    }
    let [few, many, most] = MEMBERS.map(watched);
    row(
        "a probe that changes nothing",
        [few, many, most].map(|times| times.calm),
    );
    row(
        "a look at all members",
        [few, many, most].map(|times| times.look),
    );
    for (name, balance, weights) in algorithms() {
        let times = MEMBERS.map(|members| leaving(&settings(members, &balance, weights)));
        row(&format!("one leaves or returns, {name}"), times);
    }
    row("a configuration, for each server", MEMBERS.map(checking));
}

fn row(name: &str, [few, many, most]: [f64; 3]) {
    println!("| {name} | {few:.0} | {many:.0} | {most:.0} |");
}

/// What the monitor does, each in nanoseconds.
#[derive(Clone, Copy)]
struct Watched {
    calm: f64,
    look: f64,
}

/// Drives the monitor of a pool from one thing that is due to the next.
fn watched(members: u16) -> Watched {
    let settings = PoolSettings {
        health: Health::Probes(ProbeSettings {
            rise: NonZeroU32::MIN,
            fall: NonZeroU32::MIN,
            ..ProbeSettings::default()
        }),
        ..settings(members, &Balance::RoundRobin, 1)
    };
    let (timer, transport) = (Told::default(), Connects::default());
    let pool = SharedPool::new(&settings, Rng::new(1), Arc::new(Silent), NOW);
    let mut monitor = pin!(monitor(&pool, &transport, &timer));
    let (mut calm, mut look) = (Vec::new(), Vec::new());
    while calm.len() < ENOUGH || look.len() < ENOUGH {
        let before = transport.probes();
        timer.go_on();
        let start = Clock::now();
        step(monitor.as_mut());
        let took = start.elapsed().as_nanos() as f64;
        match transport.probes() - before {
            // The first verdict about each changes who is eligible, among ever more of them.
            _ if transport.probes() <= u64::from(members) => {}
            0 => look.push(took),
            1 => calm.push(took),
            _ => {}
        }
    }
    Watched {
        calm: median(calm),
        look: median(look),
    }
}

/// Lets the monitor do what is due.
fn step(monitor: Pin<&mut impl Future>) {
    let polled = monitor.poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "it never ends");
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A member is asked to leave, and the next time to return, and the monitor takes note.
fn leaving(settings: &PoolSettings) -> f64 {
    let (timer, transport) = (Told::default(), Connects::default());
    let pool = pool(settings);
    let mut monitor = pin!(monitor(&pool, &transport, &timer));
    step(monitor.as_mut());
    let name = &*settings.servers[settings.servers.len() / 2].name;
    let turn = |turn: usize| {
        timer.pass(PAUSE);
        let start = Clock::now();
        let known = match turn % 2 {
            0 => pool.drain(name, timer.now()),
            _ => pool.ready(name, timer.now()),
        };
        step(monitor.as_mut());
        known.expect("it is a member");
        start.elapsed().as_nanos() as f64
    };
    median((0..ENOUGH).map(turn).collect())
}

/// Reading and checking a configuration, for each of its servers.
fn checking(servers: u16) -> f64 {
    let mut text = String::from("[listen]\nweb = \":8080\"\n[pool.app]\nservers = [\n");
    for port in 1..=servers {
        let _ = writeln!(text, "  \"192.0.2.1:{port}\",");
    }
    text.push_str("]\n");
    let read = |_: &Rng| {
        let settings = config::parse("lb.toml", text.as_bytes(), &|_| None);
        assert!(black_box(settings).is_ok());
    };
    best(read) / f64::from(servers)
}

/// Time that stands still until it is told to go on, to the last deadline that was asked for.
#[derive(Clone, Default)]
struct Told {
    now: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Told {
    fn go_on(&self) {
        self.now
            .fetch_max(self.asked.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn pass(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).expect("a short time");
        self.now.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Timer for Told {
    type Sleep = Until;

    fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, deadline: Instant) -> Until {
        self.asked.store(deadline.as_nanos(), Ordering::Relaxed);
        Until(deadline, self.clone())
    }
}

struct Until(Instant, Told);

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.1.now() < self.0 {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// Every connection is made at once.
#[derive(Default)]
struct Connects {
    probes: AtomicU64,
}

impl Connects {
    fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }
}

impl Transport for Connects {
    async fn send(
        &self,
        _: &Attempt<'_>,
        _: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        Ok(Response::new(Body::empty()))
    }

    async fn check(&self, _: &Attempt<'_>) -> Result<(), TransportError> {
        self.probes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
