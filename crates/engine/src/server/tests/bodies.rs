//! The bodies of requests: those that are read, those that nobody wants, and those that somebody wants too long.

use lb_core::error::BodyCause;

use super::*;

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
const GO_AHEAD: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

#[test]
fn a_body_arrives_as_it_comes() {
    for (fields, pieces) in [
        ("Content-Length: 11\r\n", ["hello", " ", "world"]),
        (
            "Transfer-Encoding: chunked\r\n",
            ["5\r\nhello\r", "\n1\r\n \r\n5\r\nworl", "d\r\n0\r\n\r\n"],
        ),
    ] {
        let mut world = World::new();
        world.desk().reads = true;
        world.send(post(fields, ""));
        for piece in pieces {
            world.send(piece);
        }
        world.send(NEXT);
        assert!(!world.answer(ok("one")));
        assert_eq!(world.desk().came, b"hello world");
        assert_eq!(world.desk().requests, ["POST /", "GET /next"]);
        assert_eq!(world.news(), ok_as_sent("one", ""));
    }
}

#[test]
fn a_body_that_nobody_wants_is_skipped_if_it_is_here() {
    for body in [
        post("Content-Length: 5\r\n", "hello"),
        post(
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\na: b\r\n\r\n",
        ),
    ] {
        let mut world = World::new();
        world.send(body + NEXT);
        assert!(!world.answer(ok("no")));
        assert_eq!(world.news(), ok_as_sent("no", ""));
        assert!(!world.answer(ok("next")));
        assert_eq!(world.news(), ok_as_sent("next", ""));
        assert_eq!(world.desk().requests, ["POST /", "GET /next"]);
    }
}

#[test]
fn a_body_that_nobody_wants_and_that_is_not_here_ends_the_connection() {
    for body in [
        post("Content-Length: 5\r\n", "hell"),
        post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n"),
    ] {
        let mut world = World::new();
        world.send(&body);
        assert!(!world.answer(ok("no")));
        assert_eq!(world.received(), ok_as_sent("no", CLOSE));
        assert!(world.wire().shut);
        assert!(!world.send(NEXT), "it may still read the answer");
        assert!(world.close());
        assert_eq!(world.desk().requests, ["POST /"]);
    }
}

#[test]
fn chunks_that_make_no_sense_are_refused_and_nothing_behind_them_is_a_request() {
    let body = "1\r\na\r\n3gX\r\n0\r\n\r\n".to_owned() + NEXT;
    let mut world = World::new();
    world.desk().reads = true;
    world.send(post("Transfer-Encoding: chunked\r\n", &body));
    assert_eq!(world.desk().came, b"a");
    world.answer(ok("one"));
    assert_eq!(world.received(), ok_as_sent("one", CLOSE));
    assert!(world.close());
    assert_eq!(world.desk().requests, ["POST /"]);
}

#[test]
fn a_client_is_told_to_go_ahead_when_its_body_is_wanted_and_not_before() {
    let mut world = World::new();
    world.send(post("Content-Length: 5\r\nExpect: 100-continue\r\n", ""));
    assert_eq!(world.desk().requests, ["POST /"]);
    assert_eq!(world.news(), "");
    world.desk().reads = true;
    world.desk().wake();
    world.step();
    assert_eq!(world.news(), GO_AHEAD);
    world.send("hello");
    assert_eq!(world.desk().came, b"hello");
    assert!(!world.answer(ok("ok")));
    assert_eq!(world.news(), ok_as_sent("ok", ""));
}

#[test]
fn a_client_that_does_not_wait_is_not_told_to_go_ahead() {
    let mut world = World::new();
    world.desk().reads = true;
    world.send(post("Content-Length: 5\r\nExpect: 100-continue\r\n", "he"));
    world.send("llo");
    assert_eq!(world.desk().came, b"hello");
    assert_eq!(world.news(), "");
    assert!(!world.answer(ok("ok")));
    assert_eq!(world.news(), ok_as_sent("ok", ""));
}

#[test]
fn a_go_ahead_that_is_half_written_comes_before_the_answer() {
    let mut world = World::new();
    world.take_only(10);
    world.desk().reads = true;
    world.send(post("Content-Length: 5\r\nExpect: 100-continue\r\n", ""));
    assert_eq!(world.received(), GO_AHEAD[..10]);
    assert!(!world.answer(ok("no")));
    world.take_only(usize::MAX);
    assert_eq!(
        world.received(),
        GO_AHEAD.to_owned() + &ok_as_sent("no", CLOSE)
    );
}

#[test]
fn a_body_that_outlives_its_exchange_does_not_look_whole_and_has_nothing_of_the_next_request() {
    for body in [
        post("Content-Length: 5\r\n", "hello"),
        post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let mut world = World::new();
        world.desk().keeps = true;
        world.send(&body);
        assert!(!world.answer(ok("one")));
        let mut kept = world.desk().body.take();
        let mut read = |world: &World| {
            let mut desk = world.desk();
            std::mem::swap(&mut desk.body, &mut kept);
            let read = desk.read(&mut Context::from_waker(Waker::noop()));
            std::mem::swap(&mut desk.body, &mut kept);
            (read, desk.came.len())
        };
        assert_eq!(read(&world), (Some(Err(BodyCause::Closed)), 0));
        world.send(post("Content-Length: 6\r\n", "second"));
        assert_eq!(world.desk().requests.len(), 2);
        drop(kept);
        world.desk().reads = true;
        world.desk().wake();
        world.step();
        assert_eq!(world.desk().came, b"second");
    }
}

#[test]
fn a_client_that_waits_and_is_answered_instead_is_not_asked_for_its_body_then() {
    let (mut world, pieces) = (World::new(), super::backend::Pieces::default());
    world.desk().keeps = true;
    world.send(post("Content-Length: 5\r\nExpect: 100-continue\r\n", ""));
    assert!(!world.answer(pieces.answer()));
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    assert_eq!(world.news(), head);
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(world.desk().read(&mut context), None);
    assert_eq!(world.news(), "", "it would be in the middle of the answer");
}

#[test]
fn a_client_that_leaves_is_noticed_also_while_its_whole_body_waits_to_be_read() {
    let mut world = World::new();
    assert!(!world.send(post("Content-Length: 5\r\n", "hello")));
    assert!(world.close());
    assert_eq!(world.desk().cancelled, 1);
}
