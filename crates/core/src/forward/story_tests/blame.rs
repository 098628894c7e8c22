//! Who is said to have ended an exchange that is dropped before its end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::StatusCode;

use super::super::testing::{Script, poll_body};
use super::world::{Act, World, get, response};
use crate::event::End;

#[test]
fn what_the_process_cuts_before_an_answer_is_not_blamed_on_the_client() {
    let world = World::new();
    world.script(1, Act::Hang);
    world.cut();
    world.abort_while_waiting(get("/"));
    let exchange = world.exchange();
    assert_eq!((exchange.status, exchange.end), (None, End::Shutdown));
    assert!(exchange.failed());
    assert_eq!(world.counters(1).abandoned, 1);
    world.check_idle();
}

#[test]
fn what_the_process_cuts_in_the_body_is_not_blamed_on_the_client() {
    let world = World::new();
    let body = Script::new().data("ab").hang().body();
    world.script(1, Act::Answer(response(200, body)));
    let mut reply = world.forward(get("/"));
    assert!(poll_body(reply.response.body_mut()).is_ready());
    world.cut();
    drop(reply);
    let exchange = world.exchange();
    assert_eq!(exchange.status, Some(StatusCode::OK));
    assert_eq!((exchange.body_bytes, exchange.end), (2, End::Shutdown));
    assert_eq!(world.counters(1).abandoned, 1);
    world.check_idle();
}

#[test]
fn what_was_whole_before_the_process_cuts_is_complete() {
    let world = World::new();
    world.cut();
    assert_eq!(world.text(get("/")), "b1");
    assert_eq!(world.exchange().end, End::Complete);
}

#[test]
fn a_panic_is_an_error_of_ours_and_not_blamed_on_the_client() {
    let world = World::new();
    world.script(1, Act::Panic);
    let forward = AssertUnwindSafe(|| world.forward(get("/")));
    assert!(catch_unwind(forward).is_err());
    let exchange = world.exchange();
    let internal = Some(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!((exchange.status, exchange.end), (internal, End::Panicked));
    assert_eq!(world.counters(1).abandoned, 1);
    world.check_idle();
}
