//! From pick to the end of the lease nothing is allocated, whatever the size of the pool.

use std::hint::black_box;
use std::sync::Arc;

use allocation_counter::measure;
use http::StatusCode;
use lb_core::backend::{Address, Backend};
use lb_core::config::settings::{Health, PoolSettings};
use lb_core::event::Silent;
use lb_core::picker::Tried;
use lb_core::pool::{Outcome, SharedPool};
use lb_core::rng::Rng;
use lb_core::time::Instant;

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

/// A request that is answered at its second attempt.
fn request(pool: &Arc<SharedPool>, rng: &Rng, now: Instant) {
    let mut tried = Tried::new();
    drop(black_box(pool.pick(&mut tried, rng, now)));
    if let Some(mut lease) = pool.pick(&mut tried, rng, now) {
        lease.byte(now);
        lease.finish(Outcome::Answered(StatusCode::OK), now);
    }
}

#[test]
fn a_pick_and_its_lease_allocate_nothing() {
    for members in [1, 3, 100, 10_000] {
        let (pool, rng, now) = (pool(members), Rng::new(2), Instant::from_nanos(5));
        // The first load of a snapshot in a thread sets up that thread's slot.
        request(&pool, &rng, now);
        let info = measure(|| (0..1000).for_each(|_| request(&pool, &rng, now)));
        assert_eq!(info.count_total, 0, "{members} members: {info:?}");
        let picks: u64 = pool.view().iter().map(|member| member.counters.picks).sum();
        assert_eq!(picks, 1001 * if members == 1 { 1 } else { 2 });
    }
}

#[test]
fn the_counter_sees_allocations() {
    let info = measure(|| drop(black_box(Box::new(1))));
    assert_eq!(info.count_total, 1);
}
