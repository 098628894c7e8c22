//! What a pick costs: `cargo bench -p lb-core --bench pick`.
//!
//! Prints for every algorithm, with 3, 100 and 10,000 members, in nanoseconds: the picker's choice alone (`pick`); the choice in
//! the shared pool with its lease, dropped (`lease`); the same with its decision told before (`explained`), as for a trusted peer
//! that asks, which is what a lease does not pay for where nobody asks; a whole attempt (lease, first byte, answered); the lease again with as many
//! threads as there are cores, all at one pool; and how long the pool took to build. About as many attempts as there are members are
//! under way meanwhile.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use http::StatusCode;
use lb_core::backend::{Address, Backend};
use lb_core::config::settings::{Balance, HashBalance, HashKey, HashRing, Health, PoolSettings};
use lb_core::event::Silent;
use lb_core::picker::{Query, Tried, algorithm};
use lb_core::pool::{Lease, Outcome, SharedPool};
use lb_core::rng::Rng;
use lb_core::time::Instant;

/// How long one run takes, and how many there are: the best counts, because the machine has other things to do.
const RUN: Duration = Duration::from_millis(4);
const RUNS: usize = 15;
const NOW: Instant = Instant::ORIGIN;

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shared = format!("by {cores} threads");
    println!(
        "ns each, best of {RUNS}       members     pick    lease  explained  attempt {shared:>13}   build us"
    );
    for (name, balance, weights) in algorithms() {
        for members in [3, 100, 10_000] {
            let settings = settings(members, &balance, weights);
            let started = Clock::now();
            let pool = SharedPool::new(&settings, Rng::new(1), Arc::new(Silent), NOW);
            let build = started.elapsed().as_micros();
            // As in traffic: attempts are under way all the time.
            let first = Rng::new(7);
            let under_way: Vec<_> = (0..members).filter_map(|_| begin(&pool, &first)).collect();
            let picker = algorithm(&settings).build(pool.snapshot().members(), None);
            let fresh = Tried::new();
            let pick = best(|rng| {
                let key = Some(rng.next_u64());
                black_box(picker.pick(&Query::new(&fresh, NOW, rng).with_key(key)));
            });
            let lease = best(|rng| drop(black_box(begin(&pool, rng))));
            let explained = best(|rng| {
                let (key, fresh) = (Some(rng.next_u64()), Tried::new());
                black_box(pool.explain(&Query::new(&fresh, NOW, rng).with_key(key), None));
                drop(black_box(begin(&pool, rng)));
            });
            let attempt = best(|rng| {
                if let Some(mut lease) = begin(&pool, rng) {
                    lease.byte(NOW);
                    lease.finish(Outcome::Answered(StatusCode::OK), NOW);
                }
            });
            let shared = std::thread::scope(|scope| {
                let lease = |rng: &Rng| drop(black_box(begin(&pool, rng)));
                let threads: Vec<_> = (0..cores)
                    .map(|_| scope.spawn(move || best(lease)))
                    .collect();
                let slowest = |thread: std::thread::ScopedJoinHandle<'_, f64>| thread.join();
                threads.into_iter().flat_map(slowest).fold(0.0, f64::max)
            });
            drop(under_way);
            println!(
                "{name:27} {members:6} {pick:8.1} {lease:8.1} {explained:10.0} {attempt:8.1} {shared:13.1} {build:10}"
            );
        }
    }
}

/// An attempt by a client of its own.
fn begin(pool: &Arc<SharedPool>, rng: &Rng) -> Option<Lease> {
    let key = Some(rng.next_u64());
    pool.pick_by(key, &mut Tried::new(), rng, NOW)
}

fn algorithms() -> Vec<(&'static str, Balance, u32)> {
    let hash = |ring, max_load_percent| {
        Balance::Hash(HashBalance {
            key: HashKey::Client,
            ring,
            max_load_percent,
        })
    };
    vec![
        ("round-robin", Balance::RoundRobin, 1),
        ("round-robin, weights 1 to 9", Balance::RoundRobin, 9),
        ("random", Balance::Random, 1),
        ("random, weights 1 to 9", Balance::Random, 9),
        ("least-requests", Balance::LeastRequests, 1),
        ("p2c", Balance::P2c, 1),
        ("peak-ewma", Balance::PeakEwma, 1),
        ("rendezvous", hash(HashRing::Rendezvous, None), 1),
        (
            "rendezvous, weights 1 to 9",
            hash(HashRing::Rendezvous, None),
            9,
        ),
        ("ketama", hash(HashRing::Ketama, None), 1),
        (
            "ketama, max-load 1.25",
            hash(HashRing::Ketama, Some(125)),
            1,
        ),
        ("maglev", hash(HashRing::Maglev, None), 1),
        (
            "maglev, max-load 1.25",
            hash(HashRing::Maglev, Some(125)),
            1,
        ),
    ]
}

/// Nanoseconds per round, of the best run.
fn best(mut round: impl FnMut(&Rng)) -> f64 {
    let rng = Rng::new(1);
    let run = |_| {
        let (start, mut rounds) = (Clock::now(), 0u32);
        while start.elapsed() < RUN {
            // The clock is read now and then only; a round that takes long is a batch of its own.
            let batch = if rounds == 0 { 1 } else { 100.min(rounds) };
            (0..batch).for_each(|_| round(&rng));
            rounds += batch;
        }
        start.elapsed().as_nanos() as f64 / f64::from(rounds)
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}

fn settings(members: u16, balance: &Balance, weights: u32) -> PoolSettings {
    let backend = |port| Backend {
        weight: NonZeroU32::MIN.saturating_add(u32::from(port) % weights),
        ..Backend::new(Address {
            host: "192.0.2.1".into(),
            port,
        })
    };
    PoolSettings {
        health: Health::Off,
        balance: balance.clone(),
        ..PoolSettings::new("app", (1..=members).map(backend).collect())
    }
}
