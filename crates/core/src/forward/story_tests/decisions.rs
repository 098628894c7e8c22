//! Why a request went as it went: in the record of one that failed, and in the answer to whom it concerns.

use super::world::{Act, World, get};
use super::*;
use crate::config::settings::{Balance, HedgeAfter, Network, Settings, Sticky};
use crate::decision::{AttemptEnd, Decision, Obstacle};
use crate::event::State;

/// The peer of these stories is trusted, and may ask.
pub(super) fn asked(settings: &mut Settings) {
    settings.limits.trusted_proxies = vec![Network::new("192.0.2.7".parse().unwrap(), 32).unwrap()];
    settings.debug.decision_header = Some(http::HeaderName::from_static("x-lb-decision"));
}

pub(super) fn asking(target: &str) -> http::Request<Body> {
    let mut request = get(target);
    let value = http::HeaderValue::from_static("1");
    request.headers_mut().insert("x-lb-explain", value);
    request
}

fn told(world: &World, request: http::Request<Body>) -> Option<String> {
    let response = world.forward(request).response;
    let value = response.headers().get("x-lb-decision")?;
    Some(value.to_str().unwrap().to_owned())
}

fn recorded(world: &World) -> Decision {
    *world.exchange().decision.expect("a decision")
}

fn ends(decision: &Decision) -> Vec<(String, AttemptEnd)> {
    let attempts = decision.attempts.iter();
    attempts.map(|a| (a.member.to_string(), a.end)).collect()
}

#[test]
fn what_succeeds_leaves_no_decision_in_its_record() {
    let world = World::new();
    world.script(1, Act::Refuse);
    assert_eq!(world.text(get("/")), "b2");
    assert_eq!(world.exchange().decision, None);
    world.script(3, Act::Answer(response(503, Body::empty())));
    world.forward(get("/"));
    let exchange = world.exchange();
    assert_eq!(
        (exchange.status, exchange.decision),
        (Some(StatusCode::SERVICE_UNAVAILABLE), None)
    );
}

#[test]
fn a_clients_own_mistake_is_no_decision() {
    let world = World::new();
    world.forward(request(Method::TRACE, "/", Body::empty()));
    assert_eq!(world.exchange().reason, Some(Reason::MethodNotAllowed));
    assert_eq!(world.exchange().decision, None);
}

#[test]
fn refusals_are_recorded_with_each_attempt_and_what_became_of_the_members() {
    let world = World::new();
    (1..=3).for_each(|port| world.script(port, Act::Refuse));
    world.forward(get("/"));
    let decision = recorded(&world);
    let refused = AttemptEnd::Failed(Reason::Refused);
    let expected = ["b1", "b2", "b3"].map(|name| (name.to_owned(), refused));
    assert_eq!(ends(&decision), expected);
    assert_eq!((decision.eligible, decision.size), (0, 3));
    assert!(
        decision
            .members
            .iter()
            .all(|member| member.state == State::Suspect)
    );
    assert_eq!(decision.stopped, Some(Obstacle::RetriesSpent));
    world.forward(get("/"));
    assert_eq!(
        recorded(&world).to_string(),
        "0 of 3 eligible; out: b1 (suspect, connect failed: refused), b2 (suspect, connect failed: refused), b3 (suspect, \
         connect failed: refused)"
    );
}

#[test]
fn each_way_to_give_up_is_recorded_with_its_reason() {
    type Change = fn(&mut Settings);
    let nothing: Change = |_| {};
    let closed = Reason::BackendClosed;
    type Row = (
        &'static str,
        Change,
        Vec<Act>,
        Method,
        Vec<Reason>,
        Option<Obstacle>,
    );
    let table: Vec<Row> = vec![
        (
            "a reset POST",
            nothing,
            vec![Act::Reset(0)],
            Method::POST,
            vec![closed],
            Some(Obstacle::Method),
        ),
        (
            "a silent server",
            nothing,
            vec![Act::Hang],
            Method::GET,
            vec![Reason::FirstByteTimeout],
            Some(Obstacle::TimedOut),
        ),
        (
            "no retries",
            |settings| settings.pool.limits.retries = 0,
            vec![Act::Reset(0)],
            Method::GET,
            vec![closed],
            Some(Obstacle::RetriesOff),
        ),
        (
            "no budget",
            |settings| settings.pool.limits.retry_budget_percent = 0,
            vec![Act::Reset(0)],
            Method::GET,
            vec![closed],
            Some(Obstacle::Budget),
        ),
        (
            "no descriptor",
            nothing,
            vec![Act::GiveBack(Phase::Connect, Cause::LocalLimit)],
            Method::GET,
            vec![Reason::LocalLimit],
            Some(Obstacle::Ours),
        ),
        (
            "the only server",
            |settings| settings.pool.servers.truncate(1),
            vec![Act::Refuse],
            Method::GET,
            vec![Reason::Refused],
            Some(Obstacle::Nobody),
        ),
        (
            "an answer against the rules",
            nothing,
            vec![Act::Answer(response(101, Body::empty()))],
            Method::GET,
            vec![Reason::InvalidAnswer],
            Some(Obstacle::Answered),
        ),
        (
            "the total",
            |settings| settings.pool.limits.total = Some(Duration::from_secs(1)),
            vec![Act::ConnectTimeout],
            Method::GET,
            vec![Reason::TotalTimeout],
            Some(Obstacle::TimedOut),
        ),
    ];
    for (name, change, acts, method, reasons, stopped) in table {
        let world = World::with(change);
        (1u16..)
            .zip(acts)
            .for_each(|(port, act)| world.script(port, act));
        world.forward(request(method, "/", Body::empty()));
        let decision = recorded(&world);
        let failed: Vec<_> = decision
            .attempts
            .iter()
            .map(|attempt| attempt.end)
            .collect();
        let expected: Vec<_> = reasons.into_iter().map(AttemptEnd::Failed).collect();
        assert_eq!((failed, decision.stopped), (expected, stopped), "{name}");
    }
}

#[test]
fn a_full_queue_is_recorded_with_those_who_are_full() {
    let world = World::with(|settings| {
        settings.pool.limits.in_flight_per_server = 1;
        settings.pool.limits.queue.size = 0;
        settings.pool.servers.truncate(1);
    });
    world.script(1, Act::Hang);
    let mut first = Box::pin(world.forwarding(get("/")));
    assert!(crate::forward::testing::poll_once(first.as_mut()).is_pending());
    world.forward(get("/"));
    assert_eq!(world.exchange().reason, Some(Reason::InFlightLimit));
    assert_eq!(recorded(&world).to_string(), "1 of 1 eligible: b1 (full)");
}

#[test]
fn a_trusted_peer_that_asks_is_told_the_decision() {
    let world = World::with(asked);
    assert_eq!(
        told(&world, asking("/")).unwrap(),
        "3 of 3 eligible: *b1, b2, b3; round robin: the next in turn; attempts: b1 answered 200"
    );
    assert_eq!(told(&world, get("/")), None, "nobody asked");
    world.script(3, Act::Refuse);
    assert_eq!(
        told(&world, asking("/")).unwrap(),
        "2 of 3 eligible: *b1, b2; out: b3 (suspect, connect failed: refused); round robin: the next in turn; attempts: b3 \
         refused, b1 answered 200"
    );
    assert!(
        world
            .seen()
            .iter()
            .all(|seen| !seen.headers.contains_key("x-lb-explain"))
    );
    world.check_idle();
}

#[test]
fn a_trusted_peer_is_told_about_a_failure_too() {
    let world = World::with(asked);
    world.script(1, Act::Reset(0));
    let mut request = asking("/");
    *request.method_mut() = Method::POST;
    assert_eq!(
        told(&world, request).unwrap(),
        "3 of 3 eligible: *b1, b2, b3; round robin: the next in turn; attempts: b1 backend-closed; no retry: the method is \
         not idempotent, and the server may have seen the request"
    );
}

#[test]
fn scores_and_draws_are_told_whatever_comes_of_the_request() {
    let world = World::with(|settings| {
        asked(settings);
        settings.pool.balance = Balance::P2c;
    });
    let lots = ["b1", "b2", "b3"].map(|drawn| format!("; drew {drawn}, "));
    for acts in [None, Some(Act::Reset(0))] {
        let failing = acts.is_some();
        (1..=3).for_each(|port| world.clear(port));
        if failing {
            (1..=3).for_each(|port| world.script(port, Act::Reset(0)));
        }
        let mut request = asking("/");
        *request.method_mut() = Method::POST;
        let told = told(&world, request).unwrap();
        assert_eq!(told.contains("no retry"), failing, "{told}");
        assert!(told.matches(" = 0.000").count() == 3, "{told}");
        assert!(lots.iter().any(|lot| told.contains(lot)), "{told}");
        assert_eq!(told.matches('*').count(), 1, "{told}");
    }
    let decision = recorded(&world);
    assert_eq!(decision.pick.unwrap().drawn.len(), 2);
    assert!(
        decision
            .members
            .iter()
            .all(|member| member.score == Some(0.0))
    );
}

#[test]
fn a_wait_for_a_place_is_a_second_look() {
    let world = World::with(|settings| {
        asked(settings);
        settings.pool.limits.in_flight_per_server = 1;
        settings.pool.servers.truncate(1);
    });
    world.script(1, Act::Hang);
    let mut first = Box::pin(world.forwarding(get("/")));
    assert!(crate::forward::testing::poll_once(first.as_mut()).is_pending());
    let mut second = Box::pin(world.forwarding(asking("/")));
    assert!(crate::forward::testing::poll_once(second.as_mut()).is_pending());
    drop(first);
    let answer = run(&world.clock, second).response;
    assert_eq!(
        answer.headers()["x-lb-decision"],
        "1 of 1 eligible: *b1 (full); chosen at a second look; attempts: b1 answered 200"
    );
}

#[test]
fn a_client_that_stays_is_told_that_it_does() {
    let world = World::with(|settings| {
        asked(settings);
        settings.pool.sticky = Some(Sticky {
            cookie: "lb".into(),
            ttl: None,
            key: "k".into(),
        });
    });
    let token = world
        .pool
        .token(&world.pool.snapshot().members()[1])
        .unwrap();
    let mut request = asking("/");
    let cookie = format!("lb={token}").parse().unwrap();
    request.headers_mut().insert("cookie", cookie);
    let told = told(&world, request).unwrap();
    assert!(told.contains("eligible: b1, *b2, b3; sticky: "), "{told}");
}

#[test]
fn nobody_is_told_where_the_header_is_off_or_the_peer_is_not_trusted() {
    let off: fn(&mut Settings) = |settings| {
        asked(settings);
        settings.debug.decision_header = None;
    };
    let elsewhere: fn(&mut Settings) = |settings| {
        asked(settings);
        settings.limits.trusted_proxies =
            vec![Network::new("10.0.0.0".parse().unwrap(), 8).unwrap()];
    };
    for change in [off, elsewhere] {
        let world = World::with(change);
        assert_eq!(told(&world, asking("/")), None);
        (1..=3).for_each(|port| world.script(port, Act::Refuse));
        assert_eq!(told(&world, asking("/")), None);
        assert!(
            world
                .seen()
                .iter()
                .all(|seen| !seen.headers.contains_key("x-lb-explain"))
        );
    }
}

#[test]
fn what_a_backend_says_under_the_name_of_the_decision_is_not_handed_on() {
    let world = World::with(asked);
    let forged = || {
        let mut answer = response(200, Body::empty());
        let value = http::HeaderValue::from_static("forged");
        answer.headers_mut().insert("x-lb-decision", value);
        answer
    };
    world.script(1, Act::Answer(forged()));
    assert_eq!(told(&world, get("/")), None);
    world.script(2, Act::Answer(forged()));
    let told = told(&world, asking("/")).unwrap();
    assert!(told.contains("*b2"), "{told}");
}

#[test]
fn the_attempts_of_a_hedge_are_told_in_the_order_of_their_ends() {
    let late = |ms| Act::After(Duration::from_millis(ms), None);
    let gateway = Act::Answer(response(503, Body::empty()));
    for (first, second, attempts) in [
        (late(900), late(10), "b1 dropped, b2 answered 200"),
        (late(60), late(90), "b2 dropped, b1 answered 200"),
        (late(100), Act::Refuse, "b2 refused, b1 answered 200"),
        (late(100), gateway, "b2 answered 503, b1 answered 200"),
    ] {
        let world = World::with(|settings| {
            asked(settings);
            settings.pool.limits.hedge = Some(HedgeAfter::Time(Duration::from_millis(50)));
        });
        world.script(1, first);
        world.script(2, second);
        let told = told(&world, asking("/")).unwrap();
        let expected = format!("*b1, b2, b3; round robin: the next in turn; attempts: {attempts}");
        assert!(told.ends_with(&expected), "{told}");
    }
}
