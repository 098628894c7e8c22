//! The world's own tools, without a balancer: what they report is true, and a seed replays.

use std::time::Duration;

use lb_testkit::sim::{
    Answer, Behaviour, Conditions, Load, Outcome, Sim, World, millis, replayed, secs, seeds, sim,
};

fn harsh() -> Conditions {
    Conditions {
        latency_us: 1..=5_000,
        window: 1..=3_000,
        resets_per_mille: 100,
        ..Conditions::default()
    }
}

fn busy(world: &World) {
    let backends = world.backends(1);
    let mut load = Load::closed(5, secs(3));
    load.posts_per_mille = 400;
    load.aborts_per_mille = 50;
    world.load(backends[0], load);
}

#[test]
fn clients_and_backends_agree_about_every_byte() {
    for seed in seeds(20) {
        sim(seed, |world| async move {
            busy(&world);
            world.quiet().await;
            world
                .check()
                .nothing_wrong()
                .no_failed_get()
                .retries_within(0)
                .answered_at_least(100);
            world.run_for(Duration::from_secs(1)).await;
            assert_eq!(world.open_connections(), 0);
        });
    }
}

#[test]
fn one_seed_is_one_story_and_another_seed_another() {
    let story = |world: World| async move {
        busy(&world);
        world.conditions("b1", harsh());
        world.quiet().await;
        world.check().nothing_wrong();
    };
    let hashes: Vec<u64> = (0..5).map(|seed| replayed(seed, story)).collect();
    for (seed, hash) in hashes.iter().enumerate() {
        assert!(
            !hashes[..seed].contains(hash),
            "seed {seed} is another's story"
        );
    }
}

#[test]
fn broken_messages_are_seen_as_broken() {
    for answer in [
        Answer::Close,
        Answer::Reset,
        Answer::CutBody,
        Answer::Garbage,
    ] {
        sim(3, |world| async move {
            busy(&world);
            world.behave("b1", Behaviour::always(answer));
            world.quiet().await;
            let check = world.check();
            for asked in check.all_ended().asked() {
                assert!(
                    matches!(asked.outcome, Some(Outcome::Broken(_) | Outcome::Aborted)),
                    "{answer:?} is no answer: {asked:?}"
                );
            }
        });
    }
}

#[test]
fn bytes_of_another_message_are_found() {
    sim(4, |world| async move {
        busy(&world);
        world.behave("b1", Behaviour::always(Answer::Surplus));
        world.quiet().await;
        let found = std::panic::catch_unwind(|| {
            world.check().nothing_wrong();
        });
        assert!(found.is_err(), "the thief's bytes must be found");
    });
}

#[test]
fn a_frozen_backend_answers_late_and_a_crashed_one_refuses() {
    sim(5, |world| async move {
        let backends = world.backends(1);
        world.load(backends[0], Load::open(100, secs(4)));
        world.run_until(secs(1)).await;
        world.freeze("b1");
        world.run_until(secs(2)).await;
        world.thaw("b1");
        world.run_until(secs(3)).await;
        world.crash("b1");
        world.quiet().await;
        let check = world.check();
        let late = check.asked_between(millis(1_010), millis(1_900));
        for asked in late {
            assert!(asked.took >= Duration::from_millis(100), "{asked:?}");
            assert!(matches!(
                asked.outcome,
                Some(Outcome::Answered { status: 200, .. })
            ));
        }
        for asked in check.asked_between(millis(3_001), secs(9)) {
            let refused = Outcome::Broken("connection refused".into());
            assert_eq!(asked.outcome, Some(refused));
        }
        assert!(check.asked_between(millis(3_001), secs(9)).count() > 90);
    });
}

#[test]
fn a_cut_backend_gets_everything_once_it_is_healed() {
    sim(6, |world| async move {
        let backends = world.backends(1);
        world.load(backends[0], Load::closed(3, secs(5)));
        world.run_until(secs(1)).await;
        world.cut("b1");
        world.run_until(secs(3)).await;
        let cut = world.check().seen_between(millis(1_010), secs(3));
        assert!(cut.is_empty(), "{cut:?}");
        world.heal("b1");
        world.quiet().await;
        world
            .check()
            .nothing_wrong()
            .no_failed_get()
            .answered_at_least(100);
    });
}

#[test]
#[should_panic(expected = "the simulation hangs")]
fn a_world_in_which_nothing_can_happen_is_an_error() {
    Sim::new(0).block_on(std::future::pending::<()>());
}

#[test]
#[should_panic(expected = "caught in a loop")]
fn a_world_whose_time_stands_still_is_an_error() {
    Sim::new(0).block_on(std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        std::task::Poll::<()>::Pending
    }));
}

#[test]
#[should_panic(expected = "tasks panicked")]
fn a_task_that_panics_fails_the_run() {
    sim(0, |world| async move {
        use lb_engine::rt::{Runtime as _, Spawn as _};
        world
            .runtime([10, 0, 9, 1].into())
            .spawn()
            .spawn(async { panic!("a bug") });
        world.run_for(Duration::from_millis(1)).await;
    });
}
