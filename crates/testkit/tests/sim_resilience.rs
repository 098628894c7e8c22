//! Hedging, and storms of retries: the whole balancer in virtual time, before servers of limited strength.

use std::time::Duration;

use lb_core::config::settings::{HedgeAfter, Settings};
use lb_core::time::Instant;
use lb_testkit::sim::{
    Behaviour, Capacity, Check, Load, Outcome, Proxy, World, secs, seeds, settings, sim,
};

/// What the retry budget allows a second in any case.
const FLOOR: f64 = 10.0;

fn behave(world: &World, backends: u8, behaviour: &Behaviour) {
    for number in 1..=backends {
        world.behave(&format!("b{number}"), behaviour.clone());
    }
}

/// So many GETs a second with short answers.
fn gets(per_second: u32, until: u64) -> Load {
    Load {
        down: 0..=200,
        ..Load::open(per_second, secs(until))
    }
}

async fn settled(world: &World, proxy: &Proxy) {
    world.quiet().await;
    world.run_for(Duration::from_secs(2)).await;
    world.check().nothing_wrong();
    proxy.idle();
}

/// How long the slowest in a hundred of the requests of a time took, at least.
fn p99(check: &Check, from: u64, until: u64) -> Duration {
    let asked = check.asked_between(secs(from), secs(until));
    let mut took: Vec<_> = asked.map(|asked| asked.took).collect();
    took.sort();
    took[took.len() * 99 / 100]
}

/// Requests and attempts of a time.
fn counts(check: &Check, from: Instant, until: Instant) -> (usize, usize) {
    let attempts = check.seen_between(from, until).values().sum();
    (check.asked_between(from, until).count(), attempts)
}

/// In every ten seconds there are at most so many attempts as the budget allows.
fn within_budget(check: &Check, until: u64) {
    for from in 0..until.saturating_sub(10) {
        let (requests, attempts) = counts(check, secs(from), secs(from + 10));
        let allowed = 1.2 * requests as f64 + FLOOR * 10.0;
        assert!(
            attempts as f64 <= allowed,
            "{attempts} attempts for {requests} requests from second {from}"
        );
    }
}

fn hedging(mut settings: Settings, after: HedgeAfter) -> Settings {
    settings.pool.limits.hedge = Some(after);
    settings
}

#[test]
fn hedging_cuts_the_answers_of_one_slow_member_short() {
    let after = HedgeAfter::Time(Duration::from_millis(50));
    for seed in seeds(2) {
        let mut slowest = Vec::new();
        for hedge in [None, Some(after), Some(HedgeAfter::Percentile(80))] {
            let mut took = Duration::ZERO;
            sim(seed, |world| {
                let took = &mut took;
                async move {
                    let mut settings = settings(&world.backends(6));
                    settings.pool.limits.hedge = hedge;
                    let slow = Behaviour {
                        service_us: 300_000..=500_000,
                        ..Behaviour::default()
                    };
                    world.behave("b2", slow);
                    let proxy = world.proxy(settings).await;
                    world.run_until(secs(1)).await;
                    world.load(proxy.address(), gets(200, 20));
                    settled(&world, &proxy).await;
                    let check = world.check();
                    check.no_failed_get();
                    let exchanges = check.exchanges();
                    let hedged = exchanges.iter().filter(|e| e.hedge.is_some()).count();
                    assert_eq!(hedged > 0, hedge.is_some());
                    assert!(exchanges.iter().all(|e| e.attempts <= 2));
                    within_budget(&check, 20);
                    *took = p99(&check, 10, 20);
                }
            });
            slowest.push(took);
        }
        assert!(slowest[0] >= Duration::from_millis(400), "{slowest:?}");
        assert!(slowest[1] <= Duration::from_millis(150), "{slowest:?}");
        assert!(slowest[2] <= Duration::from_millis(150), "{slowest:?}");
    }
}

#[test]
fn a_pool_that_is_slow_as_a_whole_does_not_get_its_load_twice() {
    for seed in seeds(2) {
        sim(seed, |world| async move {
            let backends = world.backends(3);
            let after = HedgeAfter::Time(Duration::from_millis(50));
            let proxy = world.proxy(hedging(settings(&backends), after)).await;
            behave(
                &world,
                3,
                &Behaviour {
                    service_us: 100_000..=300_000,
                    ..Behaviour::default()
                },
            );
            world.run_until(secs(1)).await;
            world.load(proxy.address(), gets(200, 25));
            settled(&world, &proxy).await;
            let check = world.check();
            check.no_failed_get();
            within_budget(&check, 25);
            let (requests, attempts) = counts(&check, secs(1), secs(25));
            assert!(attempts > requests, "there were hedges");
        });
    }
}

/// What ends the good times, and with which the good times come back.
#[derive(Clone, Copy, Debug)]
enum Trigger {
    /// One of three members is dead.
    Crash,
    /// So many further requests a second.
    Burst(u32),
    /// Every member is slower than it was.
    Slow,
}

const BEGIN: u64 = 10;
const END: u64 = 20;
const LAST: u64 = 36;

/// Whole answers of members a second, as clients see them within a time.
fn goodput(check: &Check, from: Instant, until: Instant) -> f64 {
    let good = check.asked().iter().filter(|asked| {
        let ended = asked.at + asked.took;
        let fine = matches!(&asked.outcome, Some(Outcome::Answered { status: 200, .. }));
        fine && from <= ended && ended < until
    });
    good.count() as f64 / until.saturating_since(from).as_secs_f64()
}

fn storm(trigger: Trigger, seed: u64) {
    sim(seed, |world| async move {
        let backends = world.backends(3);
        // Two hundred a second each; what waits there waits for a fifth of a second.
        let strength = Behaviour {
            service_us: 15_000..=25_000,
            capacity: Some(Capacity {
                at_once: 4,
                queue: 40,
            }),
            ..Behaviour::default()
        };
        behave(&world, 3, &strength);
        let proxy = world.proxy(settings(&backends)).await;
        world.run_until(secs(1)).await;
        let clients = |per_second, until| Load {
            tries: 3,
            patience: Duration::from_secs(1),
            ..gets(per_second, until)
        };
        world.load(proxy.address(), clients(480, LAST));
        world.run_until(secs(BEGIN)).await;
        match trigger {
            Trigger::Crash => world.crash("b2"),
            Trigger::Burst(more) => world.load(proxy.address(), clients(more, END)),
            Trigger::Slow => {
                let slow = Behaviour {
                    service_us: 60_000..=100_000,
                    ..strength.clone()
                };
                behave(&world, 3, &slow);
            }
        }
        world.run_until(secs(END)).await;
        match trigger {
            Trigger::Crash => world.restart("b2"),
            Trigger::Burst(_) => {}
            Trigger::Slow => behave(&world, 3, &strength),
        }
        settled(&world, &proxy).await;
        let check = world.check();
        within_budget(&check, LAST);
        let before = goodput(&check, secs(BEGIN - 5), secs(BEGIN));
        assert!(
            before >= 450.0,
            "{trigger:?}: only {before} a second before"
        );
        for from in END + 10..LAST - 1 {
            let after = goodput(&check, secs(from), secs(from + 1));
            assert!(
                after >= 0.95 * before,
                "{trigger:?}: {after} a second at {from} s, {before} before"
            );
        }
    });
}

#[test]
fn a_storm_of_retries_passes_when_a_dead_member_is_back() {
    seeds(2)
        .into_iter()
        .for_each(|seed| storm(Trigger::Crash, seed));
}

#[test]
fn a_storm_of_retries_passes_when_a_burst_is_over() {
    seeds(2)
        .into_iter()
        .for_each(|seed| storm(Trigger::Burst(600), seed));
}

#[test]
fn a_storm_of_retries_passes_when_the_members_are_fast_again() {
    seeds(2)
        .into_iter()
        .for_each(|seed| storm(Trigger::Slow, seed));
}
