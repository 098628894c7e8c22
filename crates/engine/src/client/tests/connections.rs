//! Which connections are made, kept, used again and given up.

use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join;
use http_body::Body as _;
use lb_core::backend::{Address, Backend};
use lb_core::body::Body;
use lb_core::error::{BodyCause, Cause, Delivered, Phase};
use lb_core::transport::{Attempt, Reuse, Transport};

use super::script::{Connection, End, Script, answers, ends};
use super::{ClientSettings, OK, World, frames, get, post};

#[test]
fn a_connection_whose_answer_was_read_to_its_end_is_used_again() {
    let world = World::new([answers(&[OK, OK, "HTTP/1.1 204 No Content\r\n\r\n", OK])]);
    block_on(async {
        for _ in 0..4 {
            world.fetch(get("/")).await.into_body().unwrap();
            assert_eq!(world.client.idle_count(), 1);
        }
    });
    assert_eq!(world.net.made(), 1);
}

#[test]
fn a_chunked_answer_gives_its_connection_back_at_the_last_chunk() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let world = World::new([answers(&[chunked, OK])]);
    block_on(async {
        assert_eq!(world.fetch(get("/")).await.into_body().unwrap(), "ok");
        assert_eq!(world.fetch(get("/")).await.into_body().unwrap(), "ok");
    });
    assert_eq!(world.net.made(), 1);
}

#[test]
fn these_answers_leave_no_connection_behind() {
    let table = [
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\nx",
        "HTTP/1.0 204 No Content\r\nconnection: keep-alive\r\n\r\n",
    ];
    for answer in table {
        let world = World::new([answers(&[answer]), answers(&[OK])]);
        block_on(async {
            world.fetch(get("/")).await.into_body().unwrap();
            assert_eq!(world.client.idle_count(), 0, "{answer}");
            world.fetch(get("/")).await.into_body().unwrap();
        });
        assert!(world.net.wire(0).lock().unwrap().dropped, "{answer}");
    }
}

#[test]
fn a_dropped_body_closes_its_connection() {
    let world = World::new([answers(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"])]);
    let response = block_on(world.send(get("/"))).unwrap();
    assert!(!world.net.wire(0).lock().unwrap().dropped);
    drop(response);
    assert!(world.net.wire(0).lock().unwrap().dropped);
    assert_eq!(world.client.idle_count(), 0);
}

#[test]
fn a_dropped_request_closes_its_connection() {
    let world = World::new([answers(&[])]);
    let mut send = Box::pin(world.send(get("/")));
    block_on(poll_fn(|cx| {
        assert!(send.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    }));
    assert!(
        world
            .net
            .wire(0)
            .lock()
            .unwrap()
            .received()
            .starts_with("GET / HTTP/1.1\r\n")
    );
    drop(send);
    assert!(world.net.wire(0).lock().unwrap().dropped);
}

#[test]
fn a_fresh_attempt_neither_takes_nor_leaves_a_kept_connection() {
    let world = World::new([answers(&[OK]), answers(&[OK])]);
    block_on(async {
        world.fetch(get("/")).await.into_body().unwrap();
        let attempt = world.attempt(Reuse::Fresh);
        let response = world.client.send(&attempt, get("/")).await.unwrap();
        super::read(response.into_body()).await.unwrap();
    });
    assert_eq!(world.net.made(), 2);
    assert_eq!(world.client.idle_count(), 1);
    assert!(world.net.wire(1).lock().unwrap().dropped);
}

#[test]
fn a_connection_that_the_server_closed_while_idle_is_noticed_and_replaced() {
    for end in [End::Close, End::Reset] {
        let world = World::new([answers(&[OK]), answers(&[OK])]);
        block_on(async {
            world.fetch(get("/")).await.into_body().unwrap();
            world.net.wire(0).lock().unwrap().end(end);
            world
                .fetch(post("a body".into()))
                .await
                .into_body()
                .unwrap();
        });
        assert_eq!(world.net.made(), 2);
    }
}

#[test]
fn bytes_out_of_turn_on_an_idle_connection_reach_nobody() {
    let world = World::new([answers(&[OK]), answers(&[OK])]);
    block_on(async {
        world.fetch(get("/")).await.into_body().unwrap();
        let poison = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
        world.net.wire(0).lock().unwrap().send(poison);
        assert_eq!(world.fetch(get("/")).await.into_body().unwrap(), "ok");
    });
    assert_eq!(world.net.made(), 2);
}

#[test]
fn a_kept_connection_that_dies_after_the_request_left_is_not_retried_here() {
    let world = World::new([ends(&[OK, ""], End::Close), answers(&[OK])]);
    block_on(async {
        world.fetch(get("/")).await.into_body().unwrap();
        let error = world.send(get("/")).await.unwrap_err();
        assert_eq!(error.delivered, Delivered::Maybe);
        assert_eq!(error.cause, Cause::Closed);
        assert!(error.unsent.is_none());
    });
    assert_eq!(world.net.made(), 1);
}

#[test]
fn the_connection_used_last_is_taken_first() {
    let world = World::new(std::iter::repeat_n(answers(&[OK, OK]), 2));
    block_on(async {
        burst(&world, 2).await;
        world.fetch(get("/last")).await.into_body().unwrap();
    });
    let received = world.net.wire(1).lock().unwrap().received();
    assert!(received.contains("/last"));
}

#[test]
fn a_burst_of_connections_is_kept_while_it_recurs_and_then_no_more_of_it_than_allowed() {
    let settings = ClientSettings {
        idle_per_server: 2,
        ..ClientSettings::default()
    };
    let world = World::with(std::iter::repeat_n(answers(&[OK; 6]), 5), settings);
    block_on(async {
        for _ in 0..3 {
            burst(&world, 5).await;
            world.pass(1).await;
            assert_eq!(world.client.idle_count(), 5);
        }
        // One request at a time needs one of them.
        world.fetch(get("/")).await.into_body().unwrap();
        world.pass(1).await;
        assert_eq!(world.client.idle_count(), 2);
    });
    assert_eq!(world.net.made(), 5);
    let dropped = |wire| world.net.wire(wire).lock().unwrap().dropped;
    assert_eq!((0..5).filter(|wire| dropped(*wire)).count(), 3);
}

/// So many requests at a time, each on a connection of its own.
async fn burst(world: &World, count: usize) {
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(world.send(get("/")).await.unwrap().into_body());
    }
    for body in open {
        super::read(body).await.unwrap();
    }
}

#[test]
fn a_client_that_may_keep_nothing_keeps_nothing() {
    let settings = ClientSettings {
        idle_per_server: 0,
        ..ClientSettings::default()
    };
    let world = World::with([answers(&[OK])], settings);
    block_on(world.fetch(get("/"))).into_body().unwrap();
    assert!(world.net.wire(0).lock().unwrap().dropped);
}

#[test]
fn idle_connections_are_swept_after_their_time_or_when_the_server_closed_them() {
    let world = World::new([answers(&[OK]), answers(&[OK])]);
    block_on(async {
        let (one, two) = join(world.send(get("/")), world.send(get("/"))).await;
        super::read(one.unwrap().into_body()).await.unwrap();
        super::read(two.unwrap().into_body()).await.unwrap();
        assert_eq!(world.client.idle_count(), 2);

        world.pass(2).await;
        assert_eq!(world.client.idle_count(), 2);
        world.net.wire(0).lock().unwrap().end(End::Close);
        world.pass(2).await;
        assert_eq!(world.client.idle_count(), 1);
        world.pass(30).await;
        assert_eq!(world.client.idle_count(), 0);
    });
    assert!(world.net.wire(1).lock().unwrap().dropped);
}

#[test]
fn a_server_that_closes_after_five_seconds_is_left_before_once_that_is_known() {
    let world = World::new(std::iter::repeat_n(answers(&[OK, OK]), 4));
    block_on(async {
        for connection in 0..3 {
            world.fetch(get("/")).await.into_body().unwrap();
            for _ in 0..5 {
                world.pass(1).await;
                assert_eq!(world.client.idle_count(), 1);
            }
            world.net.wire(connection).lock().unwrap().end(End::Close);
            world.pass(1).await;
            assert_eq!(world.client.idle_count(), 0);
        }
        world.fetch(get("/")).await.into_body().unwrap();
        world.pass(3).await;
        assert_eq!(world.client.idle_count(), 1);
        world.pass(1).await;
        assert_eq!(world.client.idle_count(), 0);
    });
    assert!(world.net.wire(3).lock().unwrap().dropped);
}

#[test]
fn a_server_that_closes_after_two_requests_gets_no_third_on_a_connection() {
    let world = World::new(std::iter::repeat_n(answers(&[OK, OK, OK]), 4));
    block_on(async {
        for connection in 0..3 {
            for _ in 0..2 {
                world.fetch(get("/")).await.into_body().unwrap();
            }
            world.net.wire(connection).lock().unwrap().end(End::Close);
            world.pass(1).await;
        }
        world.fetch(get("/")).await.into_body().unwrap();
        assert_eq!(world.client.idle_count(), 1);
        world.fetch(get("/")).await.into_body().unwrap();
        assert_eq!(world.client.idle_count(), 0);
    });
    assert_eq!(world.net.made(), 4);
}

#[test]
fn a_server_that_closes_under_every_second_request_gets_one_on_a_connection() {
    let closes = ends(&[OK, ""], End::Close);
    let world = World::new([closes.clone(), closes.clone(), closes, answers(&[OK])]);
    block_on(async {
        for _ in 0..3 {
            world.fetch(get("/")).await.into_body().unwrap();
            assert_eq!(world.client.idle_count(), 1);
            let error = world.send(post("a body".into())).await.unwrap_err();
            assert_eq!(error.cause, Cause::Closed);
        }
        world.fetch(get("/")).await.into_body().unwrap();
        assert_eq!(world.client.idle_count(), 0);
    });
    assert!(world.net.wire(3).lock().unwrap().dropped);
}

#[test]
fn a_server_that_closes_under_a_request_after_four_seconds_is_left_before() {
    let closes = ends(&[OK, ""], End::Reset);
    let world = World::new([closes.clone(), closes.clone(), closes, answers(&[OK])]);
    block_on(async {
        for _ in 0..3 {
            world.fetch(get("/")).await.into_body().unwrap();
            world.pass(4).await;
            world.send(get("/")).await.unwrap_err();
        }
        world.fetch(get("/")).await.into_body().unwrap();
        world.pass(3).await;
        assert_eq!(world.client.idle_count(), 1);
        world.pass(1).await;
        assert_eq!(world.client.idle_count(), 0);
    });
}

#[test]
fn these_failures_of_kept_connections_are_no_habit_of_the_server() {
    let takes_long = |world: &World| {
        let mut send = Box::pin(world.send(get("/")));
        block_on(poll_fn(|cx| {
            assert!(send.as_mut().poll(cx).is_pending());
            world.timer.advance(Duration::from_secs(2));
            let last = world.net.made() - 1;
            world.net.wire(last).lock().unwrap().end(End::Close);
            assert!(send.as_mut().poll(cx).is_ready());
            Poll::Ready(())
        }));
    };
    let answers_nonsense = |world: &World| {
        world.failure();
    };
    let client_breaks_off = |world: &World| {
        let (feed, body) = frames();
        feed.unbounded_send(Err(BodyCause::Closed.into())).unwrap();
        block_on(world.send(post(body))).unwrap_err();
    };
    let gives_up = |world: &World| {
        let mut send = Box::pin(world.send(get("/")));
        block_on(poll_fn(|cx| {
            assert!(send.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        }));
    };
    type Fails<'a> = &'a dyn Fn(&World);
    let table: [(&[&str], Fails<'_>); 4] = [
        (&[OK], &takes_long),
        (&[OK, "nonsense\r\n\r\n"], &answers_nonsense),
        (&[OK], &client_breaks_off),
        (&[OK], &gives_up),
    ];
    for (row, (script, fail)) in table.into_iter().enumerate() {
        let world = World::new(std::iter::repeat_n(answers(script), 4));
        for _ in 0..3 {
            block_on(world.fetch(get("/"))).into_body().unwrap();
            fail(&world);
        }
        block_on(world.fetch(get("/"))).into_body().unwrap();
        assert_eq!(world.client.idle_count(), 1, "row {row}");
    }
}

#[test]
fn a_server_that_says_when_it_will_close_is_left_before() {
    let answer = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\nok";
    let world = World::new([answers(&[answer])]);
    block_on(async {
        world.fetch(get("/")).await.into_body().unwrap();
        world.pass(3).await;
        assert_eq!(world.client.idle_count(), 1);
        world.pass(1).await;
        assert_eq!(world.client.idle_count(), 0);
    });
}

#[test]
fn a_connection_is_given_up_at_an_hour_give_or_take_a_tenth() {
    for (minutes, kept) in [(53, 1), (67, 0)] {
        let world = World::new([answers(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no"])]);
        block_on(async {
            let response = world.send(get("/")).await.unwrap();
            world.timer.advance(Duration::from_secs(minutes * 60));
            world.net.wire(0).lock().unwrap().send(b"k");
            super::read(response.into_body()).await.unwrap();
        });
        assert_eq!(world.client.idle_count(), kept, "{minutes} minutes");
    }
}

#[test]
fn failures_to_connect_name_their_cause_and_give_the_request_back() {
    use io::ErrorKind as Kind;
    let table = [
        (Kind::ConnectionRefused, Cause::Refused),
        (Kind::HostUnreachable, Cause::Unreachable),
        (Kind::NetworkUnreachable, Cause::Unreachable),
        (Kind::TimedOut, Cause::TimedOut),
        (Kind::ConnectionReset, Cause::Closed),
        (Kind::AddrNotAvailable, Cause::LocalLimit),
        (Kind::OutOfMemory, Cause::LocalLimit),
        (Kind::Other, Cause::Other),
    ];
    for (kind, cause) in table {
        let world = World::new([Connection::Fails(kind)]);
        let (feed, body) = frames();
        let error = block_on(world.send(post(body))).unwrap_err();
        assert_eq!(error.cause, cause);
        assert_eq!(error.phase, Phase::Connect);
        assert_eq!(error.delivered, Delivered::No);
        let unsent = error.unsent.expect("nothing was sent");
        feed.unbounded_send(Ok("whole".into())).unwrap();
        drop(feed);
        assert_eq!(block_on(super::read(unsent.into_body())).unwrap(), "whole");
    }
}

#[test]
fn kept_connections_are_given_up_when_there_is_no_room_for_a_new_one() {
    let full = || Connection::Fails(io::ErrorKind::AddrNotAvailable);
    let slow = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
    let world = World::new([answers(&[OK, OK]), full(), answers(&[slow]), full()]);
    let other: std::net::SocketAddr = "192.0.2.2:80".parse().unwrap();
    let other = Backend::new(Address::from(other));
    let elsewhere = Attempt {
        backend: &other,
        ..world.attempt(Reuse::Allowed)
    };
    block_on(async {
        world.fetch(get("/")).await.into_body().unwrap();
        assert_eq!(world.client.idle_count(), 1);
        let answer = world.client.send(&elsewhere, get("/")).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(world.client.idle_count(), 0);
        // Now there is nothing left to give up.
        let error = world.client.send(&elsewhere, get("/")).await.unwrap_err();
        assert_eq!(error.cause, Cause::LocalLimit);
    });
    assert_eq!(world.net.asked.lock().unwrap().len(), 4);
    assert!(world.net.wire(0).lock().unwrap().dropped);
}

#[test]
fn no_file_descriptor_left_is_a_local_limit() {
    for code in [23, 24] {
        let error = io::Error::from_raw_os_error(code);
        assert_eq!(
            crate::client::failure::connect_cause(&error),
            Cause::LocalLimit
        );
    }
}

#[test]
fn a_connection_that_is_not_open_by_the_deadline_is_given_up() {
    let world = World::new([Connection::Hangs, Connection::Hangs]);
    let time = async { world.timer.advance(Duration::from_secs(2)) };
    let (error, ()) = block_on(join(world.send(get("/")), time));
    let error = error.unwrap_err();
    assert_eq!(error.cause, Cause::TimedOut);
    assert!(error.unsent.is_some());

    let attempt = world.attempt(Reuse::Fresh);
    let time = async { world.timer.advance(Duration::from_secs(2)) };
    let (error, ()) = block_on(join(world.client.check(&attempt), time));
    assert_eq!(error.unwrap_err().cause, Cause::TimedOut);
}

#[test]
fn a_check_opens_a_connection_and_closes_it() {
    let world = World::new([answers(&[])]);
    block_on(world.client.check(&world.attempt(Reuse::Fresh))).unwrap();
    let wire = world.net.wire(0);
    let wire = wire.lock().unwrap();
    assert!(wire.dropped);
    assert_eq!(wire.received(), "");
}

#[test]
fn a_new_connection_that_is_no_use_leaves_the_request_unsent() {
    for end in [End::Close, End::Reset] {
        let closed = Connection::Opens(Script {
            from_start: end,
            ..Script::default()
        });
        let error = World::new([closed]).failure();
        assert_eq!(error.cause, Cause::Closed);
        assert_eq!(error.delivered, Delivered::No);
        assert!(error.unsent.is_some());
    }
    let banner = Connection::Opens(Script {
        banner: b"220 mail.example ESMTP\r\n",
        ..Script::default()
    });
    let error = World::new([banner]).failure();
    assert_eq!(error.cause, Cause::Invalid);
    assert_eq!(error.delivered, Delivered::No);
    assert!(error.unsent.is_some());
}

#[test]
fn an_answer_that_ends_before_the_request_does_costs_the_connection() {
    let world = World::new([answers(&[OK]), answers(&[OK])]);
    block_on(async {
        let (feed, body) = frames();
        feed.unbounded_send(Ok("part".into())).unwrap();
        let response = world.send(post(body)).await.unwrap();
        super::read(response.into_body()).await.unwrap();
        assert_eq!(world.client.idle_count(), 0);
        drop(feed);
    });
    assert!(world.net.wire(0).lock().unwrap().dropped);
}

#[test]
fn a_request_that_ends_only_after_its_answer_costs_the_connection() {
    let world = World::new([answers(&[OK]), answers(&[OK])]);
    block_on(async {
        let (feed, body) = frames();
        feed.unbounded_send(Ok("part".into())).unwrap();
        let response = world.send(post(body)).await.unwrap();
        drop(feed);
        super::read(response.into_body()).await.unwrap();
    });
    assert_eq!(world.client.idle_count(), 0);
}

#[test]
fn a_request_that_the_server_did_not_take_costs_the_connection() {
    let half_taken = Connection::Opens(Script {
        answers: [OK.into()].into(),
        takes: Some(200),
        ..Script::default()
    });
    let world = World::new([half_taken]);
    let body = Body::from("x".repeat(1000));
    block_on(world.fetch(post(body))).into_body().unwrap();
    assert_eq!(world.client.idle_count(), 0);
}

#[test]
fn response_bodies_know_their_length() {
    let world = World::new([answers(&[OK])]);
    let response = block_on(world.send(get("/"))).unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(2));
}
