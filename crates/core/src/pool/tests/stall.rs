//! The stall guard.

use super::*;

/// Member 0 of three froze at 100 ms with two requests; the others answer.
fn frozen(health: Health) -> (World, Vec<Lease>) {
    let world = World::up(3, health);
    world.due(90);
    let stuck = vec![world.pick_at(0, 100), world.pick_at(0, 200)];
    world.others_answer(1, 300);
    world.due(500);
    (world, stuck)
}

#[test]
fn a_silent_member_stalls_exactly_when_its_second_is_over() {
    let (world, _stuck) = frozen(http());
    let (_, next) = world.due(700);
    assert_eq!(next, at(1100));
    world.due(1097);
    assert_eq!(world.states(), [Up, Up, Up]);
    world.due(1100);
    assert_eq!(world.states(), [Stalled, Up, Up]);
    assert_eq!([0; 3].map(|_| world.pick_index(1100)), [2, 1, 2].map(Some));
    assert_eq!(
        world.heard.take(),
        ["m0 up to stalled: 2 requests waited 1000 ms without a byte (2/3)"]
    );
}

#[test]
fn a_byte_lifts_the_stall_at_once() {
    let (world, mut stuck) = frozen(tcp());
    world.due(1100);
    stuck[1].byte(at(1150));
    assert_eq!(world.states(), [Up, Up, Up]);
    assert_eq!(
        world.heard.take().last().unwrap(),
        "m0 stalled to up: it answers again (3/3)"
    );
}

#[test]
fn a_passed_http_probe_lifts_the_stall_and_a_tcp_probe_does_not() {
    for (health, state) in [(http(), Up), (tcp(), Stalled)] {
        let (world, _stuck) = frozen(health);
        let (probes, _) = world.due(1100);
        assert_eq!(probes.len(), 1, "it is probed at once");
        world.probed(&probes[0], Finding::Passed, 1110);
        assert_eq!(world.states(), [state, Up, Up]);
    }
}

#[test]
fn a_passed_http_probe_starts_the_second_again() {
    let (world, _stuck) = frozen(http());
    let probe = Probe {
        member: Arc::clone(world.pool.snapshot().members().first().unwrap()),
        settings: Arc::new(http_probes()),
        started: at(590),
    };
    world.pool.probed(&probe, Finding::Passed, at(600));
    // Others answer, and they do so after that.
    world.others_answer(1, 700);
    for (ms, state) in [(1100, Up), (1590, Up), (1600, Stalled)] {
        world.due(ms);
        assert_eq!(world.states(), [state, Up, Up], "at {ms}");
    }
}

#[test]
fn a_byte_that_crossed_the_stall_on_its_way_is_seen_by_the_next_look() {
    let (world, stuck) = frozen(Health::Off);
    world.due(1100);
    assert_eq!(world.states(), [Stalled, Up, Up]);
    // What a lease does that has not seen the stall yet.
    stuck[0].member().heard(at(1101));
    world.due(1600);
    assert_eq!(world.states(), [Up; 3]);
}

#[test]
fn a_stalled_member_gets_a_trial_only_when_nothing_waits_there_any_more() {
    let (world, stuck) = frozen(Health::Off);
    world.due(1100);
    for ms in (1500..9000).step_by(500) {
        world.due(ms);
        assert!(world.pick_index(ms).is_some_and(|index| index != 0));
    }
    drop(stuck);
    world.due(9000);
    let trial = world.pick_at(0, 9000);
    assert!((0..6).all(|_| world.pick_index(9000) != Some(0)));
    trial.finish(Outcome::Failed(Cause::TimedOut), at(10_000));
    for ms in (10_000..12_000).step_by(500) {
        world.due(ms);
        assert!((0..6).all(|_| world.pick_index(ms) != Some(0)));
    }
    world.due(12_000);
    world.pick_at(0, 12_000).finish(OK, at(12_010));
    assert_eq!(world.states(), [Up; 3]);
}

#[test]
fn a_stalled_member_that_refuses_is_a_new_process_once_it_listens_again() {
    let (world, stuck) = frozen(tcp());
    let (probes, _) = world.due(1100);
    let refused = Finding::Failed(ProbeFailure::Transport(Cause::Refused));
    world.probed(&probes[0], refused, 1110);
    assert_eq!(world.states(), [Suspect, Up, Up]);
    drop(stuck);
    world.due(1200);
    world.probe(0, Finding::Passed, 1400);
    assert_eq!(world.states(), [Up; 3]);
}

#[test]
fn silence_alone_stalls_nobody() {
    // One request waits.
    let world = World::up(3, tcp());
    let _slow = world.pick_at(0, 100);
    world.others_answer(1, 300);
    // Nobody else answers.
    let quiet = World::up(3, tcp());
    let _stuck = [quiet.pick_at(0, 100), quiet.pick_at(0, 100)];
    // Something trickles.
    let (busy, _stuck) = frozen(tcp());
    let mut download = busy.pick_at(0, 400);
    download.byte(at(500));
    for ms in (500..4000).step_by(250) {
        download.byte(at(ms));
        busy.others_answer(1, ms);
        for world in [&world, &quiet, &busy] {
            world.due(ms);
            assert!(!world.states().contains(&Stalled), "at {ms}");
        }
    }
}

#[test]
fn an_attempt_does_not_wait_for_an_answer_while_its_request_is_being_sent() {
    let world = World::up(3, tcp());
    let mut uploads = [world.pick_at(0, 100), world.pick_at(0, 100)];
    uploads.iter_mut().for_each(Lease::sending);
    for ms in (500..3000).step_by(500) {
        world.others_answer(1, ms);
        world.due(ms);
        assert_eq!(world.states(), [Up; 3]);
    }
    for upload in &mut uploads {
        upload.sent(at(3000));
        upload.sent(at(3001));
    }
    assert_eq!(world.pool.view()[0].waiting, 2);
    world.others_answer(1, 3100);
    world.due(3999);
    assert_eq!(world.states(), [Up; 3]);
    world.due(4001);
    assert_eq!(world.states(), [Stalled, Up, Up]);
    for upload in &mut uploads {
        upload.byte(at(4100));
        upload.sent(at(4101));
    }
    assert_eq!(world.pool.view()[0].waiting, 0);
}

#[test]
fn never_more_than_half_of_the_pool_is_stalled() {
    for (members, stalled) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let world = World::up(members, tcp());
        let last = u32::try_from(members).unwrap() - 1;
        let _stuck: Vec<_> = (0..last.max(1))
            .flat_map(|index| [world.pick_at(index, 100), world.pick_at(index, 100)])
            .collect();
        for ms in [400, 800, 1100, 1200] {
            if last > 0 {
                world.others_answer(last, ms);
            }
            world.due(ms);
        }
        let out = world
            .states()
            .iter()
            .filter(|state| **state == Stalled)
            .count();
        assert_eq!(out, stalled, "of {members}");
    }
}

#[test]
fn the_second_request_at_a_long_silent_member_rings() {
    let world = World::up(3, tcp());
    world.rung();
    let _first = world.pick_at(0, 100);
    world.others_answer(1, 2000);
    for ms in (500..3000).step_by(500) {
        world.due(ms);
    }
    world.rung();
    let _second = world.pick_at(0, 3000);
    assert!(world.rung());
    world.due(3000);
    assert_eq!(world.states(), [Stalled, Up, Up]);
}

#[test]
fn after_this_process_itself_was_paused_nobody_is_judged_at_once() {
    let (world, _stuck) = frozen(tcp());
    world.others_answer(2, 3_600_000);
    let (probes, next) = world.due(3_600_000);
    assert_eq!(world.states(), [Up; 3]);
    assert_eq!(next, at(3_600_500));
    drop(probes);
}
