//! What a pick costs: `cargo bench -p lb-core --bench pick`.
//!
//! Prints nanoseconds for a pick alone (its lease dropped) and for a whole attempt (pick, first byte, answered), with
//! 3, 100 and 10,000 members; then the pick with as many threads as there are cores, all at one pool.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant as Clock;

use http::StatusCode;
use lb_core::backend::{Address, Backend};
use lb_core::config::settings::{Health, PoolSettings};
use lb_core::event::Silent;
use lb_core::picker::Tried;
use lb_core::pool::{Outcome, SharedPool};
use lb_core::rng::Rng;
use lb_core::time::Instant;

const ROUNDS: u32 = 1_000_000;
const NOW: Instant = Instant::ORIGIN;

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("members   pick  attempt  pick by {cores} threads   (ns each)");
    for members in [3, 100, 10_000] {
        let pool = pool(members);
        let pick = best(|rng| drop(black_box(pool.pick(&mut Tried::new(), rng, NOW))));
        let attempt = best(|rng| {
            if let Some(mut lease) = pool.pick(&mut Tried::new(), rng, NOW) {
                lease.byte(NOW);
                lease.finish(Outcome::Answered(StatusCode::OK), NOW);
            }
        });
        let shared = std::thread::scope(|scope| {
            let pick = |rng: &Rng| drop(black_box(pool.pick(&mut Tried::new(), rng, NOW)));
            let threads: Vec<_> = (0..cores)
                .map(|_| scope.spawn(move || best(pick)))
                .collect();
            let slowest = |thread: std::thread::ScopedJoinHandle<'_, f64>| thread.join();
            threads.into_iter().flat_map(slowest).fold(0.0, f64::max)
        });
        println!("{members:7} {pick:6.1} {attempt:8.1} {shared:10.1}");
    }
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

fn pool(members: u16) -> Arc<SharedPool> {
    let backend = |port| {
        Backend::new(Address {
            host: "192.0.2.1".into(),
            port,
        })
    };
    let settings = PoolSettings {
        health: Health::Off,
        ..PoolSettings::new("app", (1..=members).map(backend).collect())
    };
    SharedPool::new(&settings, Rng::new(1), Arc::new(Silent), Instant::ORIGIN)
}
