//! What the benchmarks share: pools under every algorithm, an attempt at them, and a clock that takes the best of several runs.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use http::StatusCode;
use lb_core::backend::{Address, Backend};
use lb_core::config::settings::{Balance, HashBalance, HashKey, HashRing, Health, PoolSettings};
use lb_core::event::Silent;
use lb_core::picker::Tried;
use lb_core::pool::{Lease, Outcome, SharedPool};
use lb_core::rng::Rng;
use lb_core::time::Instant;

/// How long one run takes, and how many there are: the best counts, because the machine has other things to do.
const RUN: Duration = Duration::from_millis(4);
pub(crate) const RUNS: usize = 15;

/// Time stands still while picks are measured.
pub(crate) const NOW: Instant = Instant::ORIGIN;

/// A pool that probes nobody.
pub(crate) fn pool(settings: &PoolSettings) -> Arc<SharedPool> {
    SharedPool::new(settings, Rng::new(1), Arc::new(Silent), NOW)
}

/// As in traffic: about as many attempts as there are members, which are under way all the time.
pub(crate) fn traffic(pool: &Arc<SharedPool>, members: u16) -> Vec<Lease> {
    let rng = Rng::new(7);
    (0..members).filter_map(|_| begin(pool, &rng)).collect()
}

/// An attempt by a client of its own.
pub(crate) fn begin(pool: &Arc<SharedPool>, rng: &Rng) -> Option<Lease> {
    let key = Some(rng.next_u64());
    pool.pick_by(key, &mut Tried::new(), rng, NOW)
}

/// A whole attempt: pick, lease, first byte, answer.
pub(crate) fn attempt(pool: &Arc<SharedPool>, rng: &Rng) {
    if let Some(mut lease) = begin(pool, rng) {
        lease.byte(NOW);
        lease.finish(Outcome::Answered(StatusCode::OK), NOW);
    }
}

/// Every algorithm with its name, and the greatest weight among its members.
pub(crate) fn algorithms() -> Vec<(&'static str, Balance, u32)> {
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
pub(crate) fn best(mut round: impl FnMut(&Rng)) -> f64 {
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

/// A pool of so many members.
pub(crate) fn settings(members: u16, balance: &Balance, weights: u32) -> PoolSettings {
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
