//! What a pick costs: `cargo bench -p lb-core --bench pick`.
//!
//! Prints for every algorithm, with 3, 100 and 10,000 members, in nanoseconds: the picker's choice alone (`pick`); the choice in
//! the shared pool with its lease, dropped (`lease`); the same with its decision told before (`explained`), as for a trusted peer
//! that asks, which is what a lease does not pay for where nobody asks; a whole attempt (lease, first byte, answered); the lease again with as many
//! threads as there are cores, all at one pool; and how long the pool took to build. About as many attempts as there are members are
//! under way meanwhile.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod shared;

use std::hint::black_box;
use std::time::Instant as Clock;

use lb_core::picker::{Query, Tried, algorithm};
use lb_core::rng::Rng;

use shared::{NOW, RUNS, algorithms, attempt, begin, best, pool, settings, traffic};

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
            let pool = pool(&settings);
            let build = started.elapsed().as_micros();
            let under_way = traffic(&pool, members);
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
            let attempt = best(|rng| attempt(&pool, rng));
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
