//! Members at their limit, and the queue before them.

use std::task::Poll;

use futures::future::BoxFuture;

use super::*;
use crate::config::settings::Settings;
use crate::event::State;
use crate::forward::Forwarded;
use crate::forward::testing::poll_once;

type Asked<'a> = BoxFuture<'a, Forwarded>;

/// One request at a time at each of three members, and a queue.
fn narrow(size: usize) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.pool.limits.in_flight_per_server = 1;
        settings.pool.limits.queue.size = size;
    }
}

/// So many requests that all have to wait: the first three at their members, the others for a place.
fn waiting(world: &World, count: usize) -> Vec<Asked<'_>> {
    for port in 1..=3 {
        world.script(port, Act::Hang);
    }
    let ask = |_| {
        let mut asked: Asked<'_> = Box::pin(world.forwarding(get("/")));
        assert!(poll_once(asked.as_mut()).is_pending());
        asked
    };
    (0..count).map(ask).collect()
}

fn status(asked: &mut Asked<'_>) -> Option<u16> {
    match poll_once(asked.as_mut()) {
        Poll::Pending => None,
        Poll::Ready(forwarded) => Some(forwarded.response.status().as_u16()),
    }
}

#[test]
fn a_member_at_its_limit_is_passed_over() {
    let world = World::with(|settings| settings.pool.limits.in_flight_per_server = 1);
    world.script(1, Act::Hang);
    let mut first: Asked<'_> = Box::pin(world.forwarding(get("/")));
    assert!(poll_once(first.as_mut()).is_pending());
    let order = [0; 4].map(|_| world.text(get("/")));
    assert_eq!(order, ["b2", "b3", "b2", "b3"]);
    drop(first);
    let order = [0; 3].map(|_| world.text(get("/")));
    assert_eq!(order, ["b1", "b2", "b3"]);
}

#[test]
fn a_full_queue_is_a_503_at_once_that_names_the_limit() {
    let table = [
        (
            0,
            Reason::InFlightLimit,
            "in-flight-limit",
            "(in-flight-per-server)",
        ),
        (2, Reason::QueueFull, "queue-full", "(queue.size)"),
    ];
    for (size, reason, word, limit) in table {
        let world = World::with(narrow(size));
        let asked = waiting(&world, 3 + size);
        assert_eq!(world.queued(), size);
        let mut reply = world.forward(get("/")).response;
        assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = run(&world.clock, read(reply.body_mut())).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with(&format!("{limit}\n")), "{text}");
        assert_eq!(
            reply.headers()["proxy-status"],
            format!("lb; error=connection_limit_reached; details=\"{word}\"")
        );
        assert_eq!(world.now(), at(0));
        assert_eq!(world.exchange().reason, Some(reason));
        assert_eq!(world.exchange().attempts, 0);
        drop(asked);
        world.check_idle();
        assert_eq!(world.queued(), 0);
    }
}

#[test]
fn whoever_waits_too_long_gets_a_503_when_its_time_is_over() {
    let world = World::with(narrow(9));
    let asked = waiting(&world, 3);
    let reply = world.forward(get("/")).response;
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.now(), at(1));
    assert_eq!(world.exchange().reason, Some(Reason::QueueTimeout));
    assert_eq!(world.queued(), 0);
    drop(asked);
}

#[test]
fn the_total_bounds_the_wait_too() {
    let world = World::with(|settings| {
        narrow(9)(settings);
        settings.pool.limits.queue.timeout = Duration::from_secs(9);
        settings.pool.limits.total = Some(Duration::from_secs(2));
    });
    let _asked = waiting(&world, 3);
    let reply = world.forward(get("/")).response;
    assert_eq!(reply.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(world.now(), at(2));
}

#[test]
fn a_member_is_not_blamed_for_a_total_that_the_queue_has_eaten() {
    // what the second request meets, once it has left the queue
    for (name, met) in [
        ("no connection", Act::ConnectTimeout),
        ("no answer", Act::Hang),
    ] {
        let world = World::with(|settings| {
            narrow(9)(settings);
            settings.pool.servers.truncate(1);
            settings.pool.limits.retries = 0;
            settings.pool.limits.total = Some(Duration::from_millis(300));
        });
        let late = Duration::from_millis(240);
        world.script(1, Act::After(late, None));
        world.script(1, met);
        let mut first: Asked<'_> = Box::pin(world.forwarding(get("/")));
        assert_eq!(status(&mut first), None);
        world.clock.set(Instant::ORIGIN + Duration::from_millis(5));
        let mut second: Asked<'_> = Box::pin(world.forwarding(get("/")));
        assert_eq!(status(&mut second), None);
        world.clock.set(Instant::ORIGIN + late);
        assert_eq!(status(&mut first), Some(200), "{name}");
        assert_eq!(status(&mut second), None, "{name}");
        world
            .clock
            .set(Instant::ORIGIN + Duration::from_millis(305));
        assert_eq!(status(&mut second), Some(504), "{name}");
        let counters = world.counters(1);
        assert_eq!((counters.connect_failed, counters.failed), (0, 0), "{name}");
        assert_eq!(world.pool.view()[0].state, State::Up, "{name}");
        let reason = world.exchange().reason;
        assert_eq!(reason, Some(Reason::TotalTimeout), "{name}");
    }
}

#[test]
fn places_go_to_who_came_first_and_nobody_overtakes() {
    let world = World::with(narrow(9));
    let mut asked = waiting(&world, 6);
    drop(asked.remove(0));
    // A place is free, and it belongs to the first in the queue: a newcomer waits behind.
    let mut late: Asked<'_> = Box::pin(world.forwarding(get("/late")));
    assert!(poll_once(late.as_mut()).is_pending());
    assert_eq!(status(&mut asked[4]), None);
    assert_eq!(status(&mut asked[3]), None);
    assert_eq!(status(&mut asked[2]), Some(200));
    // The next one gives up before its turn.
    drop(asked.remove(3));
    assert_eq!(status(&mut asked[3]), Some(200));
    assert_eq!(status(&mut late), Some(200));
    assert_eq!(world.seen().last().unwrap().uri, "/late");
    drop(asked);
    world.check_idle();
}

#[test]
fn whoever_waits_is_told_when_nobody_is_left() {
    let world = World::with(narrow(9));
    let mut asked = waiting(&world, 4);
    let mut queued = asked.split_off(3);
    for port in 1..=3 {
        world.script(port, Act::Refuse);
    }
    drop(asked);
    assert_eq!(status(&mut queued[0]), Some(503));
    assert_eq!(world.exchange().reason, Some(Reason::Refused));
    assert_eq!(world.forward(get("/")).response.status(), 503);
    assert_eq!(world.exchange().reason, Some(Reason::NoMember));
}

#[test]
fn a_connection_too_many_is_a_503_that_asks_nobody() {
    let world = World::new();
    let reply = world.turn_away(get("/"));
    assert_eq!(reply.response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = String::from_utf8(reply.response.body().as_bytes().unwrap().to_vec()).unwrap();
    assert!(text.ends_with("(limits.connections)\n"), "{text}");
    let exchange = world.exchange();
    assert_eq!(exchange.reason, Some(Reason::ConnectionLimit));
    assert_eq!((exchange.attempts, world.seen().len()), (0, 0));
}
