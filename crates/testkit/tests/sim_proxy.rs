//! The whole balancer in virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use lb_core::config::settings::Settings;
use lb_core::event::State;
use lb_core::time::Instant;
use lb_engine::app::Ended;
use lb_testkit::sim::{
    Answer, Behaviour, Conditions, Load, Outcome, Proxy, World, millis, replayed, secs, seeds,
    settings, sim,
};

/// From a backend's return to its next request, at most.
const RECOVERY: Duration = Duration::from_millis(500);
/// A request that takes longer is stuck.
const STUCK: Duration = Duration::from_millis(250);

async fn three(world: &World) -> Proxy {
    let backends = world.backends(3);
    world.proxy(settings(&backends)).await
}

/// GETs and POSTs with bodies; nobody gives up.
fn mixed(clients: usize, until: Instant) -> Load {
    Load {
        posts_per_mille: 300,
        ..Load::closed(clients, until)
    }
}

/// What holds after every story: nothing wrong, nothing lost, nothing left.
async fn settled(world: &World, proxy: &Proxy) {
    world.quiet().await;
    // Aborted attempts go with the next poll, probes with their timeout.
    world.run_for(Duration::from_secs(2)).await;
    world.check().nothing_wrong().all_ended().retries_within(2);
    proxy.idle();
}

#[test]
fn round_robin_is_exact_while_the_set_does_not_change() {
    for seed in seeds(10) {
        sim(seed, |world| async move {
            let proxy = three(&world).await;
            world.run_until(secs(1)).await;
            world.load(proxy.address(), mixed(8, secs(4)));
            world.quiet().await;
            let picks = proxy.picks();
            let (least, most) = (picks.iter().min(), picks.iter().max());
            let spread = most.zip(least).map(|(most, least)| most - least);
            assert!(spread <= Some(1), "an exact turn: {picks:?}");
            world.check().no_failed_get().answered_at_least(500);
            settled(&world, &proxy).await;
        });
    }
}

#[test]
fn a_crash_and_a_return_cost_no_get_and_half_a_second() {
    for seed in seeds(8) {
        sim(seed, |world| async move {
            let mut settings = settings(&world.backends(3));
            settings.pool.slow_start = None;
            let proxy = world.proxy(settings).await;
            // Small answers: one that has begun when its backend dies is lost.
            let load = Load {
                down: 0..=200,
                ..Load::closed(10, secs(12))
            };
            world.load(proxy.address(), load);
            world.run_until(secs(3)).await;
            world.crash("b2");
            world.run_until(secs(6)).await;
            world.restart("b2");
            let check = {
                settled(&world, &proxy).await;
                world.check()
            };
            check.no_failed_get().answered_at_least(1000);
            let back = check.first_seen("b2", secs(6)).expect("b2 is used again");
            let took = back.saturating_since(secs(6));
            assert!(took < RECOVERY, "recovery took {took:?}");
            let before = check.seen_between(secs(1), secs(3));
            let after = check.seen_between(millis(6_500), secs(12));
            for counts in [before, after] {
                let (least, most) = (counts.values().min(), counts.values().max());
                let most = *most.expect("all three are used");
                let least = *least.expect("all three are used");
                assert!(
                    counts.len() == 3 && most - least <= 10,
                    "an even spread: {counts:?}"
                );
            }
        });
    }
}

#[test]
fn a_frozen_backend_is_found_out_and_what_waits_there_is_rescued() {
    for seed in seeds(8) {
        sim(seed, |world| async move {
            let proxy = three(&world).await;
            // Small answers: nobody rescues one that has begun when its backend freezes.
            let load = Load {
                down: 0..=200,
                ..Load::closed(20, secs(12))
            };
            world.load(proxy.address(), load);
            world.run_until(secs(3)).await;
            world.freeze("b2");
            world.run_until(millis(3_300)).await;
            assert_eq!(proxy.members()[1].state, State::Stalled);
            let picks = proxy.picks()[1];
            world.run_until(secs(7)).await;
            let during = proxy.picks()[1] - picks;
            // A trial after one second, and after two more.
            assert!(during <= 2, "{during} picks of a frozen member");
            assert_eq!(proxy.members()[1].state, State::Stalled);
            let thawed = world.now();
            world.thaw("b2");
            settled(&world, &proxy).await;
            let check = world.check();
            check.no_failed_get().answered_at_least(1000);
            check.none_took_longer_than(STUCK);
            let back = check
                .changes()
                .iter()
                .find(|change| {
                    change.member == "b2" && change.at >= thawed && change.to == State::Up
                })
                .expect("b2 is used again");
            let took = back.at.saturating_since(thawed);
            assert!(took < RECOVERY, "recovery took {took:?}");
        });
    }
}

#[test]
fn few_clients_that_are_all_at_a_frozen_backend_are_rescued() {
    // clients, frozen at, found out and rescued within: the less has been seen, the longer the guard takes
    let table = [
        (1, 1_500, 1_700),
        (1, 5_000, 1_250),
        (1, 20_000, 300),
        (3, 15_000, 300),
        (10, 8_000, 300),
    ];
    for (seed, (clients, freeze, within)) in seeds(5).into_iter().zip(table) {
        sim(seed, |world| async move {
            let proxy = three(&world).await;
            world.run_until(secs(1)).await;
            let until = millis(freeze + 4_000);
            world.load(proxy.address(), Load::closed(clients, until));
            world.run_until(millis(freeze)).await;
            world.freeze("b2");
            world.run_for(Duration::from_millis(within)).await;
            assert_eq!(proxy.members()[1].state, State::Stalled);
            world.run_for(Duration::from_secs(2)).await;
            world.thaw("b2");
            settled(&world, &proxy).await;
            let check = world.check();
            check.no_failed_get();
            check.none_took_longer_than(Duration::from_millis(within));
            for change in check.changes() {
                assert!(change.member == "b2" || change.at < secs(1), "{change:?}");
            }
        });
    }
}

#[test]
fn with_one_of_three_backends_dead_a_frozen_one_is_found_out_as_well() {
    for (seed, clients) in seeds(4).into_iter().zip([3, 8, 10, 20]) {
        sim(seed, |world| async move {
            let proxy = three(&world).await;
            world.run_until(secs(1)).await;
            let load = Load {
                down: 0..=200,
                ..Load::closed(clients, secs(19))
            };
            world.load(proxy.address(), load);
            world.run_until(secs(3)).await;
            world.crash("b3");
            world.run_until(secs(15)).await;
            assert_eq!(proxy.members()[2].state, State::Down);
            world.freeze("b1");
            world.run_for(Duration::from_millis(300)).await;
            assert_eq!(proxy.members()[0].state, State::Stalled);
            world.run_for(Duration::from_secs(2)).await;
            world.thaw("b1");
            settled(&world, &proxy).await;
            let check = world.check();
            check.no_failed_get().answered_at_least(500);
            check.none_took_longer_than(Duration::from_millis(300));
            let up = proxy.members().into_iter().map(|m| m.state == State::Up);
            assert_eq!(up.collect::<Vec<_>>(), [true, true, false]);
        });
    }
}

#[test]
fn one_client_with_long_polls_among_its_requests_stalls_nobody() {
    for (seed, per_mille) in seeds(3).into_iter().zip([5, 50, 300]) {
        sim(seed, |world| async move {
            let backends = world.backends(3);
            for name in ["b1", "b2", "b3"] {
                let polling = Behaviour {
                    odd_per_mille: per_mille,
                    odd: vec![Answer::Poll],
                    ..Behaviour::default()
                };
                world.behave(name, polling);
            }
            let proxy = world.proxy(patient(&backends)).await;
            world.run_until(secs(1)).await;
            world.load(proxy.address(), Load::closed(1, secs(300)));
            settled(&world, &proxy).await;
            let check = world.check();
            check.no_failed_get();
            assert!(check.changes().iter().all(|change| change.at < secs(1)));
            assert!(check.asked().len() > 20);
        });
    }
}

#[test]
fn a_thousand_requests_a_second_do_not_notice_that_one_of_three_backends_froze() {
    for seed in seeds(3) {
        sim(seed, |world| async move {
            let proxy = three(&world).await;
            let load = Load {
                down: 0..=200,
                ..Load::open(1_000, secs(5))
            };
            world.load(proxy.address(), load);
            world.run_until(secs(2)).await;
            world.freeze("b2");
            world.run_until(secs(4)).await;
            world.thaw("b2");
            settled(&world, &proxy).await;
            let check = world.check();
            check.no_failed_get().answered_at_least(4_900);
            check.none_took_longer_than(STUCK);
        });
    }
}

/// The defaults, but for a minute until the first byte.
fn patient(backends: &[SocketAddr]) -> Settings {
    let mut settings = settings(backends);
    settings.pool.limits.first_byte = secs(60).since_origin();
    settings
}

#[test]
fn long_polls_among_fast_requests_stall_nobody_and_take_their_turns() {
    let mixes = [(200, 60), (500, 30), (100, 300)].into_iter().cycle();
    for (seed, (polls_per_mille, per_second)) in seeds(6).into_iter().zip(mixes) {
        sim(seed, |world| async move {
            let backends = world.backends(3);
            for name in ["b1", "b2", "b3"] {
                let polling = Behaviour {
                    odd_per_mille: polls_per_mille,
                    odd: vec![Answer::Poll],
                    ..Behaviour::default()
                };
                world.behave(name, polling);
            }
            let proxy = world.proxy(patient(&backends)).await;
            let load = Load {
                down: 0..=200,
                ..Load::open(per_second, secs(60))
            };
            world.run_until(secs(1)).await;
            world.load(proxy.address(), load);
            settled(&world, &proxy).await;
            let check = world.check();
            check.no_failed_get();
            let stalled = check
                .changes()
                .iter()
                .filter(|change| change.to == State::Stalled);
            assert_eq!(stalled.count(), 0, "nobody is frozen");
            let picks = proxy.picks();
            let (least, most) = (picks.iter().min(), picks.iter().max());
            let spread = most.zip(least).map(|(most, least)| most - least);
            assert!(spread <= Some(1), "an exact turn: {picks:?}");
        });
    }
}

#[test]
fn among_long_polls_a_frozen_backend_is_found_out_too() {
    for seed in seeds(4) {
        sim(seed, |world| async move {
            let backends = world.backends(3);
            for name in ["b1", "b2", "b3"] {
                let polling = Behaviour {
                    odd_per_mille: 100,
                    odd: vec![Answer::Poll],
                    ..Behaviour::default()
                };
                world.behave(name, polling);
            }
            let proxy = world.proxy(patient(&backends)).await;
            let load = Load {
                down: 0..=200,
                ..Load::open(300, secs(44))
            };
            world.run_until(secs(1)).await;
            world.load(proxy.address(), load);
            world.run_until(secs(40)).await;
            world.freeze("b2");
            world.run_until(millis(40_250)).await;
            assert_eq!(proxy.members()[1].state, State::Stalled);
            world.thaw("b2");
            settled(&world, &proxy).await;
            world.check().no_failed_get();
        });
    }
}

#[test]
fn a_pool_that_gets_slow_as_a_whole_keeps_its_members() {
    for seed in seeds(6) {
        sim(seed, |world| async move {
            let proxy = three(&world).await;
            let load = Load {
                down: 0..=200,
                ..Load::open(200, secs(20))
            };
            world.load(proxy.address(), load);
            world.run_until(secs(5)).await;
            for name in ["b1", "b2", "b3"] {
                let slow = Behaviour {
                    service_us: 1_000_000..=3_000_000,
                    ..Behaviour::default()
                };
                world.behave(name, slow);
            }
            while world.now() < secs(20) {
                world.run_for(Duration::from_millis(50)).await;
                let out = proxy.members();
                let out = out.iter().filter(|member| member.state != State::Up);
                assert!(out.count() <= 1, "more than half are out");
            }
            settled(&world, &proxy).await;
            world.check().no_failed_get();
            let late = world
                .check()
                .changes()
                .iter()
                .filter(|change| change.at > secs(10) && change.to != State::Up)
                .count();
            assert_eq!(late, 0, "by then it is known to be slow");
            let check = world.check();
            let stalls = check
                .changes()
                .iter()
                .filter(|change| change.to == State::Stalled);
            // Each false alarm makes the next one rarer.
            assert!(
                stalls.clone().count() <= 15,
                "{:?}",
                stalls.collect::<Vec<_>>()
            );
        });
    }
}

#[test]
fn all_down_is_answered_at_once_and_the_first_to_return_serves() {
    for seed in seeds(10) {
        sim(seed, |world| async move {
            let proxy = three(&world).await;
            world.load(proxy.address(), mixed(5, secs(8)));
            world.run_until(secs(2)).await;
            for name in ["b1", "b2", "b3"] {
                world.crash(name);
            }
            world.run_until(secs(5)).await;
            world.restart("b3");
            settled(&world, &proxy).await;
            let check = world.check();
            let mut answered = 0;
            for asked in check.asked_between(millis(2_100), secs(5)) {
                let Some(Outcome::Answered {
                    status,
                    backend: None,
                    retry_after,
                }) = &asked.outcome
                else {
                    panic!("a local answer was due: {asked:?}");
                };
                assert!(*status == 503 && *retry_after, "{asked:?}");
                // Two ways through the network, a connect and an answer, with all their pieces.
                assert!(
                    asked.took < Duration::from_millis(200),
                    "at once: {asked:?}"
                );
                answered += 1;
            }
            assert!(answered > 50, "only {answered} asked");
            let back = check.first_seen("b3", secs(5)).expect("b3 is used again");
            assert!(back.saturating_since(secs(5)) < RECOVERY, "recovery");
        });
    }
}

#[test]
fn a_graceful_stop_loses_nothing_and_closes_everything() {
    for seed in seeds(10) {
        sim(seed, |world| async move {
            let proxy = three(&world).await;
            world.load(proxy.address(), mixed(10, secs(3)));
            world.run_until(secs(2)).await;
            proxy.stop();
            assert_eq!(proxy.stopped().await, Ended::Gracefully);
            world.quiet().await;
            let check = world.check();
            check.nothing_wrong().all_ended().retries_within(2);
            for asked in check.asked() {
                match &asked.outcome {
                    Some(Outcome::Answered { status: 200, .. }) => {}
                    // Nobody listens any more; nothing was sent.
                    Some(Outcome::Broken(error)) if error == "connection refused" => {}
                    outcome => panic!("{outcome:?}: {asked:?}"),
                }
            }
            world.run_for(Duration::from_secs(1)).await;
            assert_eq!(world.open_connections(), 0);
            proxy.idle();
        });
    }
}

#[test]
fn a_seed_replays_the_whole_balancer_exactly() {
    for seed in seeds(5) {
        replayed(seed, |world| async move { faults(&world).await });
    }
}

#[test]
fn whatever_goes_wrong_no_message_is_mixed_cut_or_lost() {
    for seed in seeds(200) {
        sim(seed, |world| async move { faults(&world).await });
    }
}

/// A program of faults drawn from the seed: each run enables some kinds, at some rates.
async fn faults(world: &World) {
    let rng = world.faults();
    let backends = world.backends(3);
    let kinds = [
        Answer::ThenClose,
        Answer::Http10,
        Answer::Early,
        Answer::Close,
        Answer::Reset,
        Answer::Garbage,
        Answer::CutBody,
        Answer::Status(500),
    ];
    let odd: Vec<Answer> = kinds.into_iter().filter(|_| rng.below(3) == 0).collect();
    let names = ["b1", "b2", "b3"];
    for name in names {
        world.behave(
            name,
            Behaviour {
                odd_per_mille: rng.below(200),
                odd: odd.clone(),
                service_us: 100..=100 + rng.below(30_000),
                ..Behaviour::default()
            },
        );
        world.conditions(
            name,
            Conditions {
                latency_us: 10..=10 + rng.below(3_000),
                window: 1 + rng.below(2_000)..=3_000 + rng.below(60_000),
                resets_per_mille: rng.below(2) * rng.below(100),
                ..Conditions::default()
            },
        );
    }
    let proxy = world.proxy(settings(&backends)).await;
    let load = Load {
        aborts_per_mille: rng.below(100),
        ..mixed(4, secs(4))
    };
    world.load(proxy.address(), load);
    while world.now() < secs(4) {
        let name = names[rng.below(3) as usize];
        match rng.below(8) {
            0 | 1 => world.crash(name),
            2 => world.freeze(name),
            3 => world.cut(name),
            4 => world.thaw(name),
            5 => world.heal(name),
            _ => world.restart(name),
        }
        world.run_for(Duration::from_millis(rng.below(400))).await;
    }
    for name in names {
        world.heal(name);
        world.thaw(name);
        world.restart(name);
    }
    settled(world, &proxy).await;
    // P10: first-byte, connect and body-idle limits bound everything, retries included.
    world
        .check()
        .none_took_longer_than(Duration::from_secs(100));
    proxy.stop();
    assert_eq!(proxy.stopped().await, Ended::Gracefully);
    world.run_for(Duration::from_secs(1)).await;
    assert_eq!(world.open_connections(), 0, "connections are left over");
}

#[test]
fn a_lone_member_that_answers_late_is_waited_for() {
    sim(1, |world| async move {
        let backends: Vec<SocketAddr> = world.backends(1);
        let late = Behaviour {
            service_us: 5_000_000..=5_000_000,
            ..Behaviour::default()
        };
        world.behave("b1", late);
        let proxy = world.proxy(settings(&backends)).await;
        world.load(proxy.address(), Load::open(5, secs(3)));
        settled(&world, &proxy).await;
        world.check().no_failed_get().answered_at_least(14);
    });
}
