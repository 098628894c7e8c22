//! What a pick costs: `cargo bench -p lb-core --bench pick`.
//!
//! Prints for every algorithm, with 3, 100 and 10,000 members: nanoseconds for a pick (its lease dropped), for a whole attempt
//! (pick, first byte, answered), for the pick with as many threads as there are cores, all at one pool; and how long
//! the pool took to build. As many attempts as there are members are under way meanwhile.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant as Clock;

use http::StatusCode;
use lb_core::backend::{Address, Backend};
use lb_core::config::settings::{Balance, HashBalance, HashKey, HashRing, Health, PoolSettings};
use lb_core::event::Silent;
use lb_core::picker::Tried;
use lb_core::pool::{Lease, Outcome, SharedPool};
use lb_core::rng::Rng;
use lb_core::time::Instant;

const ROUNDS: u32 = 200_000;
const NOW: Instant = Instant::ORIGIN;

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{:28} members   pick  attempt  pick by {cores} threads   (ns each)",
        ""
    );
    for (name, balance, weights) in algorithms() {
        for members in [3, 100, 10_000] {
            let started = Clock::now();
            let pool = pool(members, &balance, weights);
            let build = started.elapsed().as_micros();
            // As in traffic: a few attempts are under way all the time.
            let under_way: Vec<_> = (0..members)
                .filter_map(|_| begin(&pool, &Rng::new(7)))
                .collect();
            let pick = best(|rng| drop(black_box(begin(&pool, rng))));
            let attempt = best(|rng| {
                if let Some(mut lease) = begin(&pool, rng) {
                    lease.byte(NOW);
                    lease.finish(Outcome::Answered(StatusCode::OK), NOW);
                }
            });
            let shared = std::thread::scope(|scope| {
                let pick = |rng: &Rng| drop(black_box(begin(&pool, rng)));
                let threads: Vec<_> = (0..cores)
                    .map(|_| scope.spawn(move || best(pick)))
                    .collect();
                let slowest = |thread: std::thread::ScopedJoinHandle<'_, f64>| thread.join();
                threads.into_iter().flat_map(slowest).fold(0.0, f64::max)
            });
            drop(under_way);
            println!(
                "{name:28} {members:7} {pick:6.1} {attempt:8.1} {shared:10.1}   built in {build} us"
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

/// Nanoseconds per round, the best of five runs.
fn best(mut round: impl FnMut(&Rng)) -> f64 {
    let rng = Rng::new(1);
    let run = |_| {
        let start = Clock::now();
        (0..ROUNDS).for_each(|_| round(&rng));
        start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    };
    (0..5).map(run).fold(f64::INFINITY, f64::min)
}

fn pool(members: u16, balance: &Balance, weights: u32) -> Arc<SharedPool> {
    let backend = |port| Backend {
        weight: NonZeroU32::MIN.saturating_add(u32::from(port) % weights),
        ..Backend::new(Address {
            host: "192.0.2.1".into(),
            port,
        })
    };
    let settings = PoolSettings {
        health: Health::Off,
        balance: balance.clone(),
        ..PoolSettings::new("app", (1..=members).map(backend).collect())
    };
    SharedPool::new(&settings, Rng::new(1), Arc::new(Silent), Instant::ORIGIN)
}
