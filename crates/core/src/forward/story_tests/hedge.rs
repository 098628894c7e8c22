//! A second attempt beside one that keeps its client waiting.

use std::task::Poll;

use futures::future::BoxFuture;
use http::Request;

use super::*;
use crate::config::settings::{Balance, HedgeAfter, Settings, Sticky};
use crate::event::{Hedge, State};
use crate::forward::Forwarded;
use crate::forward::testing::poll_once;
use crate::upgrade::UpgradeHandle;

type Asked<'a> = BoxFuture<'a, Forwarded>;

const DELAY: Duration = Duration::from_millis(50);

fn ms(ms: u64) -> Instant {
    Instant::from_origin(Duration::from_millis(ms))
}

/// Answers its name after so many milliseconds.
fn late(ms: u64) -> Act {
    Act::After(Duration::from_millis(ms), None)
}

/// Does this after so many milliseconds.
fn later(ms: u64, act: Act) -> Act {
    Act::After(Duration::from_millis(ms), Some(Box::new(act)))
}

fn hedging() -> World {
    hedging_and(|_| {})
}

fn hedging_and(change: impl FnOnce(&mut Settings)) -> World {
    World::with(|settings| {
        settings.pool.limits.hedge = Some(HedgeAfter::Time(DELAY));
        change(settings);
    })
}

/// Polls all.
fn all_wait(asked: &mut [Asked<'_>]) -> bool {
    let mut polled = asked.iter_mut().map(|asked| poll_once(asked.as_mut()));
    polled.all(|polled| polled.is_pending())
}

/// What each member was told: answered, failed, connect failed, abandoned.
fn told(world: &World) -> [[u64; 4]; 3] {
    [1, 2, 3].map(|port| {
        let c = world.counters(port);
        [c.answered, c.failed, c.connect_failed, c.abandoned]
    })
}

#[test]
fn the_first_head_wins_and_the_loser_is_dropped_without_a_word_about_its_member() {
    // what the two do; who answers, when; how the hedge ends
    let table = [
        (Act::Hang, late(10), "b2", 60, Some(Hedge::Won), (1, 1)),
        (late(55), late(10), "b1", 55, Some(Hedge::Lost), (1, 0)),
        (late(70), late(10), "b2", 60, Some(Hedge::Won), (1, 1)),
        (late(49), late(10), "b1", 49, None, (0, 0)),
    ];
    for (first, second, who, when, hedge, counts) in table {
        let world = hedging();
        world.script(1, first);
        world.script(2, second);
        assert_eq!(world.text(get("/x")), who);
        assert_eq!(world.now(), ms(when), "{who}");
        let hedged = hedge.is_some();
        assert_eq!(world.cancelled(), usize::from(hedged));
        let exchange = world.exchange();
        assert_eq!(exchange.member.as_deref(), Some(who));
        assert_eq!(exchange.attempts, 1 + u32::from(hedged));
        assert_eq!((exchange.hedge, world.hedges()), (hedge, counts));
        let (answered, lost) = ([1, 0, 0, 0], [0, 0, 0, u64::from(hedged)]);
        let expected = match who {
            "b1" => [answered, lost, [0; 4]],
            _ => [lost, answered, [0; 4]],
        };
        assert_eq!(told(&world), expected);
        let seen = world.seen();
        assert!(seen.iter().all(|one| one.headers == seen[0].headers));
        world.check_idle();
    }
}

#[test]
fn only_what_may_be_sent_twice_to_somebody_else_is_hedged() {
    type Ask = fn() -> Request<Body>;
    type Change = fn(&mut Settings);
    let as_it_is: Change = |_| {};
    let upgrade: Ask = || {
        let mut asked = get("/");
        let headers = asked.headers_mut();
        headers.insert("connection", "upgrade".parse().unwrap());
        headers.insert("upgrade", "websocket".parse().unwrap());
        let handle = UpgradeHandle::new(std::future::pending());
        asked.extensions_mut().insert(handle);
        asked
    };
    let table: [(&str, Ask, Change); 8] = [
        ("a POST", || post(Body::empty()), as_it_is),
        ("a PUT without a body", || put(Body::empty()), as_it_is),
        (
            "a GET with a body",
            || request(Method::GET, "/", frames(&["a"])),
            as_it_is,
        ),
        ("an upgrade", upgrade, as_it_is),
        (
            "hedging is off",
            || get("/"),
            |s| s.pool.limits.hedge = None,
        ),
        ("no retries", || get("/"), |s| s.pool.limits.retries = 0),
        (
            "no budget",
            || get("/"),
            |s| s.pool.limits.retry_budget_percent = 0,
        ),
        ("nobody else", || get("/"), |s| s.pool.servers.truncate(1)),
    ];
    for (name, ask, change) in table {
        let world = hedging_and(change);
        world.script(1, late(200));
        assert_eq!(world.text(ask()), "b1", "{name}");
        assert_eq!((world.now(), world.seen().len()), (ms(200), 1), "{name}");
        assert_eq!(world.hedges(), (0, 0), "{name}");
        world.check_idle();
    }
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let world = hedging();
        world.script(1, late(200));
        world.forward(request(method.clone(), "/", Body::empty()));
        assert_eq!((world.now(), world.hedges()), (ms(50), (1, 1)), "{method}");
    }
}

#[test]
fn where_nobody_else_is_eligible_the_budget_is_not_touched() {
    let world = hedging();
    for port in [2, 3] {
        world.script(port, Act::Refuse);
    }
    world.script(1, late(1));
    // Two members become suspect: from now on there is one.
    assert_eq!([0; 2].map(|_| world.text(get("/"))), ["b1", "b1"]);
    let answered = world.now();
    world.script(1, late(200));
    assert_eq!(world.text(get("/")), "b1");
    assert_eq!(world.now(), answered + Duration::from_millis(200));
    assert_eq!(world.hedges(), (0, 0));
    assert!((0..100).all(|_| world.spend_a_retry()));
}

#[test]
fn each_hedge_is_paid_from_the_budget() {
    let world = hedging();
    assert!((0..99).all(|_| world.spend_a_retry()));
    world.script(1, Act::Hang);
    assert_eq!(world.text(get("/")), "b2");
    // That was the last one.
    world.script(3, late(300));
    assert_eq!(world.text(get("/")), "b3");
    assert_eq!((world.now(), world.hedges()), (ms(350), (1, 1)));
}

#[test]
fn an_attempt_that_fails_leaves_the_client_to_the_other_one() {
    let reset = || Act::Reset(0);
    // the two acts, who answers, when, how the hedge ends, what the two members are told
    let table = [
        (
            later(60, reset()),
            late(40),
            "b2",
            90,
            Hedge::Won,
            [[0, 1, 0, 0], [1, 0, 0, 0]],
        ),
        (
            late(90),
            later(5, reset()),
            "b1",
            90,
            Hedge::Lost,
            [[1, 0, 0, 0], [0, 1, 0, 0]],
        ),
        (
            late(90),
            Act::Refuse,
            "b1",
            90,
            Hedge::Lost,
            [[1, 0, 0, 0], [0, 0, 1, 0]],
        ),
    ];
    for (first, second, who, when, hedge, expected) in table {
        let world = hedging();
        world.script(1, first);
        world.script(2, second);
        assert_eq!(world.text(get("/")), who);
        assert_eq!(world.now(), ms(when), "{who}");
        let exchange = world.exchange();
        assert_eq!((exchange.attempts, exchange.hedge), (2, Some(hedge)));
        assert_eq!(exchange.member.as_deref(), Some(who));
        assert_eq!(told(&world)[..2], expected);
        world.check_idle();
    }
}

#[test]
fn a_failure_is_reported_while_the_other_attempt_still_runs() {
    let world = hedging();
    world.script(1, late(900));
    world.script(2, Act::Refuse);
    let mut asked: Asked<'_> = Box::pin(world.forwarding(get("/")));
    assert!(poll_once(asked.as_mut()).is_pending());
    world.clock.set(ms(50));
    assert!(poll_once(asked.as_mut()).is_pending());
    assert_eq!(world.counters(2).connect_failed, 1);
    assert_eq!(world.in_flight(), 1);
}

#[test]
fn when_both_fail_a_retry_follows_if_one_is_left() {
    for (retries, status, attempts) in [(2, 200, 3), (1, 502, 2)] {
        let world = hedging_and(|settings| settings.pool.limits.retries = retries);
        world.script(1, later(60, Act::Reset(0)));
        world.script(2, later(30, Act::Reset(0)));
        let reply = world.forward(get("/"));
        assert_eq!(reply.response.status().as_u16(), status);
        assert_eq!(world.now(), ms(80));
        drop(reply);
        let exchange = world.exchange();
        assert_eq!(
            (exchange.attempts, exchange.hedge),
            (attempts, Some(Hedge::Lost))
        );
        assert_eq!(world.hedges(), (1, 0));
        world.check_idle();
    }
}

#[test]
fn a_request_has_one_hedge() {
    let world = hedging_and(|settings| settings.pool.limits.retries = 9);
    world.script(1, later(60, Act::Reset(0)));
    world.script(2, later(30, Act::Reset(0)));
    world.script(3, late(500));
    assert_eq!(world.text(get("/")), "b3");
    assert_eq!((world.now(), world.hedges()), (ms(580), (1, 0)));
}

#[test]
fn who_fails_fast_does_not_win_over_who_is_slow() {
    let busy = || Act::Answer(response(503, Body::from("busy".to_owned())));
    // the two acts, the answer's status, who gave it, when, how the hedge ends
    let table = [
        (late(90), busy(), 200, "b1", 90, Hedge::Lost),
        (later(60, busy()), late(40), 200, "b2", 90, Hedge::Won),
        (later(90, Act::Reset(0)), busy(), 503, "b2", 90, Hedge::Won),
        (
            later(60, busy()),
            later(40, Act::Reset(0)),
            503,
            "b1",
            90,
            Hedge::Lost,
        ),
        (
            later(60, busy()),
            later(40, busy()),
            503,
            "b2",
            90,
            Hedge::Won,
        ),
    ];
    for (first, second, status, who, when, hedge) in table {
        let world = hedging();
        world.script(1, first);
        world.script(2, second);
        let mut reply = world.forward(get("/")).response;
        assert_eq!(
            (reply.status().as_u16(), world.now()),
            (status, ms(when)),
            "{who}"
        );
        assert!(run(&world.clock, read(reply.body_mut())).is_ok());
        let exchange = world.exchange();
        assert_eq!(exchange.member.as_deref(), Some(who));
        assert_eq!((exchange.attempts, exchange.hedge), (2, Some(hedge)));
        let gateway_errors: u64 = [1, 2]
            .map(|port| world.counters(port).gateway_errors)
            .iter()
            .sum();
        assert!(
            gateway_errors > 0,
            "a bad answer counts although nobody gets it"
        );
        assert_eq!(
            told(&world).map(|told| told[3]),
            [0; 3],
            "nobody was cancelled"
        );
        world.check_idle();
    }
}

#[test]
fn a_client_that_leaves_cancels_both() {
    let world = hedging();
    world.script(1, Act::Hang);
    world.script(2, Act::Hang);
    let mut asked: Asked<'_> = Box::pin(world.forwarding(get("/")));
    assert!(poll_once(asked.as_mut()).is_pending());
    world.clock.set(ms(50));
    assert!(poll_once(asked.as_mut()).is_pending());
    assert_eq!((world.in_flight(), world.waiting()), (2, 2));
    drop(asked);
    assert_eq!(world.cancelled(), 2);
    assert_eq!(told(&world), [[0, 0, 0, 1], [0, 0, 0, 1], [0; 4]]);
    assert_eq!(world.exchange().end, End::ClientGone);
    world.check_idle();
}

#[test]
fn the_total_ends_both() {
    let world = hedging_and(|settings| settings.pool.limits.total = Some(DELAY * 2));
    world.script(1, Act::Hang);
    world.script(2, Act::ConnectTimeout);
    let reply = world.forward(get("/"));
    assert_eq!(reply.response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(world.now(), ms(100));
    assert_eq!(world.exchange().reason, Some(Reason::TotalTimeout));
    // The second had too little time to be blamed for it.
    assert_eq!(world.counters(2).connect_failed, 0);
    world.check_idle();
}

#[test]
fn each_member_is_called_by_its_own_address_where_the_client_named_none() {
    let world = hedging();
    world.script(1, Act::Hang);
    let mut asked = get("/");
    asked.headers_mut().remove("host");
    *asked.version_mut() = http::Version::HTTP_10;
    assert_eq!(world.text(asked), "b2");
    let hosts: Vec<_> = world
        .seen()
        .iter()
        .map(|seen| seen.headers["host"].clone())
        .collect();
    assert_eq!(hosts, ["127.0.0.1:1", "127.0.0.1:2"]);
}

#[test]
fn a_client_that_is_kept_at_its_member_stays_there() {
    let world = hedging_and(|settings| {
        settings.pool.sticky = Some(Sticky {
            cookie: "lb".into(),
            ttl: None,
            key: "0123456789abcdef".into(),
        });
    });
    let cookie = world.forward(get("/")).response.headers()["set-cookie"].clone();
    let cookie = cookie
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    world.script(1, late(200));
    let mut asked = get("/");
    asked
        .headers_mut()
        .insert("cookie", cookie.parse().unwrap());
    assert_eq!(world.text(asked), "b1");
    assert_eq!((world.now(), world.hedges()), (ms(200), (0, 0)));
    // Without a cookie it is anybody's, and whoever answers keeps it.
    world.script(2, Act::Hang);
    let reply = world.forward(get("/")).response;
    assert!(reply.headers().contains_key("set-cookie"));
    assert_eq!(world.hedges(), (1, 1));
}

#[test]
fn nobody_hedges_while_others_wait_for_a_place() {
    let world = hedging_and(|settings| settings.pool.limits.in_flight_per_server = 1);
    for port in 1..=3 {
        world.script(port, Act::Hang);
    }
    let mut asked: Vec<Asked<'_>> = Vec::new();
    for _ in 0..4 {
        let mut next: Asked<'_> = Box::pin(world.forwarding(get("/")));
        assert!(poll_once(next.as_mut()).is_pending());
        asked.push(next);
    }
    // The one in the queue has not asked anybody yet when a place becomes free.
    drop(asked.remove(2));
    world.clock.set(ms(50));
    assert!(poll_once(asked[0].as_mut()).is_pending());
    assert_eq!(world.hedges(), (0, 0));
    let Poll::Ready(forwarded) = poll_once(asked[2].as_mut()) else {
        panic!("its turn has come");
    };
    assert_eq!(forwarded.response.status(), 200);
}

/// Two requests that wait at the first member, and of whose hedges this comes, while the third member answers others.
fn two_that_hang(world: &World, hedge: impl Fn() -> Act) -> Vec<Asked<'_>> {
    let mut asked: Vec<Asked<'_>> = Vec::new();
    for now in [0, 100] {
        world.clock.set(ms(now));
        world.script(1, Act::Hang);
        let mut next: Asked<'_> = Box::pin(world.forwarding(get("/")));
        assert!(poll_once(next.as_mut()).is_pending());
        asked.push(next);
        world.script(2, hedge());
        world.clock.set(ms(now + 50));
        assert!(all_wait(&mut asked));
        assert_eq!(world.text(get("/")), "b3");
        world.tend();
    }
    asked
}

#[test]
fn two_attempts_are_each_others_rescue_and_one_alone_is_rescued() {
    // Whoever comes later goes to the third member, because the others are full.
    let world = hedging_and(|settings| settings.pool.limits.in_flight_per_server = 2);
    // Their hedges wait at another member.
    let mut asked = two_that_hang(&world, || later(1_500, Act::Reset(0)));
    assert_eq!((world.waiting(), world.hedges()), (4, (2, 0)));
    for now in [600, 700, 1_200, 1_300] {
        world.clock.set(ms(now));
        assert_eq!(world.text(get("/")), "b3");
        world.tend();
        assert!(all_wait(&mut asked));
    }
    assert_eq!(world.pool.view()[0].state, State::Stalled);
    assert_eq!(world.cancelled(), 0, "nobody is rescued who has a hedge");
    for now in [1_550, 1_650] {
        world.clock.set(ms(now));
        asked.retain_mut(|asked| poll_once(asked.as_mut()).is_pending());
    }
    assert_eq!(
        world.cancelled(),
        2,
        "the hedges have failed, and nobody waits for a stalled member"
    );
    let exchanges = world.exchanges();
    let rescued = exchanges.iter().filter(|exchange| exchange.attempts == 3);
    assert_eq!(rescued.count(), 2);
}

#[test]
fn a_rescue_is_worth_more_than_a_bad_answer() {
    let world = hedging_and(|settings| settings.pool.limits.in_flight_per_server = 2);
    let bad = || Act::Answer(response(503, Body::empty()));
    let mut asked = two_that_hang(&world, bad);
    assert_eq!((world.waiting(), world.hedges()), (2, (2, 0)));
    for now in [600, 700, 1_200, 1_300] {
        world.clock.set(ms(now));
        world.text(get("/"));
        world.tend();
        asked.retain_mut(|asked| match poll_once(asked.as_mut()) {
            Poll::Pending => true,
            Poll::Ready(forwarded) => {
                assert_eq!(forwarded.response.status(), StatusCode::OK);
                false
            }
        });
    }
    assert!(asked.is_empty(), "nobody waits for a stalled member");
    let exchanges = world.exchanges();
    let rescued = exchanges.iter().filter(|exchange| exchange.attempts == 3);
    assert_eq!(rescued.count(), 2);
    world.check_idle();
}

#[test]
fn the_member_that_was_too_slow_counts_as_slow_for_those_who_measure() {
    let world = hedging_and(|settings| settings.pool.balance = Balance::PeakEwma);
    world.script(1, Act::Hang);
    while world.hedges().0 == 0 {
        world.text(get("/"));
    }
    let snapshot = world.pool.snapshot();
    let mean = snapshot.members()[0].latency(world.now());
    assert_eq!(mean.map(|nanos| (nanos / 1e6).round()), Some(50.0));
}

#[test]
fn a_percentile_is_learned_from_the_pools_answers() {
    let world = World::with(|settings| {
        settings.pool.limits.hedge = Some(HedgeAfter::Percentile(90));
    });
    world.script(1, late(200));
    assert_eq!(world.text(get("/")), "b1");
    assert_eq!(world.hedges(), (0, 0), "nothing is known yet");
    for count in 0..100 {
        // One in five takes 30 ms: the percentile is theirs.
        if count % 5 == 0 {
            (1..=3).for_each(|port| world.clear(port));
            (1..=3).for_each(|port| world.script(port, late(30)));
        }
        world.text(get("/"));
        (1..=3).for_each(|port| world.clear(port));
    }
    // The look after a long time teaches nothing, because the balancer itself may have slept.
    for _ in 0..2 {
        world.clock.set(world.now() + Duration::from_millis(600));
        world.tend();
    }
    let before = world.now();
    (1..=3).for_each(|port| world.script(port, late(37)));
    world.text(get("/"));
    assert_eq!(world.hedges(), (0, 0));
    (1..=3).for_each(|port| world.clear(port));
    (1..=3).for_each(|port| world.script(port, late(39)));
    world.text(get("/"));
    assert_eq!(world.hedges().0, 1);
    assert_eq!(world.now(), before + Duration::from_millis(37 + 39));
}
