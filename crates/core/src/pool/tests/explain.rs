//! Who is eligible, who is not, and why.

use super::*;
use crate::config::settings::PoolSettings;
use crate::decision::Exclusion;
use crate::event::Silent;
use crate::picker::{Query, Standing};
use crate::pool::testing::backends;

fn pool(settings: &PoolSettings) -> Arc<SharedPool> {
    SharedPool::new(settings, Rng::new(1), Arc::new(Silent), Instant::ORIGIN)
}

fn sized(count: usize) -> PoolSettings {
    PoolSettings {
        health: Health::Off,
        ..PoolSettings::new("app", backends(count))
    }
}

#[test]
fn an_explanation_foretells_the_pick_and_changes_nothing() {
    let (pool, rng) = (pool(&sized(5)), Rng::new(1));
    pool.drain("m1", Instant::ORIGIN).unwrap();
    pool.maintain("m3", Instant::ORIGIN).unwrap();
    for _ in 0..9 {
        let mut tried = Tried::new();
        let explain = |tried: &Tried| pool.explain(&Query::new(tried, Instant::ORIGIN, &rng), None);
        let decision = explain(&tried);
        assert_eq!(decision, explain(&tried));
        let lease = pool.pick(&mut tried, &rng, Instant::ORIGIN).unwrap();
        assert_eq!(
            decision.pick.unwrap().choice.as_ref(),
            Some(lease.member().name())
        );
        assert_eq!((decision.eligible, decision.size), (3, 5));
        let states: Vec<State> = decision.members.iter().map(|m| m.state).collect();
        let (up, draining) = (State::Up, State::Draining);
        assert_eq!(states, [up, draining, up, State::Maintenance, up]);
        let why = decision.members[1].standing.unwrap_err().to_string();
        assert_eq!(why, "asked to drain");
        let after = explain(&tried);
        let picked = after.members.iter().find(|m| m.in_flight == 1).unwrap();
        assert_eq!(picked.standing, Ok(Standing::Tried));
    }
}

#[test]
fn each_tier_says_why_it_waits() {
    let mut settings = sized(4);
    settings.health = tcp();
    settings.servers[1].backup = true;
    settings.servers[3].backup = true;
    let pool = pool(&settings);
    let standings = |pool: &SharedPool| -> Vec<_> {
        pool.survey()
            .members
            .iter()
            .map(|member| member.standing)
            .collect()
    };
    let (free, standby) = (Ok(Standing::Free), Err(Exclusion::Standby));
    assert_eq!(standings(&pool), [free, standby, free, standby]);
    let (probes, _) = pool.due(Instant::ORIGIN);
    let first = |index: u32| {
        probes
            .iter()
            .find(|probe| probe.member.index() == index)
            .unwrap()
    };
    pool.probed(first(1), Finding::Passed, Instant::ORIGIN);
    let unproven = Err(Exclusion::Unproven);
    assert_eq!(standings(&pool), [unproven, free, unproven, unproven]);
    pool.probed(first(0), Finding::Passed, Instant::ORIGIN);
    assert_eq!(standings(&pool), [free, standby, unproven, standby]);
    for (member, eligible) in pool
        .survey()
        .members
        .iter()
        .zip([true, false, false, false])
    {
        assert_eq!(member.is_eligible(), eligible);
    }
}

#[test]
fn a_survey_of_a_large_pool_lists_some_of_both_sides_and_counts_all() {
    let pool = pool(&sized(1000));
    let counts = |pool: &SharedPool| {
        let survey = pool.survey();
        let listed = survey.members.iter().filter(|m| m.is_eligible()).count();
        (
            survey.eligible,
            survey.size,
            listed,
            survey.members.len() - listed,
        )
    };
    assert_eq!(counts(&pool), (1000, 1000, 16, 0));
    for index in [3, 500, 999] {
        pool.drain(&format!("m{index}"), Instant::ORIGIN).unwrap();
    }
    let step = |ms| pool.apply(|pool| pool.end_step(at(ms)));
    step(100);
    assert_eq!(counts(&pool), (997, 1000, 16, 3));
    (100..200).for_each(|index| {
        pool.maintain(&format!("m{index}"), Instant::ORIGIN)
            .unwrap()
    });
    step(200);
    assert_eq!(counts(&pool), (897, 1000, 16, 16));
    let members = pool.survey().members;
    let names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
    assert_eq!(names[..5], ["m0", "m1", "m2", "m3", "m4"], "in file order");
}
