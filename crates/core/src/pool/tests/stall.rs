//! The stall guard.

use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};

use super::*;
use crate::health::normal::{Class, Times};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Member 0 of three froze at 100 ms with two requests; the others answer. Nothing is known yet, so the second counts.
fn frozen(health: Health) -> (World, Vec<Lease>) {
    let world = World::up(3, health);
    world.due(90);
    let stuck = vec![world.stuck_at(0, 100), world.stuck_at(0, 100)];
    world.others_answer(1, 300);
    world.due(500);
    world.others_answer(1, 600);
    (world, stuck)
}

/// The members of a pool have answered so many requests within a few milliseconds each, until 10 s.
pub(super) fn busy(health: Health, members: usize, answers: u64) -> World {
    let world = World::up(members, health);
    for index in 0..answers {
        let lease = world.pick(9_000 + index % 900).unwrap();
        lease.finish(OK, at(9_004 + index % 900));
    }
    for ms in (500..=10_000).step_by(500) {
        for probe in world.due(ms).0 {
            world.probed(&probe, Finding::Passed, ms);
        }
    }
    world.heard.take();
    world
}

#[test]
fn a_request_that_others_overtook_counts_as_slow_when_it_is_given_up() {
    let world = World::up(1, Health::Off);
    let expected = Times::default();
    let (overtaken, early) = (world.pick(1000).unwrap(), world.pick(1055).unwrap());
    let mut other = world.pick(1055).unwrap();
    other.byte(at(1060));
    expected.add(Class::of(Duration::from_millis(5)));
    drop(overtaken);
    drop(early);
    expected.add(Class::of(Duration::from_millis(60)));
    let member = Arc::clone(other.member());
    assert_eq!(member.learned(), expected.counts());
}

#[test]
fn a_silent_member_of_which_nothing_is_known_stalls_exactly_when_its_second_is_over() {
    let (world, _stuck) = frozen(http());
    let (_, next) = world.due(1000);
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
fn where_answers_take_milliseconds_a_tenth_of_a_second_is_enough() {
    let world = busy(tcp(), 3, 9_000);
    let _stuck = [world.stuck_at(0, 10_000), world.stuck_at(0, 10_003)];
    world.others_answer(2, 10_050);
    world.due(10_053);
    assert_eq!(world.states(), [Up; 3]);
    world.others_answer(1, 10_090);
    for (ms, state) in [(10_099, Up), (10_101, Up), (10_103, Stalled)] {
        world.due(ms);
        assert_eq!(world.states(), [state, Up, Up], "at {ms}");
    }
}

#[test]
fn a_pool_that_was_stuck_as_a_whole_and_goes_on_loses_nobody() {
    let world = busy(tcp(), 3, 9_000);
    let mut stuck: Vec<_> = (0..3)
        .flat_map(|index| [world.stuck_at(index, 10_000), world.stuck_at(index, 10_001)])
        .collect();
    for ms in (10_050..10_400).step_by(10) {
        world.due(ms);
    }
    // One after the other is back, within the time that the guard takes to be sure.
    for (lease, ms) in stuck.iter_mut().zip([400, 402, 410, 411, 420, 424]) {
        lease.byte(at(10_000 + ms));
        world.due(10_000 + ms);
        assert_eq!(world.states(), [Up; 3], "at {ms}");
    }
}

#[test]
fn a_stalled_member_wakes_who_waits_there_and_those_are_told() {
    let (world, mut stuck) = frozen(Health::Off);
    let count = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&count));
    assert!(!stuck[0].is_stuck(&waker, at(1000)));
    assert_eq!(stuck[0].stuck_at(at(1000)), None, "a wake will do");
    let mut young = world.pick_at(0, 1080);
    assert_eq!(young.stuck_at(at(1080)), Some(at(1130)));
    world.due(1100);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(stuck[0].is_stuck(&waker, at(1100)));
    // One that has just been sent asks a little later.
    assert!(!young.is_stuck(&waker, at(1129)));
    assert!(young.is_stuck(&waker, at(1130)));
    young.byte(at(1140));
    assert!(!stuck[0].is_stuck(&waker, at(1140)), "it answers again");
}

#[test]
fn polls_that_others_overtake_do_not_stall_their_member() {
    let world = busy(tcp(), 3, 9_000);
    let mut polls = Vec::new();
    // Each member gets a poll now and then, and fast requests with pauses of up to 120 ms between them.
    for round in 0..300u64 {
        let start = 10_000 + round * 150;
        for index in 0..3 {
            polls.push(world.pick_at(index, start));
        }
        for pause in [30, 55, 80, 110, 149] {
            let now = start + pause;
            for poll in &mut polls {
                poll.is_stuck(noop_waker_ref(), at(now));
            }
            if pause < 60 || pause == 149 {
                (0..3).for_each(|index| world.others_answer(index, now));
            }
            world.due(now);
            assert_eq!(world.states(), [Up; 3], "at {now}");
        }
    }
}

#[test]
fn a_member_that_is_down_wakes_who_waits_there_too() {
    let (world, mut stuck) = frozen(tcp());
    for ms in [610, 620, 630] {
        world.pool.probed(&world.probe_of(0, ms), TIMEOUT, at(ms));
    }
    assert_eq!(world.states(), [Down, Up, Up]);
    assert!(!stuck[0].is_stuck(noop_waker_ref(), at(1099)));
    world.due(1100);
    assert!(stuck[0].is_stuck(noop_waker_ref(), at(1100)));
    assert_eq!(world.states(), [Down, Up, Up]);
}

#[test]
fn a_trial_waits_as_long_as_answers_take_there() {
    let (world, stuck) = frozen(Health::Off);
    world.due(1100);
    drop(stuck);
    world.due(2100);
    let mut trial = world.pick_at(0, 2100);
    assert!(trial.tests_a_stalled_member());
    assert!(!trial.is_stuck(noop_waker_ref(), at(2150)));
    assert_eq!(trial.stuck_at(at(2150)), Some(at(3100)), "nothing is known");
    assert!(trial.is_stuck(noop_waker_ref(), at(3100)));
    let failed = || world.pool.view()[0].counters.failed;
    assert_eq!(failed(), 0);
    trial.leave(at(3100));
    assert_eq!(failed(), 1);
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
fn an_answer_of_the_process_lifts_the_stall_and_a_tcp_probe_that_began_before_does_not() {
    for (health, before, state) in [
        (http(), true, Up),
        (tcp(), true, Stalled),
        (http(), false, Up),
        (tcp(), false, Up),
    ] {
        let (world, _stuck) = frozen(health.clone());
        let settings = match health {
            Health::Probes(probes) => Arc::new(probes),
            Health::Off => unreachable!("both probe"),
        };
        let earlier = Probe {
            member: Arc::clone(world.pool.snapshot().members().first().unwrap()),
            settings,
            started: at(1099),
            needs_answer: false,
        };
        let (probes, _) = world.due(1100);
        assert_eq!(probes.len(), 1, "it is probed at once");
        let probe = if before { &earlier } else { &probes[0] };
        world.probed(probe, Finding::Passed, 1110);
        assert_eq!(world.states(), [state, Up, Up]);
    }
}

#[test]
fn what_waited_before_a_passed_http_probe_is_slow_and_the_second_starts_again() {
    let (world, _stuck) = frozen(http());
    let mut probe = world.probe_of(0, 590);
    probe.settings = Arc::new(http_probes());
    world.pool.probed(&probe, Finding::Passed, at(600));
    // Others answer, and they do so after that.
    world.others_answer(1, 700);
    let _more = [world.stuck_at(0, 610), world.stuck_at(0, 610)];
    for (ms, state) in [(1100, Up), (1600, Up), (1610, Stalled)] {
        world.due(ms);
        world.others_answer(1, ms);
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
    assert!(trial.tests_a_stalled_member());
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
    let _slow = world.stuck_at(0, 100);
    world.others_answer(1, 300);
    // Nobody else answers.
    let quiet = World::up(3, tcp());
    let _stuck = [quiet.stuck_at(0, 100), quiet.stuck_at(0, 100)];
    // Something trickles.
    let (busy, _stuck) = frozen(tcp());
    let mut download = busy.pick_at(0, 400);
    download.byte(at(500));
    for ms in (500..4000).step_by(250) {
        download.byte(at(ms));
        busy.others_answer(1, ms);
        world.others_answer(1, ms);
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
        upload.sent(at(3001));
        upload.sent(at(3002));
    }
    assert_eq!(world.pool.view()[0].waiting, 2);
    for upload in &mut uploads {
        assert!(!upload.is_stuck(noop_waker_ref(), at(3051)));
    }
    for ms in [3100, 3500, 3999] {
        world.others_answer(1, ms);
        world.due(ms);
    }
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
            .flat_map(|index| [world.stuck_at(index, 100), world.stuck_at(index, 100)])
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
fn a_member_that_is_missing_anyway_does_not_keep_a_frozen_one_in() {
    type Leave<'a> = &'a dyn Fn(&World);
    let down = |world: &World| {
        for ms in [610, 620, 630] {
            world.pool.probed(&world.probe_of(2, ms), TIMEOUT, at(ms));
        }
    };
    let table: [(Leave<'_>, State); 4] = [
        (&down, Down),
        (
            &|world| world.pool.drain("m2", at(650)).unwrap(),
            State::Draining,
        ),
        (
            &|world| world.pool.maintain("m2", at(650)).unwrap(),
            State::Maintenance,
        ),
        (
            &|world| world.pick_at(2, 650).finish(REFUSED, at(650)),
            Suspect,
        ),
    ];
    for (leave, state) in table {
        let world = World::up(3, tcp());
        leave(&world);
        let _stuck = [world.stuck_at(0, 700), world.stuck_at(0, 700)];
        for ms in [900, 1_000, 1_500] {
            world.others_answer(1, ms);
            world.pool.look_soon(0);
            world.pool.due(at(ms));
        }
        assert_eq!(world.states(), [Up, Up, state]);
        world.pool.look_soon(0);
        world.pool.due(at(1_700));
        assert_eq!(world.states(), [Stalled, Up, state]);
    }
}

#[test]
fn a_request_that_is_late_at_a_silent_member_rings() {
    let world = World::up(3, tcp());
    let mut waiting = [
        world.pick_at(0, 100),
        world.pick_at(0, 100),
        world.pick_at(0, 100),
    ];
    let mut rings = |index: usize, ms| {
        world.rung();
        waiting[index].is_stuck(noop_waker_ref(), at(ms));
        world.rung()
    };
    assert!(!rings(0, 149));
    assert!(rings(0, 150));
    assert!(!rings(0, 160), "once");
    assert!(rings(1, 161));
    world.others_answer(0, 200);
    assert!(!rings(2, 201), "it is not silent");
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
