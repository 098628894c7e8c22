//! Whole stories: a real pool and forwarder over scripted backends, in virtual time.

mod blame;
mod bodies;
mod decisions;
mod full;
mod hashing;
mod hedge;
mod rescue;
mod standby;
mod sticky;
mod tunnels;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

use super::testing::{Script, frames, read, run};
use crate::body::Body;
use crate::error::{BodyCause, Cause, Phase, Reason};
use crate::event::End;
use crate::rng::Rng;
use crate::time::Instant;
use world::{Act, World, at, get, post, put, request, response};

#[test]
fn three_servers_take_turns() {
    let world = World::new();
    let order: Vec<String> = (0..6).map(|_| world.text(get("/"))).collect();
    assert_eq!(order, ["b1", "b2", "b3", "b1", "b2", "b3"]);
    world.check_idle();
}

#[test]
fn a_story_may_move_between_threads() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let world = World::new();
    let forwarded = run(&world.clock, send(world.forwarding(get("/"))));
    assert!(send(forwarded).tunnel.is_none());
}

#[test]
fn the_backend_sees_the_request_that_the_rules_make() {
    let world = World::new();
    let mut asked = get("http://site.example/a%20b?c=d");
    asked.headers_mut().insert("host", "other".parse().unwrap());
    world.forward(asked);
    let seen = world.seen();
    assert_eq!(seen[0].uri, "/a%20b?c=d");
    assert_eq!(seen[0].headers["host"], "site.example");
    assert_eq!(seen[0].headers["x-forwarded-for"], "192.0.2.7");
    assert_eq!(seen[0].headers["x-forwarded-host"], "site.example");
    assert_eq!(seen[0].headers["x-request-id"].len(), 32);
}

#[test]
fn a_refused_request_goes_to_the_next_member() {
    let world = World::new();
    world.script(1, Act::Refuse);
    assert_eq!(world.text(get("/")), "b2");
    assert_eq!(world.counters(1).connect_failed, 1);
    let exchange = world.exchange();
    assert_eq!(exchange.attempts, 2);
    assert_eq!(exchange.member.as_deref(), Some("b2"));
    world.check_idle();
}

#[test]
fn a_refused_large_post_goes_to_the_next_member_whole() {
    let world = World::new();
    world.script(1, Act::Refuse);
    let chunk = vec![7; 100_000];
    let body = (0..10).fold(Script::new(), |script, _| script.data(chunk.clone()));
    assert_eq!(world.text(post(body.body())), "b2");
    let seen = world.seen();
    assert_eq!(seen.last().unwrap().body.len(), 1_000_000);
    assert_eq!(seen.last().unwrap().headers["transfer-encoding"], "chunked");
}

#[test]
fn a_get_after_a_reset_is_retried() {
    let world = World::new();
    world.script(1, Act::Reset(0));
    assert_eq!(world.text(get("/x")), "b2");
    let seen = world.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].headers, seen[1].headers);
    assert_eq!(seen[0].uri, seen[1].uri);
    assert_eq!(world.counters(1).failed, 1);
    world.check_idle();
}

#[test]
fn a_post_after_a_reset_is_a_502_and_not_retried() {
    let world = World::new();
    world.script(1, Act::Reset(0));
    let reply = world.forward(post(frames(&["a"])));
    assert_eq!(reply.response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(world.seen().len(), 1);
    let exchange = world.exchange();
    assert_eq!(exchange.reason, Some(Reason::BackendClosed));
    assert_eq!(exchange.end, End::Complete);
    world.check_idle();
}

#[test]
fn a_small_put_is_replayed_with_what_was_sent_and_what_was_not() {
    let world = World::new();
    world.script(1, Act::Reset(2));
    world.script(2, Act::Reset(1));
    let body = Script::new().data("ab").data("cd").pending().data("ef");
    assert_eq!(world.text(put(body.body())), "b3");
    let seen = world.seen();
    assert_eq!(seen[0].body, b"abcd");
    assert_eq!(seen[1].body, b"abcd");
    assert_eq!(seen[2].body, b"abcdef");
}

#[test]
fn a_large_put_is_not_replayed() {
    let world = World::new();
    world.script(1, Act::Reset(2));
    let body = Script::new().data(vec![1; 40_000]).data(vec![2; 40_000]);
    let reply = world.forward(put(body.body()));
    assert_eq!(reply.response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(world.seen().len(), 1);
}

#[test]
fn the_only_member_is_asked_again_after_a_moment_and_not_when_it_refused() {
    let world = World::with(|settings| settings.pool.servers.truncate(1));
    world.script(1, Act::Reset(0));
    world.script(1, Act::Reset(0));
    assert_eq!(world.text(get("/")), "b1");
    assert_eq!(world.seen().len(), 3);
    let took = world.now().since_origin();
    assert!(
        took > Duration::ZERO && took < Duration::from_millis(75),
        "{took:?}"
    );
    world.script(1, Act::Refuse);
    let before = world.now();
    assert_eq!(world.forward(get("/")).response.status(), 503);
    assert_eq!((world.now(), world.seen().len()), (before, 4));
    world.check_idle();
}

#[test]
fn the_total_ends_the_moment_before_a_retry_too() {
    let total = Duration::from_nanos(1);
    let world = World::with(|settings| {
        settings.pool.servers.truncate(1);
        settings.pool.limits.total = Some(total);
    });
    world.script(1, Act::Reset(0));
    let reply = world.forward(get("/"));
    assert_eq!(reply.response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(world.now().since_origin(), total);
}

#[test]
fn retries_stop_at_their_number() {
    let world = World::with(|settings| settings.pool.limits.retries = 1);
    world.script(1, Act::Reset(0));
    world.script(2, Act::Reset(0));
    let reply = world.forward(get("/"));
    assert_eq!(reply.response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(world.exchange().attempts, 2);
}

#[test]
fn retries_stop_when_the_budget_is_spent_but_a_dead_server_costs_nothing() {
    let world = World::with(|settings| settings.pool.limits.retry_budget_percent = 0);
    world.script(1, Act::Reset(0));
    let reply = world.forward(get("/"));
    assert_eq!(reply.response.status(), StatusCode::BAD_GATEWAY);
    world.script(2, Act::Refuse);
    assert_eq!(world.text(get("/")), "b3");
}

#[test]
fn nobody_left_after_refusals_is_a_503_at_once() {
    let world = World::new();
    for port in 1..=3 {
        world.script(port, Act::Refuse);
    }
    let mut reply = world.forward(get("/")).response;
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers()["retry-after"], "1");
    assert_eq!(
        reply.headers()["proxy-status"],
        "lb; error=connection_refused; details=\"refused\""
    );
    let text = run(&world.clock, read(reply.body_mut())).unwrap();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "503 Service Unavailable\nthe servers refuse connections (pool app)\n"
    );
    assert_eq!(world.now(), at(0));
    // All are suspect now: nobody is asked at all.
    let reply = world.forward(get("/"));
    assert_eq!(reply.response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.exchange().reason, Some(Reason::NoMember));
    assert_eq!(world.seen().len(), 3);
}

#[test]
fn a_stale_connection_that_gives_the_request_back_costs_nothing() {
    let world = World::new();
    world.script(1, Act::GiveBack(Phase::SendHead, Cause::Closed));
    assert_eq!(world.text(post(frames(&["a", "b"]))), "b2");
    assert_eq!(world.seen().last().unwrap().body, b"ab");
}

#[test]
fn no_descriptor_left_is_no_news_about_the_backend() {
    let world = World::new();
    world.script(1, Act::GiveBack(Phase::Connect, Cause::LocalLimit));
    let reply = world.forward(get("/"));
    assert_eq!(reply.response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.exchange().reason, Some(Reason::LocalLimit));
    assert_eq!(world.counters(1).connect_failed, 0);
    assert_eq!(world.counters(1).abandoned, 1);
}

#[test]
fn a_silent_backend_is_a_504_after_first_byte() {
    let world = World::new();
    world.script(1, Act::Hang);
    let reply = world.forward(get("/"));
    assert_eq!(reply.response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(world.now(), at(30));
    assert_eq!(
        world.seen().len(),
        1,
        "its time is spent, nobody else is asked"
    );
    assert_eq!(world.exchange().reason, Some(Reason::FirstByteTimeout));
    assert_eq!(world.cancelled(), 1);
    assert_eq!(world.counters(1).failed, 1);
    world.check_idle();
}

#[test]
fn the_first_byte_is_counted_from_the_end_of_the_body() {
    let world = World::new();
    world.script(1, Act::ReadThenHang(Duration::from_secs(20)));
    let reply = world.forward(post(frames(&["a", "b"])));
    assert_eq!(reply.response.status(), StatusCode::GATEWAY_TIMEOUT);
    // Two frames and the end, twenty seconds before each.
    assert_eq!(world.now(), at(60 + 30));
    assert_eq!(world.exchange().reason, Some(Reason::FirstByteTimeout));
}

#[test]
fn a_backend_that_takes_nothing_is_a_504() {
    let world = World::with(|settings| {
        settings.pool.limits.body_idle = Duration::from_secs(7);
    });
    world.script(1, Act::ReadThenHang(Duration::from_secs(8)));
    let reply = world.forward(post(frames(&["a", "b"])));
    assert_eq!(reply.response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(world.exchange().reason, Some(Reason::SendTimeout));
    // The first frame went after eight seconds, then seven without one.
    assert_eq!(world.now(), at(15));
}

#[test]
fn a_client_that_sends_nothing_is_a_408_and_no_news_about_the_backend() {
    let world = World::new();
    let reply = world.forward(post(Script::new().data("a").hang().body()));
    assert_eq!(reply.response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(world.now(), at(30));
    assert_eq!(world.counters(1).abandoned, 1);
    assert_eq!(world.cancelled(), 1);
    world.check_idle();
}

#[test]
fn a_short_first_byte_is_kept_after_a_long_body_idle() {
    let world = World::with(|settings| {
        settings.pool.limits.first_byte = Duration::from_secs(1);
    });
    world.script(1, Act::ReadThenHang(Duration::from_secs(5)));
    world.forward(post(frames(&["a"])));
    let late = world.now().saturating_since(at(10 + 1));
    assert!(late < Duration::from_secs(1), "{late:?}");
    assert_eq!(world.exchange().reason, Some(Reason::FirstByteTimeout));
}

#[test]
fn the_total_bounds_all_attempts_together() {
    let world = World::with(|settings| {
        settings.pool.limits.total = Some(Duration::from_secs(3));
    });
    world.script(1, Act::ConnectTimeout);
    world.script(2, Act::ConnectTimeout);
    let reply = world.forward(get("/"));
    assert_eq!(reply.response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(world.now(), at(3));
    assert_eq!(world.exchange().reason, Some(Reason::TotalTimeout));
}

#[test]
fn a_connection_that_the_total_gave_no_time_is_no_news_about_the_backend() {
    let world = World::with(|settings| {
        settings.pool.limits.total = Some(Duration::from_secs(3));
    });
    world.script(1, Act::ConnectTimeout);
    world.script(2, Act::ConnectTimeout);
    world.forward(get("/"));
    // The first had the two seconds of `limits.connect`, the second what was left.
    assert_eq!(world.counters(1).connect_failed, 1);
    assert_eq!(world.counters(2).connect_failed, 0);
    assert_eq!(world.counters(2).abandoned, 1);
    let eligible: Vec<String> = (0..2).map(|_| world.text(get("/"))).collect();
    assert_eq!(eligible, ["b3", "b2"]);
}

#[test]
fn an_answer_that_the_total_gave_no_time_is_no_news_about_the_backend() {
    let world = World::with(|settings| {
        settings.pool.limits.total = Some(Duration::from_secs(3));
    });
    world.script(1, Act::ConnectTimeout);
    world.script(2, Act::Hang);
    world.forward(get("/"));
    assert_eq!(
        (world.counters(2).failed, world.counters(2).abandoned),
        (0, 1)
    );
    // The first attempt had all of it.
    world.script(3, Act::Hang);
    world.forward(get("/"));
    assert_eq!(world.counters(3).failed, 1);
}

#[test]
fn a_total_that_is_shorter_than_the_time_to_connect_is_named() {
    let world = World::with(|settings| {
        settings.pool.limits.total = Some(Duration::from_secs(1));
        settings.pool.limits.retries = 0;
    });
    world.script(1, Act::ConnectTimeout);
    world.forward(get("/"));
    assert_eq!(world.exchange().reason, Some(Reason::TotalTimeout));
    assert_eq!(world.counters(1).connect_failed, 1);
}

#[test]
fn a_connect_timeout_goes_elsewhere() {
    let world = World::new();
    world.script(1, Act::ConnectTimeout);
    assert_eq!(world.text(post(frames(&["a"]))), "b2");
    assert_eq!(world.now(), at(2));
}

#[test]
fn a_client_that_leaves_cancels_the_attempt() {
    let world = World::new();
    world.script(1, Act::Hang);
    world.abort_while_waiting(get("/"));
    assert_eq!(world.cancelled(), 1);
    let exchange = world.exchange();
    assert_eq!(exchange.status, None);
    assert_eq!(exchange.end, End::ClientGone);
    assert_eq!(world.counters(1).abandoned, 1);
    world.check_idle();
}

#[test]
fn a_request_body_that_breaks_off_is_the_clients_fault() {
    let world = World::new();
    let body = Script::new().data("a").fail(BodyCause::Closed).body();
    let reply = world.forward(put(body));
    assert_eq!(reply.response.status(), StatusCode::BAD_REQUEST);
    let exchange = world.exchange();
    assert_eq!(exchange.end, End::ClientGone);
    assert_eq!(exchange.status, None);
    assert_eq!(exchange.attempts, 1);
    assert_eq!(world.counters(1).failed, 0);
    world.check_idle();
}

#[test]
fn row_51_a_streamed_body_over_the_limit_is_a_413() {
    let world = World::with(|settings| settings.limits.body_bytes = Some(3));
    let reply = world.forward(put(frames(&["ab", "cd"])));
    assert_eq!(reply.response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(world.seen()[0].body, b"ab");
    world.check_idle();
}

#[test]
fn row_17_an_unsolicited_101_is_a_502() {
    let world = World::new();
    world.script(1, Act::Answer(response(101, Body::empty())));
    let reply = world.forward(get("/"));
    assert_eq!(reply.response.status(), StatusCode::BAD_GATEWAY);
    assert!(reply.tunnel.is_none());
    assert_eq!(world.counters(1).failed, 1);
}

#[test]
fn a_request_against_the_rules_asks_nobody() {
    let world = World::new();
    let mut asked = get("/");
    asked.headers_mut().remove("host");
    let reply = world.forward(asked);
    assert_eq!(reply.response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(world.seen().len(), 0);
    let exchange = world.exchange();
    assert_eq!(exchange.attempts, 0);
    assert_eq!(exchange.status, Some(StatusCode::BAD_REQUEST));
}

#[test]
fn a_head_request_gets_a_local_answer_without_a_body() {
    let world = World::new();
    for port in 1..=3 {
        world.script(port, Act::Refuse);
    }
    let reply = world.forward(request(Method::HEAD, "/", Body::empty()));
    assert_eq!(reply.response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.response.body().as_bytes().unwrap().len(), 0);
    assert_ne!(reply.response.headers()["content-length"], "0");
}

#[test]
fn an_http_1_0_request_without_host_names_the_backend_of_each_attempt() {
    let world = World::new();
    world.script(1, Act::Reset(0));
    let mut asked = get("/");
    asked.headers_mut().remove("host");
    *asked.version_mut() = http::Version::HTTP_10;
    assert_eq!(world.text(asked), "b2");
    let seen = world.seen();
    assert_eq!(seen[0].headers["host"], "127.0.0.1:1");
    assert_eq!(seen[1].headers["host"], "127.0.0.1:2");
}

#[test]
fn the_debug_header_names_the_backend() {
    let world = World::with(|settings| {
        settings.debug.backend_header = Some("x-forwarded-server".parse().unwrap());
    });
    let reply = world.forward(get("/"));
    assert_eq!(
        reply.response.headers()["x-forwarded-server"],
        "http://127.0.0.1:1"
    );
}

#[test]
fn nothing_is_recorded_where_nobody_listens() {
    let world = World::silent();
    assert_eq!(world.text(get("/")), "b1");
    assert!(world.exchanges().is_empty());
}

#[test]
fn an_early_answer_is_handed_on_before_the_upload_ends() {
    let world = World::new();
    let dropped = Arc::new(AtomicBool::new(false));
    world.script(1, Act::Early(response(413, Body::empty())));
    let body = Script::new().data("a").hang().noting_drop(&dropped).body();
    let reply = world.forward(post(body));
    assert_eq!(reply.response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(world.exchange().reason, None);
    assert_eq!(world.now(), Instant::ORIGIN);
    world.check_idle();
}

#[test]
fn whatever_happens_each_request_has_one_end_and_each_attempt_one_outcome() {
    let rng = Rng::new(11);
    let world = World::with(|settings| settings.pool.limits.retry_budget_percent = 100);
    let any_body = || match rng.below(5) {
        0 => Body::empty(),
        1 => Body::from("hello"),
        2 => Script::new().data("a").pending().data("b").body(),
        3 => Script::new().data("a").fail(BodyCause::Closed).body(),
        _ => Script::new().data(vec![1; 70_000]).data("b").body(),
    };
    let any_answer = || match rng.below(4) {
        0 => response(200, Body::empty()),
        1 => response(200, Script::new().data("a").data("b").body()),
        2 => response(500, Script::new().data("a").fail(BodyCause::Closed).body()),
        _ => response(101, Body::empty()),
    };
    for round in 1..=2_000 {
        for port in 1..=3 {
            let act = match rng.below(9) {
                0 => Act::Refuse,
                1 => Act::ConnectTimeout,
                2 => Act::GiveBack(Phase::SendHead, Cause::Closed),
                3 => Act::Reset(usize::try_from(rng.below(3)).unwrap()),
                4 => Act::Hang,
                5 => Act::Echo,
                6 => Act::Early(any_answer()),
                _ => Act::Answer(any_answer()),
            };
            world.clear(port);
            world.script(port, act);
        }
        let delivered_before = world.delivered();
        let (method, once) = match rng.below(3) {
            0 => (Method::POST, true),
            1 => (Method::PUT, false),
            _ => (Method::GET, false),
        };
        let asked = request(method, "/", any_body());
        if rng.below(6) == 0 {
            world.abort_at_the_first_wait(asked);
        } else {
            let mut reply = world.forward(asked).response;
            if rng.below(4) > 0 {
                // An answer that breaks off is one of the ends that may come.
                let _ = run(&world.clock, read(reply.body_mut()));
            }
        }
        world.check_idle();
        assert_eq!(world.exchange_count(), round);
        assert!(world.exchange().attempts <= 3);
        let delivered = world.delivered() - delivered_before;
        assert!(
            !once || delivered <= 1,
            "a POST was delivered {delivered} times"
        );
        world.clock.set(world.now() + Duration::from_secs(2));
        world.tend();
    }
    let (picks, ends) = world.picks_and_ends();
    assert_eq!(picks, ends);
    assert!(picks > 2_000, "{picks}");
}
