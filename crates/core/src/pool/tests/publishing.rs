//! When what has changed is published, and what holds until then.

use super::*;
use crate::config::settings::{PoolSettings, WhenAllDown};
use crate::pool::testing::{backends, pool_with};

fn eligible(world: &World) -> Vec<u32> {
    let snapshot = world.pool.snapshot();
    snapshot.members().iter().map(|m| m.index()).collect()
}

fn with(change: impl FnOnce(&mut PoolSettings)) -> World {
    let mut settings = PoolSettings::new("app", backends(3));
    change(&mut settings);
    let heard = Arc::default();
    World {
        pool: pool_with(&settings, &heard),
        heard,
        rng: Rng::new(1),
    }
}

#[test]
fn whoever_goes_out_gets_nothing_from_that_moment_on_and_the_turn_goes_on() {
    let world = World::up(4, tcp());
    assert_eq!(world.pick_index(10), Some(0));
    world.pick(10).unwrap().finish(REFUSED, at(10));
    assert_eq!(eligible(&world), [0, 1, 2, 3], "it is not published yet");
    let next = || [(); 3].map(|()| world.pick_now(10).unwrap().member().index());
    assert_eq!(next(), [2, 3, 0]);
    world.step(11);
    assert_eq!(eligible(&world), [0, 2, 3]);
    assert_eq!(next(), [2, 3, 0]);
    assert_eq!(
        world.heard.take(),
        ["m1 up to suspect: connect failed: refused (3/4)"]
    );
}

#[test]
fn what_a_step_finds_is_published_together() {
    let world = World::new(300, tcp());
    let (probes, _) = world.due(0);
    for (passed, probe) in probes.iter().enumerate() {
        world.probed(probe, Finding::Passed, 1);
        // The first one is better than those of whom nothing is known.
        assert_eq!(eligible(&world), [0], "after {}", passed + 1);
    }
    world.due(1);
    assert_eq!(eligible(&world).len(), probes.len());
}

#[test]
fn in_a_large_pool_a_step_publishes_only_after_a_pause() {
    let world = World::new(2000, Health::Off);
    let drain = |index, ms| {
        let name = format!("m{index}");
        world.pool.drain(&name, at(ms)).unwrap();
        let (_, next) = world.pool.due(at(ms));
        (eligible(&world).len(), next)
    };
    assert_eq!(drain(0, 100).0, 1999, "the first one at once");
    assert_eq!(drain(1, 101), (1999, at(110)));
    assert_eq!(world.pick_now(102).unwrap().member().index(), 2);
    assert_eq!(drain(2, 109), (1999, at(110)));
    world.pool.due(at(110));
    assert_eq!(eligible(&world).len(), 1997);
}

#[test]
fn the_first_to_come_back_serves_at_once() {
    let world = World::up(3, tcp());
    for index in 0..3 {
        world.pick_at(index, 10).finish(REFUSED, at(10));
    }
    assert!(world.pick_now(10).is_none());
    let (probes, _) = world.due(20);
    world.probed(&probes[1], Finding::Passed, 20);
    assert_eq!(world.pick_now(20).unwrap().member().index(), 1);
}

#[test]
fn whoever_is_up_serves_at_once_when_those_that_are_published_are_all_out() {
    let world = World::up(2, tcp());
    world.pick_at(0, 10).finish(REFUSED, at(10));
    let (probes, _) = world.due(20);
    world.probed(&probes[0], Finding::Passed, 20);
    assert_eq!(eligible(&world), [1]);
    world.pick_now(21).unwrap().finish(REFUSED, at(21));
    assert_eq!(world.pick_now(21).unwrap().member().index(), 0);
}

#[test]
fn whoever_was_asked_back_waits_for_a_probe_while_others_are_up() {
    let world = World::up(3, tcp());
    world.pool.maintain("m1", at(10)).unwrap();
    world.pool.ready("m1", at(11)).unwrap();
    assert_eq!(world.states(), [Up, Unknown, Up]);
    let next = || world.pick_now(11).unwrap().member().index();
    assert!([(); 6].map(|()| next()).iter().all(|&index| index != 1));
    // They are gone: better that one than none.
    for index in [0, 2] {
        world.pool.drain(&format!("m{index}"), at(12)).unwrap();
    }
    assert_eq!(next(), 1);
}

#[test]
fn whoever_waits_for_a_place_is_called_when_a_member_is_back_that_is_published_still() {
    let world = with(|settings| {
        settings.health = Health::Off;
        settings.limits.in_flight_per_server = 1;
    });
    let _others = [world.pick_now(10).unwrap(), world.pick_now(10).unwrap()];
    world.pool.drain("m2", at(10)).unwrap();
    let place = world.pool.queue().enter().unwrap();
    let called = Arc::new(AtomicBool::new(false));
    assert!(place.is_next(&futures::task::waker(Arc::new(Call(called.clone())))));
    assert!(world.pick_now(10).is_none());
    world.pool.ready("m2", at(10)).unwrap();
    assert!(called.load(Ordering::Relaxed));
    assert_eq!(world.pick_now(10).unwrap().member().index(), 2);
}

struct Call(Arc<AtomicBool>);

impl futures::task::ArcWake for Call {
    fn wake_by_ref(call: &Arc<Self>) {
        call.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn backups_serve_at_once_when_the_last_of_the_others_is_out() {
    let world = with(|settings| {
        settings.health = Health::Off;
        settings.servers[1].backup = true;
        settings.servers[2].backup = true;
    });
    world.pick_now(10).unwrap().finish(REFUSED, at(10));
    let next = [(); 2].map(|()| world.pick_now(10).unwrap().member().index());
    assert_eq!(next, [1, 2]);
}

#[test]
fn where_anybody_is_tried_anyway_there_is_no_moment_without_anybody() {
    let world = with(|settings| {
        settings.health = Health::Off;
        settings.when_all_down = WhenAllDown::TryAnyway;
    });
    for _ in 0..7 {
        world.pick_now(10).unwrap().finish(REFUSED, at(10));
    }
    assert_eq!(world.states(), [Suspect; 3]);
    world.pool.maintain("m1", at(11)).unwrap();
    let next = || world.pick_now(11).unwrap().member().index();
    assert!([(); 6].map(|()| next()).iter().all(|&index| index != 1));
}
