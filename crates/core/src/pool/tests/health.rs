//! Probes and suspicion.

use super::*;

#[test]
fn members_are_unknown_at_first_and_picked_only_while_none_is_up() {
    let world = World::new(3, tcp());
    assert_eq!(world.states(), [Unknown; 3]);
    assert_eq!([0; 3].map(|ms| world.pick_index(ms)), [0, 1, 2].map(Some));
    let (probes, _) = world.due(0);
    assert_eq!(probes.len(), 3);
    world.probed(&probes[2], Finding::Passed, 1);
    assert_eq!(world.states(), [Unknown, Unknown, Up]);
    assert_eq!([1; 3].map(|ms| world.pick_index(ms)), [2, 2, 2].map(Some));
    world.probed(&probes[0], TIMEOUT, 2);
    assert_eq!(
        world.heard.take(),
        [
            "m2 unknown to up: a probe passed (1/3)",
            "m0 unknown to down: a probe failed: timed out (1/3)"
        ]
    );
}

#[test]
fn without_probes_members_are_up_and_nothing_is_probed() {
    let world = World::new(2, Health::Off);
    assert_eq!(world.states(), [Up; 2]);
    for ms in [0, 500, 60_000] {
        assert!(world.due(ms).0.is_empty());
    }
}

#[test]
fn a_member_goes_down_after_fall_failures_and_comes_back_after_rise_passes() {
    let world = World::up(2, tcp());
    let mut ms = 0;
    let mut next = |finding| {
        ms += 3000;
        world.probe(1, finding, ms);
        world.states()[1]
    };
    assert_eq!([TIMEOUT; 3].map(&mut next), [Up, Up, Down]);
    assert_eq!([Finding::Passed; 2].map(&mut next), [Down, Up]);
    let heard = world.heard.take();
    assert_eq!(heard[0], "m1 up to down: 3 probes failed: timed out (1/2)");
    assert_eq!(heard[1], "m1 down to up: 2 probes passed (2/2)");
}

#[test]
fn the_tutorial_form_follows_every_probe() {
    let settings = ProbeSettings {
        rise: std::num::NonZeroU32::MIN,
        fall: std::num::NonZeroU32::MIN,
        ..ProbeSettings::default()
    };
    let world = World::up(2, Health::Probes(settings));
    let status = Finding::Failed(ProbeFailure::Status(StatusCode::NOT_FOUND));
    world.probe(0, status, 3000);
    assert_eq!(world.states(), [Down, Up]);
    world.probe(0, Finding::Passed, 6000);
    assert_eq!(world.states(), [Up, Up]);
    assert_eq!(
        world.heard.take()[0],
        "m0 up to down: a probe failed: status 404 (1/2)"
    );
}

#[test]
fn when_nobody_is_up_one_pass_readmits() {
    let world = World::up(2, tcp());
    for ms in [3000, 6000, 9000] {
        for probe in world.due(ms).0 {
            world.probed(&probe, TIMEOUT, ms);
        }
    }
    assert_eq!(world.states(), [Down, Down]);
    assert!(world.pick(9000).is_none());
    let (probes, _) = world.due(9500);
    world.probed(&probes[0], Finding::Passed, 9500);
    world.probed(&probes[1], Finding::Passed, 9500);
    // The second is not alone any more.
    let first = probes[0].member.index() as usize;
    assert_eq!(world.states()[first], Up);
    assert_eq!(world.states()[1 - first], Down);
}

#[test]
fn a_probe_that_could_not_be_made_says_nothing() {
    let world = World::up(1, tcp());
    for ms in [3000, 6000, 9000, 12_000] {
        world.probe(0, Finding::Nothing, ms);
    }
    assert_eq!(world.states(), [Up]);
    assert_eq!(world.pool.view()[0].counters.probes_failed, 0);
}

#[test]
fn probes_come_jittered_at_the_interval_and_faster_while_a_member_is_out() {
    let world = World::up(1, tcp());
    let (_, next) = world.pool.due(at(2));
    assert_eq!(next, at(500), "the guard looks");
    // Wherever in its first interval it was due.
    world.probe(0, Finding::Passed, 2000);
    assert!(world.due(3599).0.is_empty());
    for ms in [4400, 6800, 9200] {
        world.probe(0, TIMEOUT, ms);
    }
    assert_eq!(world.states(), [Down]);
    assert!(world.due(9359).0.is_empty());
    assert_eq!(world.due(9440).0.len(), 1);
}

#[test]
fn a_connect_failure_makes_suspect_at_once_and_one_pass_readmits() {
    let world = World::up(3, tcp());
    world.rung();
    world.pick_at(1, 10).finish(REFUSED, at(11));
    assert_eq!(world.states(), [Up, Suspect, Up]);
    assert!(world.rung());
    let (probes, _) = world.due(11);
    assert_eq!(probes.len(), 1, "it is probed at once");
    world.probed(&probes[0], Finding::Passed, 12);
    assert_eq!(
        world.heard.take(),
        [
            "m1 up to suspect: connect failed: refused (2/3)",
            "m1 suspect to up: a probe passed (3/3)"
        ]
    );
}

#[test]
fn even_the_last_member_may_go_suspect() {
    let world = World::up(1, tcp());
    world.pick_at(0, 10).finish(REFUSED, at(10));
    assert!(world.pick(10).is_none());
    world.probe(0, Finding::Passed, 10);
    assert_eq!(world.pick_index(10), Some(0));
}

#[test]
fn a_failed_probe_leaves_a_suspect_out_and_counts() {
    let world = World::up(2, tcp());
    world.pick_at(0, 10).finish(REFUSED, at(10));
    for (ms, state) in [(10, Suspect), (300, Suspect), (600, Down)] {
        world.probe(0, TIMEOUT, ms);
        assert_eq!(world.states(), [state, Up]);
    }
    world.probe(0, Finding::Passed, 900);
    assert_eq!(
        world.states(),
        [Down, Up],
        "now it takes as many as rise says"
    );
}

#[test]
fn a_probe_from_before_the_suspicion_does_not_lift_it() {
    let world = World::up(2, tcp());
    let (probes, _) = world.due(3000);
    world.pick_at(0, 3001).finish(REFUSED, at(3001));
    for probe in &probes {
        world.probed(probe, Finding::Passed, 3002);
    }
    assert_eq!(world.states(), [Suspect, Up]);
    world.probe(0, Finding::Passed, 3002);
    assert_eq!(world.states(), [Up, Up]);
}

#[test]
fn a_connect_failure_from_before_the_return_is_old_news() {
    let world = World::up(2, tcp());
    let slow = world.pick_at(0, 10);
    world.pick_at(0, 11).finish(REFUSED, at(11));
    world.probe(0, Finding::Passed, 20);
    slow.finish(Outcome::ConnectFailed(Cause::TimedOut), at(2010));
    assert_eq!(world.states(), [Up, Up]);
    world.pick_at(0, 2020).finish(REFUSED, at(2020));
    assert_eq!(world.states(), [Suspect, Up]);
}
