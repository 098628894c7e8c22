//! The stall guard's own questions: few requests wait, and nobody else is asked anything.

use super::stall::busy;
use super::*;

/// Probes that come by themselves every ten minutes only.
fn rare(probes: ProbeSettings) -> Health {
    Health::Probes(ProbeSettings {
        interval: Duration::from_secs(600),
        ..probes
    })
}

/// One request has waited at member 0 since 10 s, in a pool whose answers took milliseconds.
fn alone(health: Health, members: usize) -> (World, Lease) {
    let world = busy(health, members, 3_000 * members as u64);
    let waiting = world.stuck_at(0, 10_000);
    (world, waiting)
}

fn about(probes: &[Probe]) -> Vec<(u32, bool)> {
    let seen = |probe: &Probe| (probe.member.index(), probe.needs_answer);
    probes.iter().map(seen).collect()
}

/// Asks at 10,050 and lets others answer twice: the first and the second witness. The member's own probe is left open.
fn witnessed(world: &World, took: u64) -> Probe {
    let (mut asked, _) = world.due(10_050);
    let own = asked.remove(0);
    world.probed(&asked[0], Finding::Passed, 10_050 + took);
    let (asked, _) = world.due(10_100);
    assert_eq!(asked.len(), 1);
    world.probed(&asked[0], Finding::Passed, 10_100 + took);
    own
}

#[test]
fn one_request_that_waits_for_long_makes_the_guard_ask_the_member_and_another_one() {
    for health in [rare(ProbeSettings::default()), rare(http_probes())] {
        let (world, _waiting) = alone(health, 3);
        assert_eq!(about(&world.due(10_047).0), []);
        let (asked, _) = world.due(10_050);
        assert_eq!(about(&asked), [(0, true), (1, true)]);
        world.probed(&asked[1], Finding::Passed, 10_051);
        assert_eq!(about(&world.due(10_072).0), []);
        let (asked, _) = world.due(10_075);
        assert_eq!(about(&asked), [(2, true)], "others in turn");
        world.probed(&asked[0], Finding::Passed, 10_076);
        let (_, next) = world.due(10_147);
        assert_eq!((world.states(), next), (vec![Up; 3], at(10_150)));
        world.due(10_150);
        assert_eq!(world.states(), [Stalled, Up, Up]);
        assert_eq!(
            world.heard.take(),
            ["m0 up to stalled: 1 request waited 150 ms without a byte (2/3)"]
        );
    }
}

#[test]
fn a_member_whose_process_answers_is_asked_once_for_each_long_wait() {
    let answers = [
        Finding::Passed,
        Finding::Failed(ProbeFailure::Status(StatusCode::IM_A_TEAPOT)),
    ];
    for answer in answers {
        let (world, _poll) = alone(rare(http_probes()), 3);
        let (asked, _) = world.due(10_050);
        world.probed(&asked[1], Finding::Passed, 10_051);
        world.probed(&asked[0], answer, 10_060);
        for ms in (10_070..11_000).step_by(10) {
            let asked = about(&world.due(ms).0);
            assert!(asked.is_empty(), "{asked:?} at {ms}");
            assert_eq!(world.states(), [Up; 3]);
        }
    }
}

#[test]
fn where_nobody_answers_the_guard_nobody_is_to_blame() {
    let (world, _waiting) = alone(rare(ProbeSettings::default()), 3);
    let mut asked = Vec::new();
    for ms in (10_050..14_000).step_by(10) {
        for probe in world.due(ms).0 {
            if !probe.needs_answer {
                world.probed(&probe, Finding::Passed, ms);
                continue;
            }
            asked.push(probe.member.index());
        }
        assert_eq!(world.states(), [Up; 3], "at {ms}");
    }
    // Nobody is asked again before he has answered, or his time is over.
    assert_eq!(asked, [0, 1, 2]);
}

#[test]
fn a_pool_that_is_slow_to_answer_the_guard_everywhere_loses_nobody() {
    let (world, _waiting) = alone(rare(ProbeSettings::default()), 3);
    let own = witnessed(&world, 60);
    for ms in (10_160..10_290).step_by(10) {
        world.due(ms);
        assert_eq!(world.states(), [Up; 3], "at {ms}");
    }
    // In less than four times what the others took.
    world.probed(&own, Finding::Passed, 10_289);
    world.due(10_290);
    assert_eq!(world.states(), [Up; 3]);

    let (world, _waiting) = alone(rare(ProbeSettings::default()), 3);
    let _own = witnessed(&world, 60);
    world.due(10_290);
    assert_eq!(world.states(), [Stalled, Up, Up]);
}

#[test]
fn the_guard_asks_nobody_where_it_could_do_nothing_or_may_not_ask() {
    for (health, members) in [(tcp(), 1), (Health::Off, 3)] {
        let (world, _waiting) = alone(health, members);
        for ms in (10_050..11_000).step_by(50) {
            let asked = about(&world.due(ms).0);
            assert!(asked.iter().all(|(_, answer)| !answer), "{asked:?}");
        }
        assert!(!world.states().contains(&Stalled));
    }
}

#[test]
fn where_all_of_many_members_are_silent_few_are_asked() {
    let world = World::up(60, rare(ProbeSettings::default()));
    let _waiting: Vec<_> = (0..60).map(|_| late(world.pick(100).unwrap())).collect();
    let (asked, _) = world.due(600);
    // Sixteen members, and for each somebody else.
    assert_eq!(asked.len(), 32);
    for ms in (620..2_000).step_by(20) {
        world.due(ms);
        assert_eq!(world.states(), [Up; 60], "at {ms}");
    }
}

fn late(mut lease: Lease) -> Lease {
    assert!(!lease.is_stuck(noop_waker_ref(), at(150)));
    lease
}

#[test]
fn the_guard_asks_nobody_while_others_answer_requests() {
    let world = busy(rare(ProbeSettings::default()), 3, 9_000);
    let _waiting = [world.stuck_at(0, 10_000), world.stuck_at(0, 10_000)];
    world.others_answer(1, 10_045);
    assert_eq!(about(&world.due(10_050).0), []);
    // They do so no more.
    assert_eq!(about(&world.due(10_100).0), [(0, true), (1, true)]);
}

#[test]
fn a_probe_that_only_the_process_can_answer_and_that_runs_already_is_the_question() {
    let world = busy(rare(http_probes()), 3, 9_000);
    for probe in world.due(12_000).0 {
        world.probed(&probe, Finding::Passed, 12_000);
    }
    // By the monitor, of its own accord: nobody has answered it yet.
    world.pool.drain("m0", at(12_500)).unwrap();
    world.pool.ready("m0", at(12_500)).unwrap();
    assert_eq!(about(&world.due(12_500).0), [(0, false)]);
    let _waiting = world.stuck_at(0, 12_510);
    let (asked, _) = world.due(12_560);
    assert_eq!(about(&asked), [(1, true)]);
    world.probed(&asked[0], Finding::Passed, 12_561);
    let (asked, _) = world.due(12_590);
    world.probed(&asked[0], Finding::Passed, 12_591);
    world.due(12_607);
    assert_eq!(world.states(), [Up; 3]);
    world.due(12_610);
    assert_eq!(
        world.states(),
        [Stalled, Up, Up],
        "110 ms for it, 100 for the request"
    );
}
