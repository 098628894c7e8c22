//! How answers are written, and how it shows that one is not whole.

use super::backend::{Piece, Pieces};
use super::*;

const OLD: &str = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";
const NEW: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LARGE: &str = {
    const BYTES: [u8; 10_000] = [b'x'; 10_000];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

/// A body of this, of which nobody knows beforehand that it is all.
fn unmeasured(text: &'static str) -> Response<Body> {
    let pieces = Pieces::default();
    pieces.put(Piece::Data(text));
    pieces.put(Piece::End);
    pieces.answer()
}

#[test]
fn an_answer_that_ends_with_its_connection_ends_in_order_when_it_is_whole() {
    let mut world = World::new();
    world.send(OLD);
    assert!(world.answer(unmeasured(LARGE)));
    let wire = world.wire();
    assert!(wire.received.ends_with(LARGE.as_bytes()));
    assert!(wire.dropped && !wire.reset);
}

#[test]
fn an_answer_whose_end_is_still_buffered_when_the_connection_is_cut_does_not_look_complete() {
    // The backend's part is over: what is missing waits in our buffer for a client that takes no more.
    let mut world = World::new();
    world.take_only(1_000);
    world.send(OLD);
    assert!(!world.answer(unmeasured(LARGE)));
    assert_eq!(world.watch.cut_all(), 1);
    assert!(world.step());
    let wire = world.wire();
    assert!(wire.dropped && wire.reset);
}

#[test]
fn an_http_10_client_is_not_promised_another_answer_behind_one_that_ends_with_its_connection() {
    let mut world = World::new();
    world.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    assert!(world.answer(unmeasured("x")));
    let received = world.received();
    assert!(received.contains(CLOSE), "{received}");
    assert!(!received.contains("keep-alive"), "{received}");
    let wire = world.wire();
    assert!(wire.dropped && !wire.reset);
}

#[test]
fn what_came_of_an_answer_that_fails_is_written_and_no_end_behind_it() {
    for (request, ending, reset) in [(NEW, "6\r\na part\r\n", false), (OLD, "a part", true)] {
        let (mut world, pieces) = (World::new(), Pieces::default());
        world.send(request);
        pieces.put(Piece::Data("a part"));
        pieces.put(Piece::Failure);
        assert!(world.answer(pieces.answer()));
        let received = world.received();
        assert!(
            received.ends_with(&format!("\r\n\r\n{ending}")),
            "{received}"
        );
        let wire = world.wire();
        assert!(wire.dropped);
        assert_eq!(wire.reset, reset, "{request}");
    }
}

#[test]
fn an_answer_in_which_something_panics_does_not_look_complete() {
    let (mut world, pieces) = (World::new(), Pieces::default());
    world.send(OLD);
    pieces.put(Piece::Data("a part"));
    assert!(!world.answer(pieces.answer()));
    pieces.put(Piece::Panic);
    assert!(world.step());
    let wire = world.wire();
    assert!(wire.dropped && wire.reset);
}

#[test]
fn an_answer_shorter_than_it_said_is_not_ended_either() {
    let (mut world, pieces) = (World::new(), Pieces::default());
    world.send(NEW);
    pieces.put(Piece::Data("four"));
    pieces.put(Piece::End);
    let mut answer = pieces.answer();
    answer.headers_mut().insert("content-length", 5.into());
    assert!(world.answer(answer));
    assert!(world.received().ends_with("content-length: 5\r\n\r\nfour"));
}

#[test]
fn an_answer_to_head_has_the_head_of_one_to_get_and_the_connection_goes_on() {
    let mut world = World::new();
    world.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut answer = ok("");
    answer.headers_mut().insert("content-length", 5.into());
    assert!(!world.answer(answer));
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(world.news(), head);
    world.send(NEW);
    assert!(!world.answer(ok("five!")));
    assert_eq!(world.news(), format!("{head}five!"));
}

#[test]
fn a_client_that_closes_its_side_cancels_what_the_backend_works_on() {
    let mut world = World::new();
    assert!(!world.send(NEW));
    assert!(world.close());
    assert_eq!(world.desk().cancelled, 1);
    assert_eq!(world.received(), "");
}

#[test]
fn a_client_that_closes_its_side_ends_an_answer_that_is_under_way() {
    let (mut world, pieces) = (World::new(), Pieces::default());
    world.send(NEW);
    pieces.put(Piece::Data("a part"));
    assert!(!world.answer(pieces.answer()));
    assert!(world.close());
    assert!(world.received().ends_with("6\r\na part\r\n"));
}

#[test]
fn an_http_10_client_that_closes_its_side_meanwhile_does_not_take_a_part_for_the_whole() {
    let (mut world, pieces) = (World::new(), Pieces::default());
    world.send(OLD);
    pieces.put(Piece::Data("a part"));
    assert!(!world.answer(pieces.answer()));
    assert!(world.close());
    assert!(world.received().ends_with("\r\n\r\na part"));
    assert!(world.wire().reset);
}
