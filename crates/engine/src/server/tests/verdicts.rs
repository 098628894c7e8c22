//! What becomes of a connection that the watch wants to end.

use super::super::drain::Phase;
use super::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A connection that has served one request.
fn at_rest() -> World {
    let mut world = World::new();
    world.send(GET);
    world.answer(ok("one"));
    world.news();
    world
}

#[test]
fn a_connection_that_has_rested_for_too_long_is_closed() {
    let mut world = at_rest();
    assert!(!world.wait(PATIENCE.idle / 2));
    assert!(world.wait(PATIENCE.idle));
    let wire = world.wire();
    assert!(wire.dropped && !wire.reset && wire.received.is_empty());
}

#[test]
fn a_head_that_does_not_end_is_cut() {
    let mut world = World::new();
    world.send(&GET[..9]);
    assert!(world.wait(PATIENCE.head));
    assert_eq!(world.received(), "");
    let mut world = at_rest();
    world.send(&GET[..9]);
    assert!(!world.wait(PATIENCE.head / 2));
    assert!(world.wait(PATIENCE.head / 2));
    assert_eq!(world.received(), "");
}

#[test]
fn a_backend_may_take_longer_than_a_client() {
    let mut world = World::new();
    world.send(GET);
    assert!(!world.wait(PATIENCE.head * 2));
    assert!(!world.answer(ok("late")));
    assert_eq!(world.received(), ok_as_sent("late", ""));
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_reset() {
    let mut world = World::new();
    world.take_only(10);
    world.send(GET);
    assert!(!world.answer(ok("ok")));
    assert!(!world.wait(PATIENCE.write / 2));
    assert!(world.wait(PATIENCE.write));
    assert!(world.wire().reset);
}

#[test]
fn a_request_that_has_come_when_its_connection_is_to_be_closed_is_answered_as_the_last() {
    let (whole, half) = (GET, &GET[..9]);
    for sent in [whole, half] {
        let mut world = at_rest();
        // It comes after the watch has looked, and before the connection hears of that.
        world.wire().to_server.extend(sent.bytes());
        assert!(!world.wait(PATIENCE.idle));
        assert!(!world.send(&GET[sent.len()..]));
        assert!(world.answer(ok("two")));
        assert_eq!(world.news(), ok_as_sent("two", CLOSE));
    }
}

#[test]
fn a_connection_that_is_busy_when_the_process_drains_ends_with_its_answer() {
    let mut world = World::new();
    world.send(GET);
    world.drain.advance(Phase::Draining);
    assert!(!world.wait(PATIENCE.drain));
    assert!(world.answer(ok("one")));
    assert_eq!(world.news(), ok_as_sent("one", CLOSE));
    assert!(!world.wire().reset);
}

#[test]
fn a_connection_at_rest_when_the_process_drains_has_a_moment_for_a_request_under_way() {
    for late in [false, true] {
        let mut world = at_rest();
        world.drain.advance(Phase::Draining);
        assert!(!world.wait(PATIENCE.drain / 2));
        if late {
            assert!(world.wait(PATIENCE.drain));
        } else {
            assert!(!world.send(GET));
            assert!(world.answer(ok("two")));
            assert_eq!(world.news(), ok_as_sent("two", CLOSE));
        }
    }
}
