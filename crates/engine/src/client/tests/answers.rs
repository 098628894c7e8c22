//! What is made of answers, whole, cut, invalid and hostile.

use std::pin::pin;

use futures::AsyncReadExt;
use futures::AsyncWriteExt;
use futures::executor::block_on;
use futures::future::join;
use http::{HeaderValue, Request, StatusCode, Version};
use lb_core::body::Body;
use lb_core::error::{BodyCause, Cause, Delivered, Phase};
use lb_core::upgrade::UpgradeHandle;

use super::script::{End, answers, ends};
use super::{OK, World, frames, get, post, read, turn};

#[test]
fn a_body_that_was_cut_ends_with_an_error() {
    let table = [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
        "HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok",
    ];
    for answer in table {
        for end in [End::Close, End::Reset] {
            let world = World::new([ends(&[answer], end)]);
            let body = block_on(world.fetch(get("/"))).into_body();
            assert_eq!(body.unwrap_err().cause, BodyCause::Closed, "{answer}");
            assert_eq!(world.client.idle_count(), 0);
            assert!(world.net.wire(0).lock().unwrap().dropped);
        }
    }
}

#[test]
fn a_body_without_a_length_ends_with_its_connection_unless_that_was_reset() {
    let answer = "HTTP/1.1 200 OK\r\n\r\nok";
    let world = World::new([ends(&[answer], End::Close)]);
    assert_eq!(block_on(world.fetch(get("/"))).into_body().unwrap(), "ok");
    let world = World::new([ends(&[answer], End::Reset)]);
    let body = block_on(world.fetch(get("/"))).into_body();
    assert_eq!(body.unwrap_err().cause, BodyCause::Closed);
}

#[test]
fn chunks_that_make_no_sense_are_invalid() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunk in [
        "x\r\n",
        "-1\r\n",
        "2\r\nokay\r\n",
        "ffffffffffffffff1\r\n",
        "2\nok",
    ] {
        let world = World::new([answers(&[&format!("{head}{chunk}")])]);
        let body = block_on(world.fetch(get("/"))).into_body();
        assert_eq!(body.unwrap_err().cause, BodyCause::Invalid, "{chunk:?}");
    }
}

#[test]
fn an_answer_that_is_not_http_is_invalid_and_costs_the_connection() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
    let table = [
        "\0\0\0\0\0\0\0\0",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: empty name\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
        &long,
        &many,
    ];
    for answer in table {
        let world = World::new([answers(&[answer])]);
        let error = world.failure();
        assert_eq!(error.cause, Cause::Invalid, "{answer:?}");
        assert_eq!(error.delivered, Delivered::Yes, "{answer:?}");
        assert!(error.unsent.is_none());
        assert!(world.net.wire(0).lock().unwrap().dropped);
    }
}

#[test]
fn a_connection_that_closes_without_an_answer_may_have_delivered_the_request() {
    for (answer, end) in [
        ("", End::Close),
        ("", End::Reset),
        ("HTTP/1.1 200 O", End::Reset),
    ] {
        let error = World::new([ends(&[answer], end)]).failure();
        assert_eq!(error.cause, Cause::Closed);
        assert_eq!(error.delivered, Delivered::Maybe);
        assert_eq!(error.phase, Phase::ReceiveHead);
        assert!(error.unsent.is_none());
    }
}

#[test]
fn chunked_wins_over_a_length() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n\
                2\r\nok\r\n0\r\n\r\n";
    let world = World::new([answers(&[both])]);
    let response = block_on(world.fetch(get("/")));
    // The head is handed over as it came: whoever forwards it chooses one framing.
    assert_eq!(response.headers()["content-length"], "99");
    assert_eq!(response.into_body().unwrap(), "ok");
}

#[test]
fn an_answer_without_a_body_has_none_whatever_its_head_says() {
    let table = [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
    ];
    for (method, answer) in table {
        let world = World::new([answers(&[answer, OK])]);
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("host", "t");
        let response = block_on(world.fetch(request.body(Body::empty()).unwrap()));
        assert_eq!(response.into_body().unwrap(), "");
        assert_eq!(world.client.idle_count(), 1, "{method} {answer}");
    }
}

#[test]
fn sixteen_interim_answers_are_skipped_and_one_more_is_too_many() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let world = World::new([answers(&[&(interim.repeat(16) + OK), OK])]);
    let response = block_on(world.fetch(get("/")));
    assert_eq!(response.status(), StatusCode::OK);
    // The count starts again with the next request.
    assert_eq!(block_on(world.fetch(get("/"))).status(), StatusCode::OK);
    assert_eq!(world.net.made(), 1);

    let continued = "HTTP/1.1 100 Continue\r\n\r\n".repeat(17) + OK;
    let endless = interim.repeat(100_000);
    for answer in [continued, endless] {
        let world = World::new([answers(&[&answer])]);
        let error = world.failure();
        assert_eq!(error.cause, Cause::Invalid);
        assert!(world.net.wire(0).lock().unwrap().dropped);
    }
}

#[test]
fn heads_arrive_as_they_were_sent() {
    let answer = "HTTP/1.0 599 Odd\r\nx-a: 1\r\nx-b: \u{e9}\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n";
    let world = World::new([answers(&[answer])]);
    let response = block_on(world.fetch(get("/")));
    assert_eq!(response.status().as_u16(), 599);
    assert_eq!(response.version(), Version::HTTP_10);
    let all: Vec<_> = response.headers().get_all("x-a").iter().collect();
    assert_eq!(all, ["1", "2"]);
    assert_eq!(response.headers()["x-b"].as_bytes(), "\u{e9}".as_bytes());
}

#[test]
fn what_is_sent_announces_exactly_the_body_that_follows() {
    let sent = |request: Request<Body>| {
        let world = World::new([answers(&[OK])]);
        block_on(world.fetch(request)).into_body().unwrap();
        world.net.wire(0).lock().unwrap().received()
    };
    let lying = |name: &'static str, value: &'static str| {
        let mut request = post(Body::empty());
        *request.version_mut() = Version::HTTP_3;
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
        sent(request)
    };
    let head = "POST / HTTP/1.1\r\nhost: test\r\n";
    assert_eq!(
        lying("content-length", "5"),
        format!("{head}content-length: 0\r\n\r\n")
    );
    assert_eq!(lying("transfer-encoding", "chunked"), format!("{head}\r\n"));
    assert_eq!(
        sent(post("four".into())),
        format!("{head}content-length: 4\r\n\r\nfour")
    );
    let mut odd = post("four".into());
    for value in ["gzip", "chunked"] {
        let value = HeaderValue::from_static(value);
        odd.headers_mut().append("transfer-encoding", value);
    }
    assert_eq!(
        sent(odd),
        format!("{head}transfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n")
    );
    let (feed, body) = frames();
    feed.unbounded_send(Ok("some".into())).unwrap();
    drop(feed);
    let get_with_body = Request::get("/?q=%zz|").header("host", "t").body(body);
    assert_eq!(
        sent(get_with_body.unwrap()),
        "GET /?q=%zz| HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n\
         4\r\nsome\r\n0\r\n\r\n"
    );
}

#[test]
fn a_request_body_that_fails_is_not_the_backends_fault() {
    let world = World::new([answers(&[])]);
    let (feed, body) = frames();
    feed.unbounded_send(Ok("part".into())).unwrap();
    feed.unbounded_send(Err(BodyCause::Closed.into())).unwrap();
    let error = block_on(world.send(post(body))).unwrap_err();
    assert_eq!(error.cause, Cause::RequestBody);
    assert_eq!(error.phase, Phase::SendBody);
    assert!(world.net.wire(0).lock().unwrap().dropped);
    // The server must not take what it has for the whole.
    assert!(
        !world
            .net
            .wire(0)
            .lock()
            .unwrap()
            .received()
            .contains("\r\n0\r\n")
    );
}

#[test]
fn a_request_body_that_fails_during_the_answer_ends_the_answer() {
    let world = World::new([answers(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"])]);
    let (feed, body) = frames();
    let error = block_on(async {
        let response = world.send(post(body)).await.unwrap();
        feed.unbounded_send(Err(BodyCause::Closed.into())).unwrap();
        read(response.into_body()).await.unwrap_err()
    });
    assert_eq!(error.cause, BodyCause::Abandoned);
}

#[test]
fn a_request_body_that_is_not_as_long_as_announced_is_not_the_backends_fault() {
    for (announced, sent) in [("9", "part"), ("2", "part")] {
        let world = World::new([answers(&[])]);
        let (feed, body) = frames();
        feed.unbounded_send(Ok(sent.into())).unwrap();
        drop(feed);
        let mut request = post(body);
        let announced = HeaderValue::from_static(announced);
        request.headers_mut().insert("content-length", announced);
        let error = block_on(world.send(request)).unwrap_err();
        assert_eq!(error.cause, Cause::RequestBody);
        assert!(world.net.wire(0).lock().unwrap().dropped);
    }
}

#[test]
fn an_answer_may_begin_before_the_request_has_ended() {
    let world = World::new([answers(&["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok"])]);
    let (feed, body) = frames();
    block_on(async {
        let response = world.send(post(body)).await.unwrap();
        let rest = async {
            feed.unbounded_send(Ok("late".into())).unwrap();
            drop(feed);
            turn().await;
            world.net.wire(0).lock().unwrap().send(b"ok");
        };
        let (body, ()) = join(read(response.into_body()), rest).await;
        assert_eq!(body.unwrap(), "okok");
    });
    assert!(
        world
            .net
            .wire(0)
            .lock()
            .unwrap()
            .received()
            .ends_with("late\r\n0\r\n\r\n")
    );
    assert_eq!(world.client.idle_count(), 1);
}

#[test]
fn trailers_arrive_behind_the_data() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                  2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
    let world = World::new([answers(&[answer])]);
    block_on(async {
        let mut body = world.send(get("/")).await.unwrap().into_body();
        let mut body = pin!(&mut body);
        let mut frames = Vec::new();
        while let Some(frame) =
            std::future::poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)).await
        {
            frames.push(frame.unwrap());
        }
        assert_eq!(frames[1].trailers_ref().unwrap()["x-sum"], "7");
    });
    assert_eq!(world.client.idle_count(), 1);
}

fn websocket() -> Request<Body> {
    let mut request = get("/chat");
    let headers = request.headers_mut();
    headers.insert("connection", HeaderValue::from_static("upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    request
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\n\
                      connection: upgrade\r\nupgrade: websocket\r\n\r\n";

#[test]
fn an_upgrade_becomes_a_stream_that_starts_with_what_came_behind_the_head() {
    let world = World::new([answers(&[&format!("{SWITCH}first")])]);
    block_on(async {
        let response = world.send(websocket()).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let handle = response.extensions().get::<UpgradeHandle>().unwrap();
        let mut stream = handle.take().unwrap().await.unwrap();
        drop(response);
        let mut first = [0; 5];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"first");
        stream.write_all(b"second").await.unwrap();
        let wire = world.net.wire(0);
        assert!(wire.lock().unwrap().received().ends_with("\r\n\r\nsecond"));
        wire.lock().unwrap().end(End::Close);
        assert_eq!(stream.read(&mut first).await.unwrap(), 0);
    });
    assert!(world.net.wire(0).lock().unwrap().dropped);
    assert_eq!(world.client.idle_count(), 0);
}

#[test]
fn an_upgrade_that_nobody_takes_closes_the_connection() {
    let world = World::new([answers(&[SWITCH])]);
    drop(block_on(world.send(websocket())).unwrap());
    assert!(world.net.wire(0).lock().unwrap().dropped);
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer_and_costs_the_connection() {
    let refused = "HTTP/1.1 200 OK\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nok";
    let world = World::new([answers(&[refused])]);
    let response = block_on(world.fetch(websocket()));
    assert!(response.extensions().get::<UpgradeHandle>().is_none());
    assert_eq!(response.into_body().unwrap(), "ok");
    assert_eq!(world.client.idle_count(), 0);
}

#[test]
fn connect_is_not_carried() {
    let world = World::new([answers(&[OK])]);
    let request = Request::connect("example.org:443").body(Body::empty());
    let error = block_on(world.send(request.unwrap())).unwrap_err();
    assert_eq!(error.cause, Cause::Unsupported);
    assert!(error.unsent.is_some());
    assert_eq!(world.net.made(), 0);
}
