//! What grows with the number of members, and how fast: `cargo bench -p lb-core --bench growth`.
//!
//! Prints a table of nanoseconds, with 10, 1,000 and 10,000 members:
//!
//! * on the path of a request: a whole attempt (pick, lease, first byte, answered) under every algorithm, with about as many
//!   attempts under way as there are members;
//! * beside it, in the monitor: a probe that changes nothing, from when it is due until it is due again; a probe that changes who
//!   is eligible, with the snapshot that is published for it; a look at all members, which the stall guard takes twice a second;
//! * when somebody is asked to leave or to return: the snapshot, for which an algorithm may have something to prepare;
//! * at the start: reading and checking a configuration, for each server in it.
//!
//! What the monitor does is the median of many times, all else the best of several runs.
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
use std::time::Instant as Clock;

use http::{Request, Response};
use lb_core::body::Body;
use lb_core::config;
use lb_core::config::settings::{Balance, Health, PoolSettings, ProbeSettings};
use lb_core::error::{Cause, Phase, TransportError};
use lb_core::event::{Observer, Transition};
use lb_core::health::monitor;
use lb_core::pool::SharedPool;
use lb_core::rng::Rng;
use lb_core::time::{Instant, Timer};
use lb_core::transport::{Attempt, Transport};

use shared::{NOW, algorithms, attempt, best, pool, settings, traffic};

const MEMBERS: [u16; 3] = [10, 1_000, 10_000];
/// One probe in so many fails.
const FAILING: u64 = 16;
/// So many probes that change somebody, and looks, are waited for.
const ENOUGH: usize = 50;

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
        "a probe that changes who is eligible",
        [few, many, most].map(|times| times.flip),
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
    flip: f64,
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
    let (timer, transport, flips) = (Told::default(), Connects::default(), Flips::default());
    let pool = SharedPool::new(&settings, Rng::new(1), Arc::new(flips.clone()), NOW);
    let mut monitor = pin!(monitor(&pool, &transport, &timer));
    let mut cx = Context::from_waker(Waker::noop());
    let (mut calm, mut flip, mut look) = (Vec::new(), Vec::new(), Vec::new());
    while flip.len() < ENOUGH || look.len() < ENOUGH {
        let (probes_before, flips_before) = (transport.probes(), flips.count());
        timer.go_on();
        let start = Clock::now();
        let polled = monitor.as_mut().poll(&mut cx);
        let took = start.elapsed().as_nanos() as f64;
        assert!(polled.is_pending(), "it never ends");
        let probes = transport.probes() - probes_before;
        match (probes, flips.count() - flips_before) {
            // The first verdict about each changes who is eligible, among ever more of them.
            _ if transport.probes() <= u64::from(members) => {}
            (0, _) => look.push(took),
            (1, 0) => calm.push(took),
            (1, 1) => flip.push(took),
            _ => {}
        }
    }
    Watched {
        calm: median(calm),
        flip: median(flip),
        look: median(look),
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A member is asked to leave, and the next time to return.
fn leaving(settings: &PoolSettings) -> f64 {
    let pool = pool(settings);
    let name = &*settings.servers[settings.servers.len() / 2].name;
    let mut drains = false;
    best(|_| {
        drains = !drains;
        let known = match drains {
            true => pool.drain(name, NOW),
            false => pool.ready(name, NOW),
        };
        black_box(known).expect("it is a member");
    })
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

/// Every connection is made at once, but for those that are refused now and then.
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
        let number = self.probes.fetch_add(1, Ordering::Relaxed);
        if number % FAILING == FAILING - 1 {
            return Err(TransportError::undelivered(Phase::Connect, Cause::Refused));
        }
        Ok(())
    }
}

/// How many members changed their state.
#[derive(Clone, Default)]
struct Flips(Arc<AtomicU64>);

impl Flips {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Observer for Flips {
    fn transition(&self, _: &Transition<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
