//! Requests that are sent before the answers to those before them.

use super::*;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn requests_that_come_together_are_answered_one_after_the_other() {
    let mut world = World::new();
    world.send([get("/1"), get("/2"), get("/3")].concat());
    for (count, body) in [(1, "one"), (2, "two"), (3, "three")] {
        assert_eq!(world.desk().requests.len(), count);
        assert!(!world.answer(ok(body)));
        assert_eq!(world.news(), ok_as_sent(body, ""));
    }
    assert_eq!(world.desk().requests, ["GET /1", "GET /2", "GET /3"]);
}

#[test]
fn a_request_that_comes_while_another_is_answered_waits_for_its_turn() {
    let mut world = World::new();
    world.send(get("/1"));
    let second = get("/2");
    let (begins, ends) = second.split_at(9);
    world.send(begins);
    assert!(!world.answer(ok("one")));
    assert_eq!(world.news(), ok_as_sent("one", ""));
    assert_eq!(world.desk().requests, ["GET /1"]);
    world.send(ends);
    assert_eq!(world.desk().requests, ["GET /1", "GET /2"]);
    assert!(!world.answer(ok("two")));
    assert_eq!(world.news(), ok_as_sent("two", ""));
}

#[test]
fn a_malformed_request_behind_a_good_one_is_refused_in_its_turn_and_ends_the_connection() {
    let mut world = World::new();
    world.send([&get("/1"), "no request\r\n\r\n", &get("/3")].concat());
    world.answer(ok("one"));
    let refused = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(world.received(), ok_as_sent("one", "") + refused);
    assert_eq!(world.desk().requests, ["GET /1"]);
    assert!(world.wire().shut, "what it sends yet is thrown away");
    assert!(world.close());
}

#[test]
fn a_client_that_sends_ahead_of_an_answer_that_is_the_last_is_let_read_that() {
    let mut world = World::new();
    let last = "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    world.send([last, &get("/2")].concat());
    assert!(!world.answer(ok("one")));
    assert_eq!(world.received(), ok_as_sent("one", CLOSE));
    assert!(world.wire().shut);
    assert!(!world.send(get("/3")));
    assert!(world.close());
    assert_eq!(world.desk().requests, ["GET /1"]);
}

#[test]
fn what_a_client_has_sent_ahead_and_nobody_has_read_does_not_cost_it_the_last_answer() {
    let mut world = World::new();
    world.send("GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    // It comes together with the answer, so that the connection does not look between the two.
    world.wire().to_server.extend(get("/2").bytes());
    assert!(!world.answer(ok("one")));
    assert_eq!(world.received(), ok_as_sent("one", CLOSE));
    assert!(world.wire().shut && world.wire().to_server.is_empty());
    assert!(world.close());
}

#[test]
fn a_client_that_sends_more_than_its_share_lets_others_run() {
    let mut world = World::new();
    // Nobody has to be asked for the answer.
    let refused = "GET / HTTP/1.1\r\n\r\n";
    world.wire().to_server.extend(refused.repeat(1_000).bytes());
    let waker = Waker::from(world.woken.clone());
    let mut polls = 0;
    while world.woken.0.swap(false, Ordering::SeqCst) {
        let mut context = Context::from_waker(&waker);
        assert!(world.connection.as_mut().poll(&mut context).is_pending());
        polls += 1;
    }
    assert_eq!(world.received().matches("HTTP/1.1 400").count(), 1_000);
    assert!(polls > 50, "{polls}");
}
