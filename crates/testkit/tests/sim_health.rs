//! Members that fail, flap and return, with the whole balancer in virtual time and its default settings.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_core::event::State;
use lb_testkit::sim::{Answer, Behaviour, Load, Proxy, World, secs, seeds, settings, sim};

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
            world.load(proxy.address(), gets(8, 18));
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
