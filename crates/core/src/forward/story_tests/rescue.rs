//! Requests that wait at a member that has stalled.

use std::task::Poll;

use futures::future::BoxFuture;
use http::Request;

use super::*;
use crate::forward::Forwarded;
use crate::forward::testing::poll_once;

type Asked<'a> = BoxFuture<'a, Forwarded>;

fn ms(ms: u64) -> Instant {
    Instant::from_origin(Duration::from_millis(ms))
}

/// Four requests hang at the first member while the others answer; nothing is known, so it takes a second until the
/// guard is sure, which the caller has to await.
fn frozen(world: &World, ask: impl Fn() -> Request<Body>) -> Vec<Asked<'_>> {
    let mut stuck: Vec<Asked<'_>> = Vec::new();
    for now in [0, 100, 600, 700] {
        world.clock.set(ms(now));
        assert_eq!(answered(&mut stuck), 0);
        world.script(1, Act::ReadThenHang(Duration::ZERO));
        let mut asked: Asked<'_> = Box::pin(world.forwarding(ask()));
        assert!(poll_once(asked.as_mut()).is_pending());
        stuck.push(asked);
        assert_eq!([0; 2].map(|_| world.text(get("/"))), ["b2", "b3"]);
        world.tend();
    }
    stuck
}

/// Polls all and takes those out that are answered with 200.
fn answered(stuck: &mut Vec<Asked<'_>>) -> usize {
    let before = stuck.len();
    stuck.retain_mut(|asked| match poll_once(asked.as_mut()) {
        Poll::Pending => true,
        Poll::Ready(forwarded) => {
            assert_eq!(forwarded.response.status(), StatusCode::OK);
            false
        }
    });
    before - stuck.len()
}

#[test]
fn what_may_be_repeated_goes_elsewhere_as_soon_as_its_member_stalls() {
    let world = World::new();
    let mut stuck = frozen(&world, || put(frames(&["ab", "c"])));
    world.clock.set(ms(1090));
    world.tend();
    assert_eq!(answered(&mut stuck), 0);
    world.clock.set(ms(1100));
    world.tend();
    assert_eq!(answered(&mut stuck), 4);
    assert_eq!(world.cancelled(), 4, "the attempts that waited are dropped");
    let counters = world.counters(1);
    assert_eq!((counters.abandoned, counters.failed), (4, 0));
    let exchange = world.exchange();
    assert_eq!(exchange.attempts, 2);
    assert_ne!(exchange.member.as_deref(), Some("b1"));
    assert_eq!(world.seen().last().unwrap().body, b"abc");
    world.check_idle();
}

#[test]
fn what_may_not_be_repeated_goes_on_waiting() {
    type Ask = fn() -> Request<Body>;
    type Change = fn(&mut crate::config::settings::Settings);
    let as_it_is: Change = |_| {};
    let large = || put(Script::new().data(vec![1; 70_000]).body());
    let table: [(&str, Ask, Change); 4] = [
        ("a POST", || post(Body::from("x".to_owned())), as_it_is),
        ("a large body", large, as_it_is),
        (
            "no retries",
            || get("/"),
            |settings| settings.pool.limits.retries = 0,
        ),
        (
            "no budget",
            || get("/"),
            |settings| settings.pool.limits.retry_budget_percent = 0,
        ),
    ];
    for (name, ask, change) in table {
        let world = World::with(change);
        let mut stuck = frozen(&world, ask);
        for now in [1100, 1200, 1500] {
            world.clock.set(ms(now));
            world.tend();
            assert_eq!(answered(&mut stuck), 0, "{name}");
        }
        assert_eq!(world.cancelled(), 0, "{name}");
        let order = [0; 4].map(|_| world.text(get("/")));
        assert_eq!(order, ["b2", "b3", "b2", "b3"], "{name}");
        drop(stuck);
        world.check_idle();
    }
}

#[test]
fn a_rescue_is_told_as_an_attempt_that_stalled() {
    let world = World::with(decisions::asked);
    let mut stuck = frozen(&world, || decisions::asking("/"));
    world.clock.set(ms(1100));
    world.tend();
    let Poll::Ready(forwarded) = poll_once(stuck[0].as_mut()) else {
        panic!("it is not rescued");
    };
    let told = forwarded.response.headers()["x-lb-decision"]
        .to_str()
        .unwrap();
    assert!(
        told.contains("; attempts: b1 stalled, b2 answered 200"),
        "{told}"
    );
}

#[test]
fn a_rescue_takes_from_the_budget_and_ends_with_it() {
    let world = World::new();
    let mut stuck = frozen(&world, || get("/"));
    let spent = (0..98).all(|_| world.spend_a_retry());
    assert!(spent, "there is a floor of a hundred");
    world.clock.set(ms(1100));
    world.tend();
    assert_eq!(answered(&mut stuck), 2);
    assert!(!world.spend_a_retry());
}

#[test]
fn a_trial_that_is_not_answered_is_rescued_and_only_what_can_be_makes_one() {
    let world = World::new();
    let mut stuck = frozen(&world, || get("/"));
    world.clock.set(ms(1100));
    world.tend();
    assert_eq!(answered(&mut stuck), 4);
    for now in [1600, 2100] {
        world.clock.set(ms(now));
        world.tend();
    }
    world.script(1, Act::Hang);
    let posts = [0; 4].map(|_| world.text(post(Body::from("x".to_owned()))));
    assert!(!posts.contains(&"b1".to_owned()), "{posts:?}");
    let before = world.counters(1).failed;
    let gets = [0; 4].map(|_| world.text(get("/")));
    assert!(!gets.contains(&"b1".to_owned()), "{gets:?}");
    assert_eq!(world.counters(1).failed, before + 1);
    // Nothing is known of it, so the trial had a second.
    assert_eq!(world.now(), ms(3100));
    world.check_idle();
}
