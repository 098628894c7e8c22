//! Members that fail, flap and return, with the whole balancer in virtual time and its default settings.

use std::collections::BTreeMap;
use std::time::Duration;

use http::uri::PathAndQuery;
use lb_core::config::settings::{AdaptiveMode, Balance, Check, Health, HttpCheck, ProbeSettings};
use lb_core::event::State;
use lb_testkit::sim::{
    Answer, Asked, Behaviour, Capacity, Load, Outcome, Proxy, World, secs, seeds, settings, sim,
};

async fn three(world: &World) -> Proxy {
    world.proxy(settings(&world.backends(3))).await
}

async fn settled(world: &World, proxy: &Proxy) {
    world.quiet().await;
    world.run_for(Duration::from_secs(2)).await;
    world.check().nothing_wrong().all_ended().retries_within(2);
    proxy.idle();
}

fn gets(clients: usize, until: u64) -> Load {
    Load {
        posts_per_mille: 0,
        ..Load::closed(clients, secs(until))
    }
}

/// Answers `odd` within a millisecond.
fn fast(odd: Answer) -> Behaviour {
    Behaviour {
        service_us: 100..=1_000,
        ..Behaviour::always(odd)
    }
}

#[test]
fn a_member_that_fails_fast_attracts_nothing_and_is_soon_out() {
    for answer in [Answer::Reset, Answer::Garbage, Answer::Status(503)] {
        for seed in seeds(2) {
            sim(seed, |world| async move {
                let proxy = three(&world).await;
                world.run_until(secs(1)).await;
                world.load(proxy.address(), gets(10, 8));
                world.run_until(secs(3)).await;
                let before = proxy.picks()[1];
                world.behave("b2", fast(answer));
                world.run_until(secs(8)).await;
                // Five in a row, and those that were on their way.
                let during = proxy.picks()[1] - before;
                assert!(during <= 15, "{during} picks of a failing member");
                assert_eq!(proxy.members()[1].state, State::Ejected);
                settled(&world, &proxy).await;
                // Of an answer that was begun nothing may be asked again.
                if answer == Answer::Reset {
                    world.check().no_failed_get();
                }
                world.check().answered_at_least(1000);
            });
        }
    }
}

#[test]
fn an_ejected_member_comes_back_by_a_trial_and_then_slowly() {
    for seed in seeds(2) {
        sim(seed, |world| async move {
            let proxy = three(&world).await;
            world.run_until(secs(1)).await;
            world.load(proxy.address(), gets(3, 52));
            world.behave("b2", fast(Answer::Reset));
            world.run_until(secs(5)).await;
            world.behave("b2", Behaviour::default());
            settled(&world, &proxy).await;
            let check = world.check();
            check.no_failed_get();
            let mut ups = check.changes().iter().filter(|c| c.member == "b2");
            let out = ups.find(|c| c.to == State::Ejected).expect("it is ejected");
            let back = ups.find(|c| c.to == State::Up).expect("it comes back");
            let took = back.at.saturating_since(out.at);
            let (least, most) = (Duration::from_secs(27), Duration::from_secs(34));
            assert!(took >= least && took < most, "out for {took:?}");
            let share = |from: u64, to: u64| {
                let at = |s: u64| back.at + Duration::from_secs(s);
                let seen: BTreeMap<_, _> =
                    check.seen_between(at(from), at(to)).into_iter().collect();
                seen["b2"] as f64 / seen.values().sum::<usize>() as f64
            };
            // On the way a share of a third grows from a tenth of it.
            assert!(share(0, 1) < 0.08, "{} at first", share(0, 1));
            assert!((0.12..0.28).contains(&share(4, 6)), "{}", share(4, 6));
            assert!((0.32..0.345).contains(&share(11, 15)), "{}", share(11, 15));
        });
    }
}

#[test]
fn a_flapping_member_fails_no_get_and_does_not_take_the_others_along() {
    for seed in seeds(3) {
        sim(seed, |world| async move {
            let proxy = three(&world).await;
            world.run_until(secs(1)).await;
            // Small answers: one that has begun when its backend dies is lost.
            let load = Load {
                down: 0..=200,
                ..gets(8, 18)
            };
            world.load(proxy.address(), load);
            for _ in 0..12 {
                world.crash("b2");
                world.run_for(Duration::from_millis(700)).await;
                world.restart("b2");
                world.run_for(Duration::from_millis(700)).await;
            }
            settled(&world, &proxy).await;
            let check = world.check();
            check.no_failed_get().answered_at_least(1000);
            for change in check.changes() {
                assert!(change.member == "b2" || change.at < secs(1), "{change:?}");
            }
        });
    }
}

#[test]
fn an_adaptive_limit_keeps_answers_quick_and_all_that_the_servers_can_do() {
    for seed in seeds(2) {
        sim(seed, |world| async move {
            let backends = world.backends(2);
            // 400 answers a second, each.
            for name in ["b1", "b2"] {
                let small = Behaviour {
                    service_us: 5_000..=15_000,
                    capacity: Some(Capacity {
                        at_once: 4,
                        queue: 10_000,
                    }),
                    ..Behaviour::default()
                };
                world.behave(name, small);
            }
            let mut settings = settings(&backends);
            settings.pool.limits.adaptive.mode = AdaptiveMode::On;
            settings.pool.limits.queue.size = 0;
            let proxy = world.proxy(settings).await;
            world.run_until(secs(1)).await;
            let load = |per_second, until| Load {
                down: 0..=200,
                ..Load::open(per_second, until)
            };
            world.load(proxy.address(), load(400, secs(6)));
            world.run_until(secs(6)).await;
            let limits = proxy.members().into_iter().map(|m| m.adaptive_limit);
            assert!(limits.flatten().all(|limit| limit > 20), "it never binds");
            world.load(proxy.address(), load(1_200, secs(20)));
            settled(&world, &proxy).await;
            let check = world.check();
            let answered = |from, until| {
                let whole = |asked: &&Asked| {
                    matches!(&asked.outcome, Some(Outcome::Answered { status: 200, .. }))
                };
                check
                    .asked_between(from, until)
                    .filter(whole)
                    .collect::<Vec<_>>()
            };
            assert_eq!(answered(secs(1), secs(6)).len(), 2_000, "nobody is refused");
            let under = answered(secs(12), secs(20));
            assert!(under.len() > 8 * 720, "{} of {}", under.len(), 8 * 800);
            let mut took: Vec<_> = under.iter().map(|asked| asked.took).collect();
            took.sort_unstable();
            let slow = took[took.len() * 99 / 100];
            assert!(slow < Duration::from_millis(100), "{slow:?}");
        });
    }
}

#[test]
fn a_pool_that_fails_as_a_whole_keeps_more_than_half_of_its_members() {
    for seed in seeds(2) {
        sim(seed, |world| async move {
            let proxy = world.proxy(settings(&world.backends(4))).await;
            world.run_until(secs(1)).await;
            world.load(proxy.address(), gets(8, 10));
            for name in ["b1", "b2", "b3", "b4"] {
                world.behave(name, fast(Answer::Status(503)));
            }
            while world.now() < secs(10) {
                world.run_for(Duration::from_millis(100)).await;
                let states = proxy.members();
                let up = states.iter().filter(|m| m.state == State::Up).count();
                assert!(up >= 2, "{states:?}");
            }
            settled(&world, &proxy).await;
        });
    }
}

/// The answers of a member that fails some of its requests: so many of a thousand, in this way.
fn gray(odd: Answer, per_mille: u64) -> Behaviour {
    Behaviour {
        odd_per_mille: per_mille,
        ..Behaviour::always(odd)
    }
}

#[test]
fn a_member_that_fails_most_requests_is_out_and_one_that_fails_some_costs_no_get() {
    for (per_mille, state) in [(600, State::Ejected), (150, State::Up)] {
        for seed in seeds(2) {
            sim(seed, |world| async move {
                let proxy = three(&world).await;
                world.run_until(secs(1)).await;
                world.load(proxy.address(), gets(10, 14));
                world.behave("b2", gray(Answer::Reset, per_mille));
                world.run_until(secs(13)).await;
                let states = proxy.members().iter().map(|m| m.state).collect::<Vec<_>>();
                assert_eq!(states, [State::Up, state, State::Up], "{per_mille}");
                settled(&world, &proxy).await;
                world.check().no_failed_get().answered_at_least(1000);
            });
        }
    }
}

#[test]
fn a_member_that_is_ten_times_slower_gets_less_where_the_algorithm_looks() {
    let table = [
        (Balance::RoundRobin, 0.33, 0.34),
        (Balance::LeastRequests, 0.0, 0.15),
        (Balance::P2c, 0.0, 0.2),
        (Balance::PeakEwma, 0.0, 0.1),
    ];
    for (balance, least, most) in table {
        for seed in seeds(2) {
            let balance = balance.clone();
            sim(seed, |world| async move {
                let mut settings = settings(&world.backends(3));
                settings.pool.balance = balance.clone();
                let proxy = world.proxy(settings).await;
                world.behave(
                    "b2",
                    Behaviour {
                        service_us: 30_000..=50_000,
                        ..Behaviour::default()
                    },
                );
                world.run_until(secs(1)).await;
                let load = Load {
                    down: 0..=200,
                    ..Load::open(500, secs(6))
                };
                world.load(proxy.address(), load);
                settled(&world, &proxy).await;
                world.check().no_failed_get();
                let picks = proxy.picks();
                let share = picks[1] as f64 / picks.iter().sum::<u64>() as f64;
                assert!((least..=most).contains(&share), "{balance}: {share}");
            });
        }
    }
}

#[test]
fn who_fails_fast_attracts_little_even_where_the_idle_are_preferred() {
    for balance in [Balance::LeastRequests, Balance::P2c, Balance::PeakEwma] {
        // A gateway failure is seen in the answers; a 500 is the application's, and only a probe can tell.
        for status in [503, 500] {
            let balance = balance.clone();
            sim(1, |world| async move {
                let mut settings = settings(&world.backends(3));
                settings.pool.balance = balance.clone();
                settings.pool.health = Health::Probes(ProbeSettings {
                    check: Check::from(HttpCheck::get(PathAndQuery::from_static("/healthz"))),
                    ..ProbeSettings::default()
                });
                let proxy = world.proxy(settings).await;
                world.run_until(secs(1)).await;
                world.load(proxy.address(), gets(10, 16));
                world.run_until(secs(3)).await;
                let before = proxy.picks()[1];
                world.behave("b2", fast(Answer::Status(status)));
                world.run_until(secs(9)).await;
                let found = proxy.picks()[1] - before;
                assert_ne!(proxy.members()[1].state, State::Up, "{balance} {status}");
                if status == 503 {
                    assert!(found <= 15, "{balance}: {found} picks");
                }
                world.run_until(secs(16)).await;
                let after = proxy.picks()[1] - before - found;
                assert_eq!(after, 0, "{balance} {status}");
                settled(&world, &proxy).await;
            });
        }
    }
}
