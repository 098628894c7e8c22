//! Transitions and picks of a whole pool, in literal time.

mod adaptive;
mod command;
mod explain;
mod health;
mod inquiry;
mod latency;
mod outlier;
mod publishing;
mod stall;
mod telling;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::task::noop_waker_ref;
use http::StatusCode;

use super::testing::{Heard, pool_of, states};
use super::{Lease, Outcome, SharedPool};
use crate::config::settings::{Check, Health, HttpCheck, ProbeSettings};
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

fn http_probes() -> ProbeSettings {
    ProbeSettings {
        check: Check::from(HttpCheck::get(http::uri::PathAndQuery::from_static("/"))),
        ..ProbeSettings::default()
    }
}

fn http() -> Health {
    Health::Probes(http_probes())
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
        world.step(0);
        world.heard.take();
        world
    }

    fn due(&self, ms: u64) -> (Vec<Probe>, Instant) {
        let members = u32::try_from(self.states().len()).unwrap();
        (0..members).for_each(|index| self.pool.look_soon(index));
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

    /// A TCP probe of an eligible member that nobody planned.
    fn probe_of(&self, index: u32, ms: u64) -> Probe {
        let snapshot = self.pool.snapshot();
        let mut members = snapshot.members().iter();
        let member = members.find(|member| member.index() == index);
        Probe {
            member: Arc::clone(member.expect("the member is eligible")),
            settings: Arc::default(),
            started: at(ms),
            needs_answer: false,
        }
    }

    /// The monitor's step ends: what has changed is published.
    fn step(&self, ms: u64) {
        self.pool.apply(|pool| pool.end_step(at(ms)));
    }

    /// A pick after the monitor's step.
    fn pick(&self, ms: u64) -> Option<Lease> {
        self.step(ms);
        self.pick_now(ms)
    }

    fn pick_now(&self, ms: u64) -> Option<Lease> {
        self.pool.pick(&mut Tried::new(), &self.rng, at(ms))
    }

    /// Picks until it is `index`'s turn.
    fn pick_at(&self, index: u32, ms: u64) -> Lease {
        let mut picks = (0..100).map_while(|_| self.pick(ms));
        picks
            .find(|lease| lease.member().index() == index)
            .expect("the member is eligible")
    }

    /// A request that is picked then, and late when the guard looks.
    fn stuck_at(&self, index: u32, ms: u64) -> Lease {
        let mut lease = self.pick_at(index, ms);
        assert!(!lease.is_stuck(noop_waker_ref(), at(ms + 50)));
        lease
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
    let left = Outcome::Abandoned;
    world.pick_at(0, 7000).finish(left, at(7001));
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
                    // Now and then before the monitor has published what happened.
                    if draw.below(2) == 0 {
                        world.step(ms);
                    }
                    let on_trial = world.pool.snapshot();
                    if let Some(lease) = world.pick_now(ms) {
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
