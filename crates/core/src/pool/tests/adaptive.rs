//! The adaptive limit on a member's attempts in flight.

use super::*;
use crate::config::settings::{Adaptive, AdaptiveMode, PoolLimits, PoolSettings};
use crate::pool::testing::{backends, pool_with};

fn world(mode: AdaptiveMode) -> World {
    bounded(mode, 100)
}

fn bounded(mode: AdaptiveMode, max: u32) -> World {
    let min = 2;
    let settings = PoolSettings {
        health: Health::Off,
        passive: None,
        limits: PoolLimits {
            adaptive: Adaptive { mode, min, max },
            ..PoolLimits::default()
        },
        ..PoolSettings::new("app", backends(2))
    };
    let heard = Arc::default();
    World {
        pool: pool_with(&settings, &heard),
        heard,
        rng: Rng::new(1),
    }
}

/// Member 0 answers up to 20 requests in each tenth of a second of this time, each after `took`.
fn answers(world: &World, took: u64, from: u64, until: u64) {
    for ms in (from..until).step_by(50) {
        let picks = (0..20).map_while(|_| world.pick(ms - took));
        let leases: Vec<_> = picks.collect();
        let first = leases
            .into_iter()
            .filter(|lease| lease.member().index() == 0);
        for mut lease in first {
            lease.byte(at(ms));
            lease.finish(OK, at(ms));
        }
    }
}

fn limits(world: &World) -> [Option<u32>; 2] {
    let view = world.pool.view();
    [view[0].adaptive_limit, view[1].adaptive_limit]
}

#[test]
fn a_member_at_its_learned_limit_is_passed_over_until_an_attempt_there_ends() {
    let world = world(AdaptiveMode::On);
    answers(&world, 10, 1_000, 3_000);
    assert_eq!(limits(&world), [Some(100); 2]);
    answers(&world, 400, 3_000, 6_000);
    let [Some(limit), Some(100)] = limits(&world) else {
        panic!("{:?}", limits(&world));
    };
    assert!((2..20).contains(&limit), "{limit}");
    let mut held: Vec<_> = (0..limit).map(|_| world.pick_at(0, 6_000)).collect();
    assert!((0..10).all(|_| world.pick_index(6_000) == Some(1)));
    held.pop();
    assert!((0..2).any(|_| world.pick_index(6_000) == Some(0)));
}

#[test]
fn a_limit_that_measures_needs_nobody_to_leave_its_floor() {
    let world = bounded(AdaptiveMode::On, 10);
    let mut now = 1_000;
    while limits(&world)[0] == Some(10) {
        answers(&world, 10, now, now + 50);
        now += 50;
        assert!(now < 40_000, "the ceiling is in full use for half a minute");
    }
    assert_eq!(limits(&world), [Some(2), Some(10)]);
    for later in (0..=2_500).step_by(500) {
        world.pool.due(at(now + later));
    }
    assert_eq!(limits(&world), [Some(10); 2]);
}

#[test]
fn a_limit_that_is_only_observed_is_told_and_keeps_nobody_out() {
    let world = world(AdaptiveMode::Observe);
    answers(&world, 10, 1_000, 3_000);
    answers(&world, 400, 3_000, 6_000);
    let [Some(limit), _] = limits(&world) else {
        panic!("{:?}", limits(&world));
    };
    assert!(limit < 20, "{limit}");
    let _held: Vec<_> = (0..50).map(|_| world.pick_at(0, 6_000)).collect();
    assert_eq!(world.heard.take(), ["m0 limit 55 (10 in flight, observed)"]);
}

#[test]
fn a_timeout_counts_as_long_as_it_took_and_a_quick_failure_as_nothing() {
    let world = world(AdaptiveMode::On);
    answers(&world, 10, 1_000, 3_000);
    let fail = |cause, from: u64, until: u64| {
        for ms in (from..until).step_by(5) {
            let lease = world.pick_at(0, ms - 1_000);
            lease.finish(Outcome::Failed(cause), at(ms));
        }
    };
    fail(Cause::Closed, 4_000, 5_000);
    assert_eq!(limits(&world)[0], Some(100));
    fail(Cause::TimedOut, 5_000, 6_000);
    assert!(limits(&world)[0] < Some(50), "{:?}", limits(&world));
}

#[test]
fn without_it_nothing_is_measured() {
    let world = world(AdaptiveMode::Off);
    answers(&world, 10, 1_000, 3_000);
    assert_eq!(limits(&world), [None; 2]);
}
