//! Draining, maintenance and back; backups; a pool that tries anyway; and the timeline.

use super::*;
use crate::config::settings::{PoolSettings, WhenAllDown};
use crate::event::State::{Draining, Maintenance};
use crate::event::{Command, Trigger};
use crate::pool::testing::{backends, pool_with};
use crate::pool::{Passage, UnknownMember};

impl World {
    fn with(settings: &PoolSettings) -> Self {
        let heard = Arc::default();
        Self {
            pool: pool_with(settings, &heard),
            heard,
            rng: Rng::new(1),
        }
    }

    /// Who gets the next six picks.
    fn turn(&self, ms: u64) -> String {
        let pick = |_| self.pick_index(ms).map_or("-".into(), |i| i.to_string());
        (0..6).map(pick).collect()
    }
}

/// Members, of which those from `first_backup` on are backups.
fn tiers(members: usize, first_backup: usize, health: Health) -> PoolSettings {
    let mut servers = backends(members);
    for server in &mut servers[first_backup..] {
        server.backup = true;
    }
    PoolSettings {
        health,
        slow_start: None,
        ..PoolSettings::new("app", servers)
    }
}

fn anyway(members: usize, health: Health) -> PoolSettings {
    PoolSettings {
        when_all_down: WhenAllDown::TryAnyway,
        ..tiers(members, members, health)
    }
}

#[test]
fn a_draining_member_gets_nothing_new_and_finishes_what_it_has() {
    let world = World::up(3, tcp());
    let running = world.pick_at(1, 10);
    world.pool.drain("m1", at(20)).unwrap();
    assert_eq!(world.states(), [Up, Draining, Up]);
    assert!(!world.turn(20).contains('1'));
    assert_eq!(world.pool.view()[1].in_flight, 1);
    running.finish(OK, at(30));
    assert_eq!(world.pool.view()[1].in_flight, 0);
    // It is probed as before, and told again it does nothing.
    world.pool.drain("m1", at(40)).unwrap();
    world.probe(1, Finding::Passed, 3000);
    world.pool.ready("m1", at(3001)).unwrap();
    assert_eq!(world.states(), [Up; 3]);
    assert_eq!(
        world.heard.take(),
        [
            "m1 up to draining: asked to drain (2/3)",
            "m1 draining to up: asked back (3/3)"
        ]
    );
    let index = |ms| world.pick_index(ms).unwrap();
    let mut picks = [3001, 3002, 3003].map(index);
    picks.sort_unstable();
    assert_eq!(picks, [0, 1, 2], "at once, and with its whole share");
}

#[test]
fn a_member_that_is_down_when_its_drain_ends_stays_out() {
    let world = World::up(2, tcp());
    world.pool.drain("m0", at(10)).unwrap();
    for ms in [3000, 6000, 9000] {
        world.probe(0, TIMEOUT, ms);
        assert_eq!(world.states(), [Draining, Up]);
    }
    world.pool.ready("m0", at(9001)).unwrap();
    assert_eq!(world.states(), [State::Down, Up]);
}

#[test]
fn in_maintenance_nobody_probes_and_afterwards_the_first_probe_decides() {
    let world = World::up(2, tcp());
    let (probes, _) = world.due(3000);
    world.pool.maintain("m0", at(3000)).unwrap();
    assert_eq!(world.states(), [Maintenance, Up]);
    for probe in &probes {
        world.probed(probe, TIMEOUT, 3001);
    }
    for ms in (3100..20_000).step_by(100) {
        for probe in world.due(ms).0 {
            assert_eq!(probe.member.index(), 1);
            world.probed(&probe, Finding::Passed, ms);
        }
    }
    assert_eq!(world.pool.view()[0].counters.probes_failed, 0);
    world.pool.ready("m0", at(20_000)).unwrap();
    assert_eq!(world.states(), [Unknown, Up]);
    world.probe(0, Finding::Passed, 20_000);
    assert_eq!(world.states(), [Up, Up]);
    world.step(20_000);
    let share = world.pool.snapshot().members()[0].share(at(20_001));
    assert!(share < super::super::Member::SHARE_FULL, "it starts slowly");
}

#[test]
fn a_probe_from_before_maintenance_says_nothing_after_it() {
    let world = World::up(2, tcp());
    let (probes, _) = world.due(3000);
    world.pool.maintain("m0", at(3001)).unwrap();
    world.pool.ready("m0", at(3002)).unwrap();
    for probe in &probes {
        world.probed(probe, Finding::Passed, 3003);
    }
    assert_eq!(world.states(), [Unknown, Up]);
    world.probe(0, Finding::Passed, 3004);
    assert_eq!(world.states(), [Up, Up]);
}

#[test]
fn without_probes_a_member_is_up_again_when_asked_back() {
    let world = World::new(2, Health::Off);
    for command in [Command::Drain, Command::Maintain] {
        world.pool.command("m0", command, at(10)).unwrap();
        assert_eq!(world.pick_index(10), Some(1));
        world.due(5000);
        world.pool.ready("m0", at(5000)).unwrap();
        assert_eq!(world.states(), [Up, Up]);
    }
}

#[test]
fn even_the_last_member_may_be_drained_and_nobody_unknown_can() {
    let world = World::up(1, tcp());
    world.pool.drain("m0", at(10)).unwrap();
    assert!(world.pick(10).is_none());
    assert_eq!(world.pool.drain("m7", at(11)), Err(UnknownMember));
}

#[test]
fn backups_get_requests_only_while_no_other_member_can() {
    let world = World::with(&tiers(4, 2, Health::Off));
    assert_eq!(world.turn(0), "010101");
    world.pick_at(0, 10).finish(REFUSED, at(10));
    assert_eq!(world.turn(10), "111111");
    world.pick_at(1, 20).finish(REFUSED, at(20));
    assert_eq!(world.turn(20), "232323");
    // The first trial is a request to m0; the others go on at the backups.
    world.due(1010);
    let trial = world.pick_at(0, 1010);
    assert!(world.turn(1010).chars().all(|c| c == '2' || c == '3'));
    trial.finish(OK, at(1011));
    assert_eq!(world.turn(1011), "000000");
}

#[test]
fn a_backup_stands_by_for_who_has_failed_elsewhere_while_it_is_up() {
    let mut settings = tiers(4, 1, Health::Off);
    settings.servers[2].weight = std::num::NonZeroU32::new(3).unwrap();
    let world = World::with(&settings);
    let standby = |tried: &mut Tried| {
        let lease = world.pool.pick_standby(tried, &world.rng, at(0))?;
        Some(lease.member().index())
    };
    let mut counts = [0; 4];
    for _ in 0..1_000 {
        counts[standby(&mut Tried::new()).unwrap() as usize] += 1;
    }
    assert_eq!(counts[0], 0, "it is no backup");
    assert!((550..650).contains(&counts[2]), "{counts:?}");
    world.pool.drain("m2", at(0)).unwrap();
    let mut tried = Tried::new();
    let mut both = [standby(&mut tried), standby(&mut tried)];
    both.sort();
    assert_eq!(both, [Some(1), Some(3)]);
    assert_eq!(standby(&mut tried), None);
    // Once the backups serve, nobody waits any more.
    world.pool.drain("m0", at(0)).unwrap();
    assert_eq!(standby(&mut Tried::new()), None);
}

#[test]
fn a_backups_trial_waits_until_backups_are_needed() {
    let world = World::with(&tiers(3, 1, Health::Off));
    world.pool.drain("m0", at(0)).unwrap();
    world.pick_at(1, 10).finish(REFUSED, at(10));
    world.pool.ready("m0", at(11)).unwrap();
    world.due(1010);
    assert_eq!(world.turn(1010), "000000");
    world.pool.drain("m0", at(1011)).unwrap();
    world.pick_at(1, 1012).finish(OK, at(1013));
    assert_eq!(world.turn(1014).matches('1').count(), 3);
}

#[test]
fn a_known_backup_comes_before_an_unknown_server() {
    let world = World::with(&tiers(2, 1, tcp()));
    assert_eq!(world.turn(0), "000000");
    let (probes, _) = world.due(0);
    world.probed(&probes[1], Finding::Passed, 1);
    assert_eq!(world.turn(1), "111111");
    world.probed(&probes[0], Finding::Passed, 2);
    assert_eq!(world.turn(2), "000000");
}

#[test]
fn a_pool_that_tries_anyway_asks_everybody_who_is_wanted() {
    let world = World::with(&anyway(3, tcp()));
    for probe in world.due(0).0 {
        world.probed(&probe, TIMEOUT, 0);
    }
    assert_eq!(world.states(), [State::Down; 3]);
    assert_eq!(world.turn(1), "012012");
    world.pool.drain("m1", at(2)).unwrap();
    assert_eq!(world.turn(2), "020202");
    let trusted = World::with(&tiers(3, 3, tcp()));
    for probe in trusted.due(0).0 {
        trusted.probed(&probe, TIMEOUT, 0);
    }
    assert_eq!(trusted.turn(1), "------");
}

#[test]
fn whoever_answers_a_desperate_request_is_no_longer_suspect() {
    for health in [Health::Off, tcp()] {
        let world = World::with(&anyway(2, health));
        for probe in world.due(0).0 {
            world.probed(&probe, Finding::Passed, 0);
        }
        world.pick_at(0, 10).finish(REFUSED, at(10));
        world.pick_at(1, 10).finish(REFUSED, at(10));
        assert_eq!(world.states(), [Suspect; 2]);
        world.pick_at(1, 20).finish(REFUSED, at(20));
        assert_eq!(world.states(), [Suspect; 2]);
        world.pick_at(0, 30).finish(OK, at(31));
        assert_eq!(world.states(), [Up, Suspect]);
        assert_eq!(world.turn(32), "000000");
    }
}

#[test]
fn trials_of_a_desperate_pool_begin_when_somebody_is_back() {
    let world = World::with(&anyway(2, Health::Off));
    world.pick_at(0, 0).finish(REFUSED, at(0));
    world.due(1000);
    world.pick_at(1, 1000).finish(REFUSED, at(1000));
    assert_eq!(world.states(), [Suspect; 2]);
    // m0 was on trial, which no longer limits it.
    assert_eq!(world.turn(1001).matches('0').count(), 3);
    world.due(5000);
    assert_eq!(world.turn(5001).matches('1').count(), 3);
    world.pick_at(0, 6000).finish(OK, at(6000));
    assert_eq!(world.turn(6001), "000000");
    world.due(6500);
    let picks: Vec<_> = (0..6).filter_map(|_| world.pick(6501)).collect();
    let trials = picks.iter().filter(|pick| pick.member().index() == 1);
    assert_eq!((picks.len(), trials.count()), (6, 1));
}

#[test]
fn the_timeline_keeps_the_last_transitions_with_their_causes() {
    let world = World::up(2, tcp());
    world.pool.drain("m0", at(100)).unwrap();
    world.pool.ready("m0", at(200)).unwrap();
    let timeline = world.pool.timeline();
    assert_eq!(&*timeline[0].name, "m0");
    let passage = |from, to, trigger, ms| Passage {
        from,
        to,
        trigger,
        at: at(ms),
    };
    assert_eq!(
        timeline[0].passages,
        [
            passage(Unknown, Up, Trigger::ProbesPassed(1), 0),
            passage(Up, Draining, Trigger::Asked(Command::Drain), 100),
            passage(Draining, Up, Trigger::Asked(Command::Ready), 200),
        ]
    );
    assert_eq!(timeline[1].passages.len(), 1);
    for ms in 0..40 {
        world.pool.drain("m0", at(1000 + 2 * ms)).unwrap();
        world.pool.ready("m0", at(1001 + 2 * ms)).unwrap();
    }
    let passages = &world.pool.timeline()[0].passages;
    assert_eq!(passages.len(), 32);
    assert_eq!((passages[0].at, passages[31].at), (at(1048), at(1079)));
}

#[test]
fn whoever_waits_at_a_member_that_is_tried_anyway_is_not_sent_elsewhere_for_that() {
    let world = World::with(&anyway(2, Health::Off));
    world.pick_at(0, 10).finish(REFUSED, at(10));
    world.pick_at(1, 10).finish(REFUSED, at(10));
    let mut waiting = world.stuck_at(0, 20);
    assert!(!waiting.is_stuck(noop_waker_ref(), at(5000)));
    waiting.byte(at(5001));
    assert_eq!(world.states(), [Up, Suspect]);
}
