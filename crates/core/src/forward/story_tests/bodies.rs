//! Response bodies: their ends, their deadlines, and what is settled when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;

use super::super::testing::{Script, frames, poll_body, poll_once, read, run};
use super::world::{Act, World, at, get, post, request, response};
use crate::body::Body;
use crate::error::BodyCause;
use crate::event::End;

/// Forwards a GET that is answered with `answer`.
fn answered(world: &World, answer: Response<Body>) -> Response<Body> {
    world.script(1, Act::Answer(answer));
    world.forward(get("/")).response
}

fn read_all(world: &World, reply: &mut Response<Body>) -> Result<Vec<u8>, BodyCause> {
    run(&world.clock, read(reply.body_mut())).map_err(|error| error.cause)
}

#[test]
fn the_lease_lives_until_the_end_of_the_body() {
    let world = World::new();
    let mut reply = answered(&world, response(200, frames(&["ab", "cd"])));
    assert_eq!(world.in_flight(), 1);
    assert_eq!(world.waiting(), 0, "the head was a first byte");
    assert!(world.exchanges().is_empty());
    assert_eq!(read_all(&world, &mut reply).unwrap(), b"abcd");
    world.check_idle();
    assert_eq!(world.counters(1).answered, 1);
    let exchange = world.exchange();
    assert_eq!((exchange.body_bytes, exchange.end), (4, End::Complete));
    drop(reply);
    assert_eq!(world.exchanges().len(), 1);
}

#[test]
fn a_body_that_is_known_to_be_over_ends_at_its_last_frame() {
    let world = World::new();
    let mut reply = answered(&world, response(200, Body::from("hello")));
    assert_eq!(reply.headers()["content-length"], "5");
    assert_eq!(reply.body().size_hint().exact(), Some(5));
    assert!(matches!(
        poll_body(reply.body_mut()),
        Poll::Ready(Some(Ok(_)))
    ));
    assert!(reply.body().is_end_stream());
    world.check_idle();
    // A codec that drops it here has not given up.
    drop(reply);
    assert_eq!(world.exchange().end, End::Complete);
    assert_eq!(world.counters(1).answered, 1);
}

#[test]
fn an_answer_without_a_body_ends_at_its_head() {
    let world = World::new();
    let reply = answered(&world, response(204, Body::empty()));
    world.check_idle();
    assert_eq!(world.exchange().status, Some(StatusCode::NO_CONTENT));
    drop(reply);
    assert_eq!(world.exchanges().len(), 1);

    let mut head = response(200, Body::empty());
    head.headers_mut().insert("content-length", 5.into());
    world.script(2, Act::Answer(head));
    let reply = world.forward(request(Method::HEAD, "/", Body::empty()));
    assert_eq!(reply.response.headers()["content-length"], "5");
    world.check_idle();
}

#[test]
fn row_62_a_truncated_body_is_an_error_and_never_a_clean_end() {
    let world = World::new();
    let script = Script::new().data("ab").fail(BodyCause::Closed);
    let mut reply = answered(&world, response(200, script.body()));
    assert_eq!(read_all(&world, &mut reply), Err(BodyCause::Closed));
    assert!(!reply.body().is_end_stream());
    assert_eq!(world.exchange().end, End::Truncated(BodyCause::Closed));
    assert_eq!(world.counters(1).failed, 1);
    world.check_idle();
}

#[test]
fn a_transport_that_ends_a_body_too_early_or_too_late_is_caught() {
    for (parts, cause) in [
        (&["abc"][..], BodyCause::Closed),
        (&["abc", "de"], BodyCause::Invalid),
    ] {
        let world = World::new();
        let mut answer = response(200, frames(parts));
        answer.headers_mut().insert("content-length", 4.into());
        let mut reply = answered(&world, answer);
        assert_eq!(read_all(&world, &mut reply), Err(cause));
        assert_eq!(world.exchange().end, End::Truncated(cause));
    }
}

#[test]
fn a_client_that_leaves_in_the_body_cancels_it() {
    let world = World::new();
    let dropped = Arc::new(AtomicBool::new(false));
    let script = Script::new().data("ab").hang().noting_drop(&dropped);
    let mut reply = answered(&world, response(200, script.body()));
    assert!(poll_body(reply.body_mut()).is_ready());
    drop(reply);
    assert!(dropped.load(Ordering::SeqCst));
    world.check_idle();
    assert_eq!(world.counters(1).abandoned, 1);
    let exchange = world.exchange();
    assert_eq!((exchange.body_bytes, exchange.end), (2, End::ClientGone));
    assert_eq!(exchange.status, Some(StatusCode::OK));
}

#[test]
fn a_body_that_stalls_breaks_off_after_body_idle() {
    let world = World::new();
    let dropped = Arc::new(AtomicBool::new(false));
    let script = Script::new().data("ab").hang().noting_drop(&dropped);
    let mut reply = answered(&world, response(200, script.body()));
    assert_eq!(read_all(&world, &mut reply), Err(BodyCause::Stalled));
    assert_eq!(world.now(), at(30));
    assert!(
        dropped.load(Ordering::SeqCst),
        "the backend is let go at once"
    );
    assert_eq!(world.counters(1).failed, 1);
}

#[test]
fn a_slow_client_is_not_taken_for_a_slow_backend() {
    let world = World::new();
    let script = Script::new().data("ab").pending().data("cd").hang();
    let mut reply = answered(&world, response(200, script.body()));
    assert!(poll_body(reply.body_mut()).is_ready());
    assert!(poll_body(reply.body_mut()).is_pending());
    world.clock.set(at(29));
    assert!(poll_body(reply.body_mut()).is_ready());
    // Nobody asks for more for a minute; the wait begins with the next question.
    world.clock.set(at(100));
    assert!(poll_body(reply.body_mut()).is_pending());
    assert_eq!(read_all(&world, &mut reply), Err(BodyCause::Stalled));
    assert_eq!(world.now(), at(130));
}

#[test]
fn one_sleep_serves_all_the_waits_of_a_body() {
    let world = World::new();
    let script = (0..50).fold(Script::new(), |script, _| script.pending().data("ab"));
    let mut reply = answered(&world, response(200, script.body()));
    let before = world.clock.sleeps();
    assert_eq!(read_all(&world, &mut reply).unwrap().len(), 100);
    assert_eq!(world.clock.sleeps() - before, 1);

    let ready = frames(&["ab", "cd"]);
    world.script(2, Act::Answer(response(200, ready)));
    let mut reply = world.forward(get("/")).response;
    let before = world.clock.sleeps();
    assert_eq!(read_all(&world, &mut reply).unwrap(), b"abcd");
    assert_eq!(world.clock.sleeps(), before, "nothing had to wait");
}

#[test]
fn a_stream_of_no_bytes_ends_at_its_head() {
    let world = World::new();
    let mut answer = response(200, Script::new().pending().body());
    answer.headers_mut().insert("content-length", 0.into());
    let reply = answered(&world, answer);
    assert_eq!(reply.headers()["content-length"], "0");
    assert!(reply.body().is_end_stream());
    world.check_idle();
    assert_eq!(world.exchange().end, End::Complete);
}

#[test]
fn bytes_go_both_ways_at_once() {
    let world = World::new();
    world.script(1, Act::Echo);
    let upload = Script::new().data("ab").pending().data("cd").pending();
    let mut reply = world.forward(post(upload.body())).response;
    assert_eq!(read_all(&world, &mut reply).unwrap(), b"abcd");
    world.check_idle();
    assert_eq!(world.counters(1).answered, 1);
}

#[test]
fn a_client_that_stalls_an_answered_upload_is_not_the_backends_fault() {
    let world = World::new();
    world.script(1, Act::Echo);
    let upload = Script::new().data("ab").hang();
    let mut reply = world.forward(post(upload.body())).response;
    assert_eq!(read_all(&world, &mut reply), Err(BodyCause::Stalled));
    assert_eq!(world.now(), at(30));
    assert_eq!(world.counters(1).abandoned, 1);
    assert_eq!(world.exchange().end, End::Truncated(BodyCause::Stalled));
    world.check_idle();
}

#[test]
fn an_upload_counts_as_waiting_only_once_it_is_sent() {
    let world = World::new();
    let script = Script::new().data("ab").pending().data("cd");
    world.script(1, Act::ReadThenHang(Duration::ZERO));
    let mut forwarding = Box::pin(world.forwarding(post(script.body())));
    assert!(poll_once(forwarding.as_mut()).is_pending());
    assert_eq!((world.in_flight(), world.waiting()), (1, 0));
    assert!(poll_once(forwarding.as_mut()).is_pending());
    assert_eq!((world.in_flight(), world.waiting()), (1, 1));
    drop(forwarding);
    world.check_idle();
}

#[test]
fn the_total_ends_a_body_that_never_stops() {
    let world = World::with(|settings| {
        settings.pool.limits.total = Some(Duration::from_secs(5));
    });
    let script = Script::new().data("a").data("b").hang();
    let mut reply = answered(&world, response(200, script.body()));
    assert!(poll_body(reply.body_mut()).is_ready());
    world.clock.set(at(5));
    assert!(matches!(
        poll_body(reply.body_mut()),
        Poll::Ready(Some(Err(_)))
    ));
    assert_eq!(world.exchange().end, End::Truncated(BodyCause::Deadline));

    let mut waiting = answered_elsewhere(&world);
    assert_eq!(read_all(&world, &mut waiting), Err(BodyCause::Deadline));
    assert_eq!(world.now(), at(10));
}

#[test]
fn an_answer_that_nobody_takes_ends_with_the_total_and_is_no_news_about_the_backend() {
    let world = World::with(|settings| {
        settings.pool.servers.truncate(1);
        settings.pool.limits.total = Some(Duration::from_secs(5));
    });
    for (dropped, end) in [
        (4, End::ClientGone),
        (10, End::Truncated(BodyCause::Deadline)),
    ] {
        let before = world.now();
        let script = Script::new().data("a").data("b").hang();
        world.script(1, Act::Answer(response(200, script.body())));
        let reply = world.forward(get("/"));
        assert_eq!(reply.until, before + Duration::from_secs(5));
        world.clock.set(at(dropped));
        drop(reply);
        assert_eq!(world.exchange().end, end);
    }
    let counters = world.counters(1);
    assert_eq!((counters.abandoned, counters.failed), (2, 0));
    world.check_idle();
}

fn answered_elsewhere(world: &World) -> Response<Body> {
    let hanging = response(200, Script::new().hang().body());
    world.script(2, Act::Answer(hanging));
    world.forward(get("/")).response
}

#[test]
fn trailers_go_both_ways_without_the_forbidden_ones() {
    let world = World::new();
    let mut answer = response(
        200,
        Script::new()
            .data("ab")
            .trailers(&[("x-sum", "1"), ("content-length", "5")])
            .body(),
    );
    answer
        .headers_mut()
        .insert("trailer", "x-sum".parse().unwrap());
    world.script(1, Act::Answer(answer));
    let upload = Script::new()
        .data("a")
        .trailers(&[("x-up", "2"), ("host", "evil")]);
    let mut asked = post(upload.body());
    asked
        .headers_mut()
        .insert("te", "trailers".parse().unwrap());
    asked
        .headers_mut()
        .insert("trailer", "x-up".parse().unwrap());
    let mut reply = world.forward(asked).response;

    let seen = world.seen().pop().unwrap();
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.headers["trailer"], "x-up");
    let up = seen.trailers.unwrap();
    assert_eq!((up.len(), &up["x-up"]), (1, &"2".parse().unwrap()));

    assert_eq!(reply.headers()["trailer"], "x-sum");
    assert!(poll_body(reply.body_mut()).is_ready());
    let Poll::Ready(Some(Ok(frame))) = poll_body(reply.body_mut()) else {
        panic!("no trailers");
    };
    let down = frame.into_trailers().unwrap();
    assert_eq!((down.len(), &down["x-sum"]), (1, &"1".parse().unwrap()));
}

#[test]
fn trailers_are_announced_only_to_a_client_that_takes_them() {
    for (version, te, announced) in [
        (Version::HTTP_11, "trailers", true),
        (Version::HTTP_11, "gzip", false),
        // What comes to an old client has no chunks, and no place for them.
        (Version::HTTP_10, "trailers", false),
    ] {
        let world = World::new();
        let mut answer = response(200, Script::new().data("ab").hang().body());
        let sum = "x-sum".parse().unwrap();
        answer.headers_mut().insert("trailer", sum);
        world.script(1, Act::Answer(answer));
        let mut asked = get("/");
        *asked.version_mut() = version;
        asked.headers_mut().insert("te", te.parse().unwrap());
        let reply = world.forward(asked).response;
        let told = reply.headers().contains_key("trailer");
        assert_eq!(told, announced, "{version:?} {te}");
    }
}

#[test]
fn trailers_are_the_end_whether_or_not_somebody_asks_for_more() {
    let world = World::new();
    let script = Script::new().data("ab").trailers(&[("x-sum", "1")]);
    let mut reply = answered(&world, response(200, script.body()));
    assert!(poll_body(reply.body_mut()).is_ready());
    assert!(poll_body(reply.body_mut()).is_ready());
    drop(reply);
    assert_eq!(world.exchange().end, End::Complete);
    assert_eq!(world.counters(1).answered, 1);
}

#[test]
fn trailers_that_are_all_forbidden_are_not_handed_on_empty() {
    let world = World::new();
    let script = Script::new().data("ab").trailers(&[("host", "evil")]);
    let mut reply = answered(&world, response(200, script.body()));
    assert!(poll_body(reply.body_mut()).is_ready());
    assert!(matches!(poll_body(reply.body_mut()), Poll::Ready(None)));
    assert_eq!(world.exchange().end, End::Complete);
}
