//! From pick to the end of the lease nothing is allocated, whatever the algorithm and the size of the pool.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;

use allocation_counter::measure;
use http::StatusCode;
use lb_core::backend::{Address, Backend};
use lb_core::config::settings::{Balance, HashBalance, HashKey, HashRing, Health, PoolSettings};
use lb_core::event::Silent;
use lb_core::picker::Tried;
use lb_core::pool::{Outcome, SharedPool};
use lb_core::rng::Rng;
use lb_core::time::Instant;

fn pool(members: u16, balance: Balance, weights: u32) -> Arc<SharedPool> {
    let backend = |port| Backend {
        weight: NonZeroU32::MIN.saturating_add(u32::from(port) % weights),
        ..Backend::new(Address {
            host: "192.0.2.1".into(),
            port,
        })
    };
    let settings = PoolSettings {
        health: Health::Off,
        balance,
        ..PoolSettings::new("app", (1..=members).map(backend).collect())
    };
    SharedPool::new(&settings, Rng::new(1), Arc::new(Silent), Instant::ORIGIN)
}

/// A request that is answered at its second attempt.
fn request(pool: &Arc<SharedPool>, rng: &Rng, now: Instant) {
    let mut tried = Tried::new();
    let key = Some(rng.next_u64());
    drop(black_box(pool.pick_by(key, &mut tried, rng, now)));
    if let Some(mut lease) = pool.pick_by(key, &mut tried, rng, now) {
        lease.byte(now);
        lease.finish(Outcome::Answered(StatusCode::OK), now);
    }
}

/// Every algorithm; the hashes with and without a bound.
fn algorithms() -> Vec<Balance> {
    let hash = |ring, max_load_percent| {
        Balance::Hash(HashBalance {
            key: HashKey::Client,
            ring,
            max_load_percent,
        })
    };
    let rings = [HashRing::Rendezvous, HashRing::Ketama, HashRing::Maglev];
    let mut all = vec![
        Balance::RoundRobin,
        Balance::Random,
        Balance::LeastRequests,
        Balance::P2c,
        Balance::PeakEwma,
    ];
    all.extend(rings.map(|ring| hash(ring, None)));
    all.extend(rings.map(|ring| hash(ring, Some(125))));
    all
}

#[test]
fn a_pick_and_its_lease_allocate_nothing() {
    for balance in algorithms() {
        for (members, weights) in [(1, 1), (3, 1), (3, 3), (100, 1), (100, 7), (10_000, 1)] {
            let pool = pool(members, balance.clone(), weights);
            let (rng, now) = (Rng::new(2), Instant::from_nanos(5));
            // The first load of a snapshot in a thread sets up that thread's slot.
            request(&pool, &rng, now);
            let info = measure(|| (0..1000).for_each(|_| request(&pool, &rng, now)));
            assert_eq!(
                info.count_total, 0,
                "{balance}, {members} members: {info:?}"
            );
            let picks: u64 = pool.view().iter().map(|member| member.counters.picks).sum();
            assert_eq!(picks, 1001 * if members == 1 { 1 } else { 2 });
        }
    }
}

#[test]
fn the_counter_sees_allocations() {
    let info = measure(|| drop(black_box(Box::new(1))));
    assert_eq!(info.count_total, 1);
}
