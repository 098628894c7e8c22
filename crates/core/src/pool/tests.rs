//! Transitions and picks of a whole pool, in literal time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::task::noop_waker_ref;
use http::StatusCode;

use super::testing::{Heard, pool_of, states};
use super::{Lease, Outcome, SharedPool};
use crate::config::settings::{Check, Health, ProbeSettings, StatusRanges};
use crate::error::Cause;
use crate::event::ProbeFailure;
use crate::event::State::{self, Down, Stalled, Suspect, Unknown, Up};
use crate::health::probe::{Finding, Probe};
use crate::picker::Tried;
use crate::rng::Rng;
use crate::time::Instant;

const OK: Outcome = Outcome::Answered(StatusCode::OK);
const REFUSED: Outcome = Outcome::ConnectFailed(Cause::Refused);
const TIMEOUT: Finding = Finding::Failed(ProbeFailure::Timeout);

fn at(ms: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(ms)
}

fn http() -> Health {
    Health::Probes(ProbeSettings {
        check: Check::Http {
            method: http::Method::GET,
            path: http::uri::PathAndQuery::from_static("/"),
            expect: StatusRanges::default(),
        },
        ..ProbeSettings::default()
    })
}

fn tcp() -> Health {
    Health::Probes(ProbeSettings::default())
}

struct World {
    pool: Arc<SharedPool>,
    heard: Arc<Heard>,
    rng: Rng,
}

impl World {
    fn new(members: usize, health: Health) -> Self {
        let heard = Arc::default();
        Self {
            pool: pool_of(members, health, &heard),
            heard,
            rng: Rng::new(1),
        }
    }

    /// A pool whose members have all passed their first probe.
    fn up(members: usize, health: Health) -> Self {
        let world = Self::new(members, health);
        for probe in world.due(0).0 {
            world.probed(&probe, Finding::Passed, 0);
        }
        world.heard.take();
        world
    }

    fn due(&self, ms: u64) -> (Vec<Probe>, Instant) {
        self.pool.look_soon();
        self.pool.due(at(ms))
    }

    fn probed(&self, probe: &Probe, finding: Finding, ms: u64) {
        self.pool.probed(probe, finding, at(ms));
        self.pool.probe_over(probe, true);
    }

    /// Starts the probe of one member, which must be due, and lets all others that are due pass.
    fn probe(&self, index: u32, finding: Finding, ms: u64) {
        let (probes, _) = self.due(ms);
        assert!(probes.iter().any(|probe| probe.member.index() == index));
        for probe in probes {
            let own = probe.member.index() == index;
            self.probed(&probe, if own { finding } else { Finding::Passed }, ms);
        }
    }

    fn pick(&self, ms: u64) -> Option<Lease> {
        self.pool.pick(&mut Tried::new(), &self.rng, at(ms))
    }

    /// Picks until it is `index`'s turn.
    fn pick_at(&self, index: u32, ms: u64) -> Lease {
        let mut picks = (0..100).map_while(|_| self.pick(ms));
        picks
            .find(|lease| lease.member().index() == index)
            .expect("the member is eligible")
    }

    fn pick_index(&self, ms: u64) -> Option<u32> {
        self.pick(ms).map(|lease| lease.member().index())
    }

    /// Another member answers at this moment.
    fn others_answer(&self, index: u32, ms: u64) {
        self.pick_at(index, ms).finish(OK, at(ms));
    }

    fn states(&self) -> Vec<State> {
        states(&self.pool.view())
    }

    fn rung(&self) -> bool {
        let cx = std::task::Context::from_waker(noop_waker_ref());
        self.pool.poll_rung(&cx)
    }
}

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
    assert_eq!(next, at(502), "the guard looks");
    let (probes, _) = world.due(1599);
    assert!(probes.is_empty());
    let (probes, _) = world.due(2400);
    world.probed(&probes[0], TIMEOUT, 2400);
    for ms in [4800, 7200] {
        world.probe(0, TIMEOUT, ms);
    }
    assert_eq!(world.states(), [Down]);
    assert!(world.due(7359).0.is_empty());
    assert_eq!(world.due(7440).0.len(), 1);
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

#[test]
fn every_lease_reports_one_outcome_and_leases_return_to_zero() {
    let world = World::up(1, tcp());
    let outcomes = [
        OK,
        Outcome::Failed(Cause::Closed),
        Outcome::Abandoned,
        REFUSED,
    ];
    let leases = outcomes.map(|outcome| (world.pick(10).unwrap(), outcome));
    let dropped = world.pick(10);
    let view = &world.pool.view()[0];
    assert_eq!((view.in_flight, view.waiting), (5, 5));
    drop(dropped);
    for (mut lease, outcome) in leases {
        lease.byte(at(20));
        lease.byte(at(21));
        lease.finish(outcome, at(22));
    }
    let view = &world.pool.view()[0];
    assert_eq!((view.in_flight, view.waiting), (0, 0));
    let counts = view.counters;
    assert_eq!(
        [
            counts.picks,
            counts.answered,
            counts.failed,
            counts.abandoned,
            counts.connect_failed
        ],
        [5, 1, 1, 2, 1]
    );
}

#[test]
fn the_turn_goes_on_in_file_order_when_members_leave_and_return() {
    let world = World::up(3, tcp());
    assert_eq!(world.pick_index(10), Some(0));
    world.pick(10).unwrap().finish(REFUSED, at(10));
    assert_eq!([10; 3].map(|ms| world.pick_index(ms)), [2, 0, 2].map(Some));
    world.probe(1, Finding::Passed, 11);
    assert_eq!([12; 3].map(|ms| world.pick_index(ms)), [0, 1, 2].map(Some));
}

#[test]
fn a_retry_goes_elsewhere_and_there_is_none_when_all_are_tried() {
    let world = World::up(2, tcp());
    let mut tried = Tried::new();
    let mut pick = || {
        let lease = world.pool.pick(&mut tried, &world.rng, at(5))?;
        Some(lease.member().index())
    };
    assert_eq!([pick(), pick(), pick()], [Some(0), Some(1), None]);
}

#[test]
fn without_probes_a_suspect_gets_one_trial_at_a_time_with_growing_pauses() {
    let world = World::new(2, Health::Off);
    let refused = |ms| {
        world.due(ms);
        world.pick_at(0, ms).finish(REFUSED, at(ms));
    };
    refused(0);
    assert_eq!(world.states(), [Suspect, Up]);
    for (ms, next) in [(1000, 3000), (3000, 7000)] {
        world.due(ms - 1);
        assert_eq!([0; 2].map(|_| world.pick_index(ms - 1)), [Some(1); 2]);
        refused(ms);
        assert!(world.due(next - 10).1 <= at(next));
    }
    world.due(7000);
    let trial = world.pick_at(0, 7000);
    assert_eq!([0; 3].map(|_| world.pick_index(7000)), [Some(1); 3]);
    drop(trial);
    let mut trial = world.pick_at(0, 7001);
    assert_eq!([0; 3].map(|_| world.pick_index(7001)), [Some(1); 3]);
    trial.byte(at(7100));
    assert_eq!(world.states(), [Up, Up]);
    let heard = world.heard.take();
    assert_eq!(
        heard.last().unwrap(),
        "m0 suspect to up: a trial request was answered (2/2)"
    );
    drop(trial);
    assert_eq!(
        [0; 2]
            .map(|_| world.pick_index(7200).unwrap())
            .iter()
            .sum::<u32>(),
        1
    );
}

#[test]
fn only_one_of_eight_threads_gets_the_trial() {
    for _ in 0..50 {
        let world = World::new(1, Health::Off);
        world.pick_at(0, 0).finish(REFUSED, at(0));
        world.due(1000);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if let Some(lease) = world.pick(1000) {
                        taken.fetch_add(1, Ordering::Relaxed);
                        std::mem::forget(lease);
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 1);
    }
}

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

/// Anything may happen in any order: no pick outside the eligible, and in the end nothing is in flight.
#[test]
fn a_random_history_keeps_the_books() {
    for seed in 0..60 {
        let world = World::new(4, if seed % 3 == 0 { Health::Off } else { http() });
        let draw = Rng::new(seed);
        let mut leases: Vec<Lease> = Vec::new();
        let mut probes: Vec<Probe> = Vec::new();
        for step in 0..2000 {
            let ms = step * 37;
            match draw.below(10) {
                0..4 => {
                    let states = world.states();
                    let on_trial = world.pool.snapshot();
                    if let Some(lease) = world.pick(ms) {
                        let index = lease.member().index() as usize;
                        let trial = on_trial
                            .members()
                            .iter()
                            .any(|m| m.index() as usize == index);
                        assert!(trial, "a pick outside the snapshot");
                        let anybody_up = states.contains(&Up);
                        assert!(states[index] != Unknown || !anybody_up);
                        assert!(states[index] != Down);
                        leases.push(lease);
                    } else {
                        assert!(!states.contains(&Up) && !states.contains(&Unknown));
                    }
                }
                4..7 if !leases.is_empty() => {
                    let which = draw.below(leases.len() as u64) as usize;
                    let mut lease = leases.swap_remove(which);
                    match draw.below(5) {
                        0 => lease.finish(REFUSED, at(ms)),
                        1 => lease.finish(Outcome::Failed(Cause::TimedOut), at(ms)),
                        2 => drop(lease),
                        3 => lease.finish(OK, at(ms)),
                        _ => {
                            lease.byte(at(ms));
                            leases.push(lease);
                        }
                    }
                }
                7 if !probes.is_empty() => {
                    let probe = probes.swap_remove(draw.below(probes.len() as u64) as usize);
                    let findings = [Finding::Passed, Finding::Passed, TIMEOUT, Finding::Nothing];
                    world.probed(&probe, findings[draw.below(4) as usize], ms);
                }
                _ => probes.extend(world.due(ms).0),
            }
        }
        leases.clear();
        for member in world.pool.view() {
            assert_eq!((member.in_flight, member.waiting), (0, 0), "seed {seed}");
            let c = member.counters;
            assert_eq!(
                c.picks,
                c.answered + c.failed + c.abandoned + c.connect_failed
            );
        }
    }
}

#[test]
fn picks_race_with_transitions_and_lose_no_count() {
    let world = World::up(3, tcp());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (world, stop) = (&world, &stop);
            scope.spawn(move || {
                for round in 0..3000 {
                    // Members 0 and 1 flap; 2 is always there.
                    let lease = world.pick(10_000 + round).expect("somebody is always up");
                    let flap = lease.member().index() < 2 && (round + thread) % 7 == 0;
                    lease.finish(if flap { REFUSED } else { OK }, at(10_000 + round));
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
        let mut ms = 10_000;
        while !stop.load(Ordering::Relaxed) {
            ms += 1;
            for probe in world.due(ms).0 {
                world.probed(&probe, Finding::Passed, ms);
            }
        }
    });
    let view = world.pool.view();
    assert_eq!(view.iter().map(|member| member.in_flight).sum::<u32>(), 0);
    let picks: u64 = view.iter().map(|member| member.counters.picks).sum();
    assert_eq!(picks, 4 * 3000);
}
