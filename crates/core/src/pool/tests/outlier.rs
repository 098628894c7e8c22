//! Ejection by failing requests.

use super::*;
use crate::config::settings::{Passive, PoolSettings};
use crate::event::State::Ejected;
use crate::pool::Member;
use crate::pool::testing::{backends, pool_with};

const RESET: Outcome = Outcome::Failed(Cause::Closed);
const UNAVAILABLE: Outcome = Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE);

impl World {
    /// A pool with these rules, whose members are all up.
    fn judged(members: usize, health: Health, passive: Passive) -> Self {
        let heard = Arc::default();
        let settings = PoolSettings {
            health,
            passive: Some(passive),
            ..PoolSettings::new("app", backends(members))
        };
        let world = Self {
            pool: pool_with(&settings, &heard),
            heard,
            rng: Rng::new(1),
        };
        for probe in world.due(0).0 {
            world.probed(&probe, Finding::Passed, 0);
        }
        world.heard.take();
        world
    }

    fn ends(&self, index: u32, outcome: Outcome, count: u32, ms: u64) {
        for _ in 0..count {
            self.pick_at(index, ms).finish(outcome, at(ms));
            self.step(ms);
        }
    }

    /// The same, until the member is ejected; says whether it is.
    fn ends_while_in(&self, index: u32, outcome: Outcome, count: u32, ms: u64) -> bool {
        (0..count).any(|_| {
            self.ends(index, outcome, 1, ms);
            self.states()[index as usize] == Ejected
        })
    }

    fn ejected(&self) -> usize {
        let states = self.states();
        states.iter().filter(|state| **state == Ejected).count()
    }

    /// Lets probes pass and the guard look, up to `until`.
    fn idle(&self, from: u64, until: u64) {
        for ms in (from..=until).step_by(200) {
            for probe in self.due(ms).0 {
                self.probed(&probe, Finding::Passed, ms);
            }
        }
    }
}

fn rules() -> Passive {
    Passive {
        share_percent: None,
        ..Passive::default()
    }
}

#[test]
fn five_failures_in_a_row_eject_and_an_answer_starts_the_count_again() {
    // outcomes, ejected
    let table: [(&[(Outcome, u32)], bool); 8] = [
        (&[(RESET, 4)], false),
        (&[(RESET, 5)], true),
        (&[(UNAVAILABLE, 5)], true),
        (&[(UNAVAILABLE, 2), (RESET, 3)], true),
        (&[(RESET, 4), (OK, 1), (RESET, 4)], false),
        (&[(RESET, 4), (Outcome::Abandoned, 9), (RESET, 1)], true),
        (
            &[(Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR), 50)],
            false,
        ),
        (&[(Outcome::Abandoned, 50)], false),
    ];
    for (outcomes, ejected) in table {
        for health in [Health::Off, tcp(), http()] {
            let world = World::judged(3, health, rules());
            for &(outcome, count) in outcomes {
                world.ends(1, outcome, count, 10);
            }
            let state = if ejected { Ejected } else { Up };
            assert_eq!(world.states(), [Up, state, Up], "{outcomes:?}");
        }
    }
}

#[test]
fn in_a_large_pool_members_that_fail_are_compared_with_all_others_only_after_a_pause() {
    let world = World::judged(400, Health::Off, rules());
    for _ in 0..400 {
        world.pick_now(5).unwrap().finish(OK, at(5));
    }
    let fail = |index, ms| {
        for _ in 0..20 {
            let mut picks = std::iter::from_fn(|| world.pick_now(ms));
            let lease = picks.find(|lease| lease.member().index() == index);
            lease.unwrap().finish(RESET, at(ms));
        }
        world.pool.due(at(ms)).1
    };
    assert_eq!(fail(0, 10), at(500));
    assert_eq!(world.ejected(), 1);
    assert_eq!(fail(1, 11), at(12));
    fail(2, 11);
    assert_eq!(world.ejected(), 1);
    world.pool.due(at(12));
    assert_eq!(world.ejected(), 3);
    assert_eq!(
        world.heard.take().last().unwrap(),
        "m2 up to ejected: 5 requests in a row failed: closed (397/400)"
    );
}

#[test]
fn what_ejected_is_told() {
    let world = World::judged(3, tcp(), rules());
    world.ends(1, UNAVAILABLE, 5, 10);
    assert_eq!(
        world.heard.take(),
        ["m1 up to ejected: 5 requests in a row failed: status 503 (2/3)"]
    );
    assert!((0..6).all(|_| world.pick_index(10) != Some(1)));
}

#[test]
fn a_passed_probe_does_not_lift_an_ejection_and_one_good_answer_after_its_time_does() {
    for health in [Health::Off, tcp(), http()] {
        let world = World::judged(3, health, rules());
        world.ends(1, RESET, 5, 10);
        world.idle(200, 27_000);
        assert_eq!(world.states(), [Up, Ejected, Up]);
        assert!((0..6).all(|_| world.pick_index(27_000) != Some(1)));
        world.idle(33_200, 33_200);
        let mut trial = world.pick_at(1, 33_200);
        trial.byte(at(33_210));
        assert_eq!(
            world.states(),
            [Up, Ejected, Up],
            "a head is no whole answer"
        );
        assert!((0..6).all(|_| world.pick_index(33_210) != Some(1)));
        trial.finish(OK, at(33_220));
        assert_eq!(world.states(), [Up; 3]);
        assert_eq!(
            world.heard.take().last().unwrap(),
            "m1 ejected to up: a trial request was answered (3/3)"
        );
    }
}

#[test]
fn a_failed_trial_ejects_for_longer() {
    for failure in [RESET, UNAVAILABLE, Outcome::ConnectFailed(Cause::TimedOut)] {
        let world = World::judged(3, tcp(), rules());
        world.ends(1, RESET, 5, 10);
        world.idle(33_200, 33_200);
        let mut trial = world.pick_at(1, 33_200);
        if failure == UNAVAILABLE {
            trial.byte(at(33_300));
        }
        trial.finish(failure, at(33_300));
        world.idle(33_400, 87_000);
        assert!((0..6).all(|_| world.pick_index(87_000) != Some(1)));
        world.idle(99_400, 99_400);
        world.pick_at(1, 99_400).finish(OK, at(99_401));
        assert_eq!(world.states(), [Up; 3], "{failure:?}");
    }
}

#[test]
fn a_trial_that_streams_for_long_is_answered_by_its_coming() {
    let world = World::judged(3, tcp(), rules());
    world.ends(1, RESET, 5, 10);
    world.idle(33_200, 33_200);
    let mut trial = world.pick_at(1, 33_200);
    trial.byte(at(33_300));
    trial.byte(at(34_199));
    assert_eq!(world.states(), [Up, Ejected, Up]);
    trial.byte(at(34_200));
    assert_eq!(world.states(), [Up; 3]);
}

#[test]
fn a_trial_that_begins_to_answer_and_is_quiet_then_does_not_keep_its_member_out() {
    let world = World::judged(3, tcp(), rules());
    world.ends(1, RESET, 5, 10);
    world.idle(33_200, 33_200);
    let mut tunnel = world.pick_at(1, 33_200);
    world.idle(33_300, 35_000);
    assert_eq!(world.states(), [Up, Ejected, Up], "nothing has come");
    tunnel.byte(at(35_100));
    assert_eq!(world.states(), [Up; 3]);

    let world = World::judged(3, tcp(), rules());
    world.ends(1, RESET, 5, 10);
    world.idle(33_200, 33_200);
    let mut tunnel = world.pick_at(1, 33_200);
    tunnel.byte(at(33_210));
    world.idle(33_300, 34_199);
    assert_eq!(world.states(), [Up, Ejected, Up]);
    world.idle(34_200, 34_700);
    assert_eq!(world.states(), [Up; 3]);
    assert_eq!(
        world.heard.take().last().unwrap(),
        "m1 ejected to up: a trial request was answered (3/3)"
    );
    // Its end says nothing about a later trial.
    world.ends(1, RESET, 5, 34_800);
    assert_eq!(world.states(), [Up, Ejected, Up]);
    world.idle(35_000, 101_000);
    let _trial = world.pick_at(1, 101_000);
    drop(tunnel);
    assert!((0..6).all(|_| world.pick_index(101_000) != Some(1)));
}

#[test]
fn never_more_than_half_of_the_pool_is_ejected_and_never_the_last() {
    for (members, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let world = World::judged(members, Health::Off, rules());
        let all = 0..u32::try_from(members).unwrap();
        all.clone().for_each(|index| world.ends(index, OK, 100, 5));
        // One after the other: whoever fails stands out.
        for index in all {
            let stands_out = world.ends_while_in(index, RESET, 50, 10);
            assert!(stands_out || world.ejected() == most, "of {members}");
        }
        assert_eq!(world.ejected(), most, "of {members}");
    }
}

#[test]
fn a_pool_that_fails_as_a_whole_keeps_its_members() {
    for members in 2..6 {
        let world = World::judged(members, Health::Off, Passive::default());
        for count in 0..1_000 {
            let outcome = if count % 20 == 19 { OK } else { UNAVAILABLE };
            world.pick(10).unwrap().finish(outcome, at(10));
        }
        world.due(500);
        assert_eq!(world.ejected(), 0, "of {members}");
    }
}

#[test]
fn what_was_well_for_long_does_not_hide_that_others_fail_now() {
    let world = World::judged(3, Health::Off, rules());
    for index in 0..3 {
        world.ends(index, OK, 1_000, 10);
    }
    for index in [1, 2] {
        world.ends(index, RESET, 4, 20);
        world.ends(index, OK, 1, 20);
    }
    world.ends(0, RESET, 5, 30);
    assert_eq!(world.ejected(), 0, "it fails as often as they do");
    world.ends(0, RESET, 5, 40);
    assert_eq!(world.states(), [Ejected, Up, Up]);
}

#[test]
fn what_failed_long_ago_hides_nothing_with_or_without_a_share() {
    for share_percent in [None, Some(50)] {
        let rules = Passive {
            share_percent,
            ..Passive::default()
        };
        let world = World::judged(3, tcp(), rules);
        for index in 0..3 {
            world.ends(index, OK, 100, 10);
            for _ in 0..50 {
                world.ends(index, RESET, 1, 10);
                world.ends(index, OK, 1, 10);
            }
        }
        world.idle(200, 21_000);
        for index in 0..3 {
            world.ends(index, OK, 100, 21_000);
        }
        world.ends(0, RESET, 5, 21_010);
        assert_eq!(world.states(), [Ejected, Up, Up], "{share_percent:?}");
    }
}

#[test]
fn the_first_to_fail_of_many_comes_back_at_once_as_it_was() {
    let world = World::judged(3, tcp(), rules());
    world.idle(200, 1_000);
    world.ends(0, UNAVAILABLE, 5, 1_010);
    world.heard.take();
    for index in [1, 2] {
        world.ends(index, OK, 9, 1_100);
        world.ends(index, UNAVAILABLE, 3, 1_100);
    }
    world.idle(1_200, 1_800);
    assert_eq!(
        world.heard.take(),
        ["m0 ejected to up: 6 of 24 requests failed at the others (3/3)"]
    );
    let member = Arc::clone(&world.pool.snapshot().members()[0]);
    assert_eq!(member.share(at(1_800)), Member::SHARE_FULL);
    // It has had its second chance.
    world.ends(1, OK, 100, 2_000);
    world.ends(2, OK, 100, 2_000);
    world.ends(0, UNAVAILABLE, 5, 2_010);
    assert_eq!(world.states(), [Ejected, Up, Up]);
    for index in [1, 2] {
        world.ends(index, UNAVAILABLE, 30, 2_100);
    }
    world.idle(2_200, 3_200);
    assert_eq!(world.states(), [Ejected, Up, Up]);
}

#[test]
fn an_ejection_stands_when_the_others_are_well_or_fail_much_later() {
    for (good, bad, ms) in [(10, 3, 1_100), (3, 16, 6_100), (1, 5, 1_100)] {
        let world = World::judged(3, tcp(), rules());
        world.idle(200, 1_000);
        world.ends(0, UNAVAILABLE, 5, 1_010);
        world.idle(1_200, ms - 100);
        for index in [1, 2] {
            world.ends(index, OK, good, ms);
            for _ in 0..bad {
                world.ends(index, UNAVAILABLE, 1, ms);
            }
        }
        world.idle(ms + 100, ms + 1_000);
        assert_eq!(world.states(), [Ejected, Up, Up], "{bad} at {ms}");
    }
}

#[test]
fn who_was_spared_goes_once_there_is_room() {
    let world = World::judged(3, Health::Off, rules());
    world.ends(0, RESET, 5, 10);
    world.ends(2, OK, 50, 10);
    world.ends(1, RESET, 24, 10);
    assert_eq!(world.states(), [Ejected, Up, Up]);
    world.due(33_200);
    world.pick_at(0, 33_200).finish(OK, at(33_200));
    assert_eq!(world.states(), [Up; 3]);
    world.ends(1, RESET, 1, 33_300);
    assert_eq!(world.states(), [Up, Ejected, Up]);
}

#[test]
fn the_ejected_are_recalled_when_nobody_else_is_left() {
    let world = World::judged(2, tcp(), rules());
    world.ends(0, RESET, 5, 10);
    world.pick_at(1, 20).finish(REFUSED, at(20));
    assert_eq!(world.states(), [Up, Suspect]);
    assert_eq!(
        world.heard.take(),
        [
            "m0 up to ejected: 5 requests in a row failed: closed (1/2)",
            "m1 up to suspect: connect failed: refused (1/2)",
            "m0 ejected to up: nobody else is left (1/2)",
        ]
    );
    world.ends(0, RESET, 5, 30);
    assert_eq!(world.states(), [Up, Suspect], "it is the last");
}

#[test]
fn a_server_that_died_with_requests_on_it_is_back_with_its_first_passed_probe() {
    // Its requests are reset, and then either a request or a probe is refused.
    for health in [tcp(), http()] {
        let world = World::judged(3, health, rules());
        let on_the_way = world.pick_at(1, 10);
        world.ends(1, RESET, 5, 10);
        assert_eq!(world.states(), [Up, Ejected, Up]);
        let refused = Finding::Failed(ProbeFailure::Transport(Cause::Refused));
        world.probe(1, refused, 11);
        assert_eq!(world.states(), [Up, Suspect, Up]);
        on_the_way.finish(REFUSED, at(12));
        world.probe(1, Finding::Passed, 300);
        assert_eq!(world.states(), [Up; 3]);
    }
    let world = World::judged(3, tcp(), rules());
    let on_the_way = world.pick_at(1, 10);
    world.ends(1, RESET, 5, 10);
    on_the_way.finish(REFUSED, at(11));
    assert_eq!(world.states(), [Up, Suspect, Up]);
}

#[test]
fn failures_from_before_the_return_are_old_news() {
    let world = World::judged(2, tcp(), rules());
    let old: Vec<_> = (0..6).map(|_| world.pick_at(0, 10)).collect();
    world.pick_at(0, 11).finish(REFUSED, at(11));
    world.probe(0, Finding::Passed, 20);
    old.into_iter()
        .for_each(|lease| lease.finish(RESET, at(30)));
    assert_eq!(world.states(), [Up, Up]);
    world.ends(0, RESET, 5, 40);
    assert_eq!(world.states(), [Ejected, Up]);
}

#[test]
fn a_member_that_fails_half_of_its_answers_goes_and_one_that_fails_like_the_others_stays() {
    // failures of 20 at m0, of 20 at each other, ejected
    for (own, theirs, ejected) in [(10, 0, true), (9, 0, false), (12, 6, true), (12, 7, false)] {
        let world = World::judged(3, Health::Off, Passive::default());
        for turn in 0..20 {
            for (index, failing) in [(0, own), (1, theirs), (2, theirs)] {
                // Spread evenly, so that there is no streak of five.
                let fails = (turn + 1) * failing / 20 > turn * failing / 20;
                world.ends(index, if fails { RESET } else { OK }, 1, 100);
            }
        }
        world.due(600);
        let state = if ejected { Ejected } else { Up };
        assert_eq!(world.states(), [state, Up, Up], "{own} against {theirs}");
        if ejected {
            let told = world.heard.take().remove(0);
            let text = format!("m0 up to ejected: {own} of 20 requests failed (2/3)");
            assert_eq!(told, text);
        }
    }
}

#[test]
fn a_share_is_taken_over_ten_seconds() {
    let world = World::judged(2, Health::Off, Passive::default());
    let half = |ms: u64| {
        world.ends(0, RESET, 4, ms);
        world.ends(0, OK, 4, ms);
        world.due(ms);
    };
    half(1000);
    half(2000);
    world.due(10_000);
    half(11_000);
    half(12_000);
    assert_eq!(world.states(), [Up, Up]);
    half(13_000);
    assert_eq!(world.states(), [Ejected, Up]);
}

#[test]
fn switched_off_nothing_ejects() {
    let heard = Arc::default();
    let settings = PoolSettings {
        health: Health::Off,
        passive: None,
        ..PoolSettings::new("app", backends(2))
    };
    let pool = pool_with(&settings, &heard);
    let world = World {
        pool,
        heard,
        rng: Rng::new(1),
    };
    for _ in 0..100 {
        world.pick(10).unwrap().finish(RESET, at(10));
    }
    world.due(600);
    assert_eq!(world.states(), [Up, Up]);
}

/// Answers of each member that take so long to begin, one every 100 ms from `from` to `until`.
fn answers_after(world: &World, ms: &[u64], (from, until): (u64, u64)) {
    for begin in (from..until).step_by(100) {
        for (index, ms) in ms.iter().enumerate() {
            let mut lease = world.pick_at(index as u32, begin);
            lease.byte(at(begin + ms));
            lease.finish(Outcome::Answered(StatusCode::OK), at(begin + ms));
        }
    }
}

#[test]
fn a_slow_member_is_ejected_where_that_is_asked_for() {
    for (latency_factor, ejected) in [(None, 0), (Some(5), 1)] {
        let rules = Passive {
            latency_factor,
            ..Passive::default()
        };
        let world = World::judged(3, Health::Off, rules);
        answers_after(&world, &[300, 5, 10], (0, 9_000));
        world.idle(9_400, 11_000);
        assert_eq!(world.ejected(), ejected, "{latency_factor:?}");
        if ejected == 1 {
            let said = world.heard.take().pop().unwrap();
            let cause = "half of its answers took up to 375 ms to begin, those of the others 25 ms";
            assert!(said.contains(cause), "{said}");
        }
    }
}

#[test]
fn a_pool_that_is_slow_as_a_whole_ejects_nobody_for_it() {
    let rules = Passive {
        latency_factor: Some(2),
        ..Passive::default()
    };
    let world = World::judged(3, Health::Off, rules);
    answers_after(&world, &[900; 3], (0, 9_000));
    world.idle(9_900, 11_000);
    assert_eq!(world.ejected(), 0);
}

#[test]
fn a_window_of_slow_answers_is_forgotten_with_the_next() {
    let rules = Passive {
        latency_factor: Some(2),
        ..Passive::default()
    };
    let world = World::judged(3, Health::Off, rules);
    // Nobody to compare it with.
    answers_after(&world, &[900], (0, 6_000));
    world.idle(9_900, 11_000);
    answers_after(&world, &[5; 3], (11_000, 14_000));
    world.idle(14_000, 22_000);
    assert_eq!(world.ejected(), 0);
}
