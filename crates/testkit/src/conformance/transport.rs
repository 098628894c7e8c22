//! The obligations of [`Transport`], against a backend that is scripted byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body::Frame;
use lb_core::backend::{Address, Backend};
use lb_core::body::Body;
use lb_core::error::{Cause, Delivered, Phase};
use lb_core::time::{Timer as _, timeout};
use lb_core::transport::{Attempt, Reuse, Transport};
use lb_core::upgrade::UpgradeHandle;
use lb_engine::rt::{BoxFuture, Net as _, Runtime};

use super::peer::{Client, Counted, Peer, WithTrailers, collect, next};
use super::{SETTLE, case, sleep};

/// What is tested: a transport on a runtime.
pub struct Subject<'a, R, T> {
    /// The runtime whose sockets the scripted backend uses.
    pub runtime: &'a R,
    /// Makes the transport, on the executor that will use it.
    pub make: fn(&R) -> T,
    /// An address that swallows connection attempts; [`FullBacklog`](super::FullBacklog) on real sockets.
    pub hole: SocketAddr,
}

/// Checks every obligation of [`Transport`], as far as the transport's capabilities go.
///
/// # Panics
/// When one is not met.
pub fn transport<R: Runtime, T: Transport>(
    subject: &Subject<'_, R, T>,
    block_on: &dyn Fn(BoxFuture<'static, ()>),
) {
    macro_rules! cases {
        ($($name:ident),* $(,)?) => {$({
            let (runtime, make, hole) = (subject.runtime.clone(), subject.make, subject.hole);
            case(stringify!($name), subject.runtime, block_on, async move {
                let (peer, address) = Peer::new(&runtime);
                let client = Client {
                    transport: make(&runtime),
                    backend: Backend::new(Address::from(address)),
                    runtime,
                    hole,
                };
                $name(client, peer).await;
            });
        })*};
    }
    cases![
        a_request_and_its_answer_pass_unchanged,
        bodies_arrive_whole_both_ways,
        answers_without_a_body_end_at_their_head,
        interim_answers_are_skipped,
        a_refused_request_comes_back_with_its_body_untouched,
        the_connect_deadline_is_honoured,
        a_request_that_may_have_been_delivered_is_sent_once,
        a_head_that_breaks_off_is_an_error,
        a_body_that_breaks_off_never_looks_complete,
        a_body_that_ends_with_the_connection_is_complete,
        a_response_streams,
        a_slow_reader_slows_the_backend,
        a_request_body_is_taken_only_as_fast_as_it_can_be_written,
        nothing_is_reused_after_a_dropped_future,
        nothing_is_reused_after_a_dropped_body,
        nothing_is_reused_after_an_error,
        nothing_is_reused_after_unread_bytes,
        nothing_is_reused_when_the_backend_says_close,
        a_fresh_attempt_never_uses_a_kept_connection,
        a_stale_kept_connection_costs_no_request,
        redirects_cookies_and_codings_are_left_alone,
        a_check_tells_an_open_port_from_a_closed_one,
        trailers_survive_both_ways,
        an_answer_may_come_before_the_request_has_ended,
        odd_bytes_and_statuses_survive,
        an_upgrade_yields_a_duplex_stream,
    ];
}

fn request(method: Method, target: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(target)
        .header("host", "example.test")
}

fn get(target: &str) -> Request<Body> {
    request(Method::GET, target)
        .body(Body::empty())
        .expect("a valid request")
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn a_request_and_its_answer_pass_unchanged<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let target = "/a/../b//c%2Fd?q=%20x&&y=/";
    let sent = request(Method::PUT, target)
        .header("x-twice", "1")
        .header("x-twice", "2")
        .header("content-type", "text/x")
        .body(Body::from("content"))
        .expect("a valid request");
    let serve = async {
        let (mut conn, head, body) = peer.request().await;
        assert_eq!(head.start, format!("PUT {target} HTTP/1.1"));
        assert_eq!(head.all("x-twice").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(head.text("host").expect("one host"), Some("example.test"));
        assert_eq!(head.text("content-type").expect("one"), Some("text/x"));
        assert_eq!(body, b"content");
        let answer = "HTTP/1.1 404 Not Here\r\nx-b: 1\r\nx-b: 2\r\ncontent-length: 4\r\n\r\ngone";
        conn.write(answer).await.expect("write");
        conn
    };
    let (answer, _conn) = join(client.exchange(Reuse::Allowed, sent), serve).await;
    assert_eq!(answer.head.status, StatusCode::NOT_FOUND);
    assert_eq!(
        answer
            .head
            .headers
            .get_all("x-b")
            .iter()
            .collect::<Vec<_>>(),
        ["1", "2"]
    );
    assert_eq!(answer.body, b"gone");
}

async fn bodies_arrive_whole_both_ways<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let mut kept = None;
    for size in [0usize, 1, 4096, 300_000] {
        let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        for chunked in [false, true] {
            let body = if chunked {
                Body::stream(WithTrailers(vec![Frame::data(Bytes::from(
                    content.clone(),
                ))]))
            } else {
                Body::from(Bytes::from(content.clone()))
            };
            let sent = request(Method::POST, "/").body(body).expect("valid");
            let old = kept.take();
            let serve = async {
                // Echo what came, in the framing that was not used for the request.
                peer.serve_with(old, |body| echo(body, !chunked)).await
            };
            let (answer, conn) = join(client.exchange(Reuse::Allowed, sent), serve).await;
            assert!(
                answer.body == content,
                "{size} bytes, chunked {chunked}: {} came back",
                answer.body.len()
            );
            kept = Some(conn);
        }
    }
}

fn echo(body: &[u8], chunked: bool) -> Vec<u8> {
    if !chunked {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        return [head.as_bytes(), body].concat();
    }
    let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(1000) {
        answer.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        answer.extend_from_slice(chunk);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

async fn answers_without_a_body_end_at_their_head<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let table = [
        (Method::HEAD, "200 OK\r\ncontent-length: 10"),
        (Method::HEAD, "200 OK\r\ntransfer-encoding: chunked"),
        (Method::GET, "204 No Content"),
        (Method::GET, "304 Not Modified\r\ncontent-length: 5"),
        (Method::GET, "200 OK\r\ncontent-length: 0"),
    ];
    let mut kept = None;
    for (method, head) in table {
        let answer = format!("HTTP/1.1 {head}\r\n\r\n");
        let sent = request(method, "/").body(Body::empty()).expect("valid");
        let exchange = client.exchange(Reuse::Allowed, sent);
        let (answer, conn) = join(exchange, peer.serve(kept.take(), answer)).await;
        assert_eq!(answer.body, b"", "{head}");
        // The next answer must be the next request's, on whichever connection.
        let exchange = client.exchange(Reuse::Allowed, get("/next"));
        let (answer, conn) = join(exchange, peer.serve(Some(conn), OK)).await;
        assert_eq!(answer.body, b"ok", "after {head}");
        kept = Some(conn);
    }
}

async fn interim_answers_are_skipped<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let answer = [&interim[..], OK].concat();
    let exchange = client.exchange(Reuse::Allowed, get("/"));
    let (answer, _conn) = join(exchange, peer.serve(None, answer)).await;
    assert_eq!(
        (answer.head.status, &*answer.body),
        (StatusCode::OK, &b"ok"[..])
    );
}

/// A body that must not be touched, and its counter.
fn untouched() -> (Body, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let body = Counted {
        taken: taken.clone(),
        frame: Bytes::from_static(b"never"),
        frames: 1,
    };
    (Body::stream(body), taken)
}

async fn a_refused_request_comes_back_with_its_body_untouched<R: Runtime, T: Transport>(
    client: Client<R, T>,
    peer: Peer<R>,
) {
    drop(peer);
    let (body, taken) = untouched();
    let sent = request(Method::POST, "/refused")
        .header("x-mine", "1")
        .body(body);
    let error = client
        .send(Reuse::Allowed, sent.expect("valid"))
        .await
        .expect_err("nobody listens");
    assert_eq!(
        (error.phase, error.cause),
        (Phase::Connect, Cause::Refused),
        "{error:?}"
    );
    assert_eq!(error.delivered, Delivered::No);
    assert_eq!(taken.load(Ordering::SeqCst), 0, "its body MUST be unpolled");
    let unsent = error.unsent.expect("the request MUST come back");
    assert_eq!(unsent.method(), Method::POST);
    assert_eq!(unsent.uri(), "/refused");
    assert_eq!(unsent.headers()["x-mine"], "1");
    assert_eq!(unsent.headers()["host"], "example.test");
}

async fn the_connect_deadline_is_honoured<R: Runtime, T: Transport>(
    client: Client<R, T>,
    peer: Peer<R>,
) {
    drop(peer);
    let (body, taken) = untouched();
    let backend = Backend::new(Address::from(client.hole));
    let timer = client.runtime.timer();
    let deadline = timer.now() + SETTLE * 2;
    let to = Attempt {
        backend: &backend,
        connect_deadline: deadline,
        reuse: Reuse::Allowed,
    };
    let sent = request(Method::POST, "/").body(body).expect("valid");
    let error = client.send_to(&to, sent).await.expect_err("nobody answers");
    let now = timer.now();
    assert!(now >= deadline, "it gave up before its deadline: {error:?}");
    assert!(
        now.saturating_since(deadline) < Duration::from_secs(2),
        "connect_deadline MUST be honoured"
    );
    assert_eq!(
        (error.phase, error.cause),
        (Phase::Connect, Cause::TimedOut),
        "{error:?}"
    );
    assert_eq!(error.delivered, Delivered::No);
    assert_eq!(taken.load(Ordering::SeqCst), 0, "its body MUST be unpolled");
}

async fn a_request_that_may_have_been_delivered_is_sent_once<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    for reset in [false, true] {
        // Also on a kept connection, and also for a method that could be repeated.
        let exchange = client.exchange(Reuse::Allowed, get("/first"));
        let (_, conn) = join(exchange, peer.serve(None, OK)).await;
        let serve = async {
            let conn = peer.serve(Some(conn), b"").await;
            if reset {
                R::Net::reset(conn.stream());
            }
            drop(conn);
            peer.nobody("what may have been delivered MUST NOT be sent again")
                .await;
        };
        let (sent, ()) = join(client.send(Reuse::Allowed, get("/once")), serve).await;
        let error = sent.expect_err("the backend closed without an answer");
        assert_ne!(
            error.delivered,
            Delivered::No,
            "the backend has seen it: {error:?}"
        );
    }
}

async fn a_head_that_breaks_off_is_an_error<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    for answer in [
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-len",
        "HTTP/1.1 200 OK\r\na: b\r\n",
    ] {
        let serve = async { drop(peer.serve(None, answer).await) };
        let (sent, ()) = join(client.send(Reuse::Allowed, get("/")), serve).await;
        let error = sent.expect_err("no whole head arrived");
        assert_ne!(error.delivered, Delivered::No, "{error:?}");
    }
}

async fn a_body_that_breaks_off_never_looks_complete<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let length = "content-length: 10\r\n\r\n";
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    let table = [
        (format!("{length}hello"), false),
        (format!("{length}hello"), true),
        (length.to_owned(), false),
        (format!("{chunked}5\r\nhello\r\n"), false),
        (format!("{chunked}5\r\nhello\r\n"), true),
        (format!("{chunked}5\r\nhel"), false),
        (format!("{chunked}5\r\nhello\r\n0"), false),
        (format!("{chunked}5\r\nhello\r\n0\r\n"), false),
        (format!("{chunked}5\r\nhello\r\nzz\r\n"), false),
        (chunked.to_owned(), false),
        ("connection: close\r\n\r\nhello".to_owned(), true),
    ];
    for (rest, reset) in table {
        let answer = format!("HTTP/1.1 200 OK\r\n{rest}");
        let serve = async {
            let conn = peer.serve(None, &answer).await;
            if reset {
                R::Net::reset(conn.stream());
            }
            drop(conn);
        };
        let (sent, ()) = join(client.send(Reuse::Allowed, get("/")), serve).await;
        // A reset may overtake the head.
        let Ok(response) = sent else { continue };
        let collected = collect(response.into_body()).await;
        assert!(
            collected.is_err(),
            "an incomplete body MUST end with an error: {answer:?}, reset {reset}"
        );
    }
}

async fn a_body_that_ends_with_the_connection_is_complete<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    for version in ["1.0", "1.1"] {
        let answer = format!("HTTP/{version} 200 OK\r\n\r\nall there is");
        let serve = async { drop(peer.serve(None, answer).await) };
        let (answer, ()) = join(client.exchange(Reuse::Allowed, get("/")), serve).await;
        assert_eq!(answer.body, b"all there is");
    }
}

async fn a_response_streams<R: Runtime, T: Transport>(client: Client<R, T>, mut peer: Peer<R>) {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (sent, mut conn) = join(
        client.send(Reuse::Allowed, get("/")),
        peer.serve(None, head),
    )
    .await;
    let mut body = sent.expect("the head alone is an answer").into_body();
    for piece in ["one", "two", "three"] {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        let read = async {
            let mut seen = Vec::new();
            while seen.len() < piece.len() {
                let frame = next(&mut body).await.expect("more").expect("no error");
                seen.extend(frame.into_data().expect("data"));
            }
            seen
        };
        let (wrote, seen) = join(conn.write(chunk), read).await;
        wrote.expect("write");
        assert_eq!(
            seen,
            piece.as_bytes(),
            "a chunk arrives before the next is sent"
        );
    }
    let (wrote, rest) = join(conn.write("0\r\n\r\n"), collect(body)).await;
    wrote.expect("write");
    assert_eq!(rest.expect("a clean end").0, b"");
}

/// More than the sockets of any system hold.
const MUCH: usize = 24 << 20;

async fn a_slow_reader_slows_the_backend<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
    let (sent, mut conn) = join(
        client.send(Reuse::Allowed, get("/")),
        peer.serve(None, head),
    )
    .await;
    let mut body = sent.expect("an answer").into_body();
    let first = async {
        conn.write([7; 1000]).await.expect("write");
    };
    let (frame, ()) = join(next(&mut body), first).await;
    frame.expect("a frame").expect("no error");
    // From now on nobody reads.
    let timer = client.runtime.timer().clone();
    let block = vec![7; 64 * 1024];
    let mut written = 0;
    while written < MUCH {
        let deadline = timer.now() + SETTLE * 2;
        if timeout(&timer, deadline, conn.write(&block)).await.is_err() {
            break;
        }
        written += block.len();
    }
    assert!(
        written < MUCH,
        "a response MUST stream: nobody reads, and {written} bytes are held"
    );
    drop(body);
}

async fn a_request_body_is_taken_only_as_fast_as_it_can_be_written<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    const FRAME: usize = 16 * 1024;
    const HELD_MAX: usize = 64 * 1024 + FRAME;
    let taken = Arc::new(AtomicUsize::new(0));
    let body = Counted {
        taken: taken.clone(),
        frame: Bytes::from(vec![7; FRAME]),
        frames: MUCH / FRAME,
    };
    let sent = request(Method::POST, "/")
        .body(Body::stream(body))
        .expect("valid");
    let timer = client.runtime.timer().clone();
    let deadline = timer.now() + SETTLE * 4;
    let mut conn = peer
        .send_and_accept(client.send(Reuse::Allowed, sent), &timer, deadline)
        .await;
    let taken = taken.load(Ordering::SeqCst);
    assert!(
        taken < MUCH,
        "a request body MUST be polled only when it can be written"
    );
    // The attempt was dropped: what its sockets held arrives, the rest is what the transport held.
    if let Ok(arrived) = conn.read_to_end().await {
        assert!(
            taken.saturating_sub(arrived.len()) <= HELD_MAX,
            "at most 64 KiB of a body may be held: {taken} bytes taken, {} sent",
            arrived.len()
        );
    }
}

async fn nothing_is_reused_after_a_dropped_future<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let timer = client.runtime.timer().clone();
    let deadline = timer.now() + SETTLE * 4;
    let send = client.send(Reuse::Allowed, get("/dropped"));
    let mut old = peer.send_and_accept(send, &timer, deadline).await;
    let (head, _) = old
        .request()
        .await
        .expect("well-formed")
        .expect("a request");
    assert_eq!(head.start, "GET /dropped HTTP/1.1");
    let serve = async {
        // The late answer must reach nobody.
        let _ = old
            .write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold")
            .await;
        let conn = peer.fresh(&mut old, "a dropped future").await;
        peer.serve_on(conn, OK).await
    };
    let (answer, _conn) = join(client.exchange(Reuse::Allowed, get("/next")), serve).await;
    assert_eq!(answer.body, b"ok");
}

async fn nothing_is_reused_after_a_dropped_body<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    let (sent, mut old) = join(
        client.send(Reuse::Allowed, get("/")),
        peer.serve(None, half),
    )
    .await;
    drop(sent.expect("an answer").into_body());
    let serve = async {
        let _ = old.write("world").await;
        let conn = peer.fresh(&mut old, "a dropped body").await;
        peer.serve_on(conn, OK).await
    };
    let (answer, _conn) = join(client.exchange(Reuse::Allowed, get("/next")), serve).await;
    assert_eq!(answer.body, b"ok");
}

async fn nothing_is_reused_after_an_error<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let answers = [
        "garbage that is no HTTP at all\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\nx",
    ];
    for answer in answers {
        let (sent, mut old) = join(
            client.send(Reuse::Allowed, get("/")),
            peer.serve(None, answer),
        )
        .await;
        if let Ok(response) = sent {
            let collected = collect(response.into_body()).await;
            assert!(collected.is_err(), "{answer:?} is no answer");
        }
        let serve = async {
            let conn = peer.fresh(&mut old, "an error").await;
            peer.serve_on(conn, OK).await
        };
        let (answer, conn) = join(client.exchange(Reuse::Allowed, get("/next")), serve).await;
        assert_eq!(answer.body, b"ok");
        // The next round begins without a kept connection.
        drop(conn);
        sleep(&client.runtime, SETTLE).await;
    }
}

async fn nothing_is_reused_after_unread_bytes<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let surplus = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen";
    for late in [false, true] {
        let mut answer = OK.to_vec();
        if !late {
            answer.extend(surplus.as_bytes());
        }
        let exchange = client.exchange(Reuse::Allowed, get("/"));
        let (answer, mut old) = join(exchange, peer.serve(None, answer)).await;
        assert_eq!(answer.body, b"ok");
        if late {
            let _ = old.write(surplus).await;
        }
        sleep(&client.runtime, SETTLE).await;
        let serve = async {
            let conn = peer.fresh(&mut old, "unread bytes").await;
            peer.serve_on(conn, OK).await
        };
        let (answer, conn) = join(client.exchange(Reuse::Allowed, get("/next")), serve).await;
        assert_eq!(
            answer.body, b"ok",
            "one user's bytes MUST NOT reach the next"
        );
        drop(conn);
        sleep(&client.runtime, SETTLE).await;
    }
}

async fn nothing_is_reused_when_the_backend_says_close<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let answers = [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ];
    for answer in answers {
        let exchange = client.exchange(Reuse::Allowed, get("/"));
        let (_, mut old) = join(exchange, peer.serve(None, answer)).await;
        let serve = async {
            let conn = peer.fresh(&mut old, "the backend's close").await;
            peer.serve_on(conn, OK).await
        };
        let (answer, conn) = join(client.exchange(Reuse::Allowed, get("/next")), serve).await;
        assert_eq!(answer.body, b"ok");
        drop(conn);
        sleep(&client.runtime, SETTLE).await;
    }
}

async fn a_fresh_attempt_never_uses_a_kept_connection<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let exchange = client.exchange(Reuse::Allowed, get("/"));
    let (_, mut kept) = join(exchange, peer.serve(None, OK)).await;
    let serve = async {
        let conn = peer.fresh(&mut kept, "`Reuse::Fresh` was asked for").await;
        peer.serve_on(conn, OK).await
    };
    let (answer, _conn) = join(client.exchange(Reuse::Fresh, get("/probe")), serve).await;
    assert_eq!(answer.body, b"ok");
}

async fn a_stale_kept_connection_costs_no_request<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    for _ in 0..3 {
        let exchange = client.exchange(Reuse::Allowed, get("/"));
        let (_, kept) = join(exchange, peer.serve(None, OK)).await;
        drop(kept);
        // The end has arrived when the next request comes.
        sleep(&client.runtime, SETTLE).await;
        let sent = request(Method::POST, "/next").body(Body::from("content"));
        let send = client.send(Reuse::Allowed, sent.expect("valid"));
        let serve = async {
            let deadline = client.runtime.timer().now() + SETTLE * 4;
            let serve = timeout(client.runtime.timer(), deadline, peer.serve(None, OK));
            serve.await.ok()
        };
        let (sent, conn) = join(send, serve).await;
        match sent {
            Ok(response) => {
                assert_eq!(collect(response.into_body()).await.expect("whole").0, b"ok")
            }
            Err(error) => assert!(
                error.unsent.is_some(),
                "nothing was sent, so the request MUST come back: {error:?}"
            ),
        }
        drop(conn);
        sleep(&client.runtime, SETTLE).await;
    }
}

async fn redirects_cookies_and_codings_are_left_alone<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let answer = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nset-cookie: a=b\r\n\
                  content-encoding: gzip\r\ncontent-length: 7\r\n\r\nno gzip";
    let exchange = client.exchange(Reuse::Allowed, get("/"));
    let (answer, conn) = join(exchange, peer.serve(None, answer)).await;
    assert_eq!(
        answer.head.status,
        StatusCode::FOUND,
        "redirects MUST NOT be followed"
    );
    assert_eq!(answer.head.headers["location"], "/elsewhere");
    assert_eq!(answer.head.headers["set-cookie"], "a=b");
    assert_eq!(answer.head.headers["content-encoding"], "gzip");
    assert_eq!(answer.body, b"no gzip", "bodies MUST NOT be decompressed");
    let serve = async {
        let mut conn = peer.either(Some(conn)).await;
        let (head, _) = conn
            .request()
            .await
            .expect("well-formed")
            .expect("a request");
        assert_eq!(head.start, "GET /second HTTP/1.1");
        assert_eq!(head.all("cookie").count(), 0, "cookies MUST NOT be added");
        conn.write(OK).await.expect("write");
        conn
    };
    join(client.exchange(Reuse::Allowed, get("/second")), serve).await;
}

async fn a_check_tells_an_open_port_from_a_closed_one<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    let to = client.attempt(&client.backend, Reuse::Fresh);
    match client.transport.check(&to).await {
        Ok(()) => {
            // It opened a connection and closed it.
            let end = peer.accept().await.read_to_end().await;
            assert!(
                !end.is_ok_and(|bytes| !bytes.is_empty()),
                "a check sends nothing"
            );
        }
        Err(error) => {
            assert_eq!(
                error.cause,
                Cause::Unsupported,
                "somebody listens: {error:?}"
            );
            return;
        }
    }
    drop(peer);
    let error = client
        .transport
        .check(&to)
        .await
        .expect_err("nobody listens");
    assert_eq!((error.phase, error.cause), (Phase::Connect, Cause::Refused));
    let hole = Backend::new(Address::from(client.hole));
    let to = Attempt {
        connect_deadline: client.runtime.timer().now() + SETTLE,
        ..client.attempt(&hole, Reuse::Fresh)
    };
    let error = client
        .transport
        .check(&to)
        .await
        .expect_err("nobody answers");
    assert_eq!(
        (error.phase, error.cause),
        (Phase::Connect, Cause::TimedOut)
    );
}

async fn trailers_survive_both_ways<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    if !client.can().trailers {
        return;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("up"));
    let frames = vec![
        Frame::data(Bytes::from_static(b"data")),
        Frame::trailers(trailers),
    ];
    let sent = request(Method::POST, "/")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .body(Body::stream(WithTrailers(frames)))
        .expect("valid");
    let serve = async {
        let mut conn = peer.accept().await;
        let head = conn.head().await.expect("well-formed").expect("a request");
        let framing = head
            .framing(super::wire::Framing::Length(0))
            .expect("framing");
        let (body, trailers) = conn.body(framing).await.expect("a whole body");
        assert_eq!(body, b"data");
        assert_eq!(trailers, [("x-sum".to_owned(), b"up".to_vec())]);
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                      4\r\ndata\r\n0\r\nx-sum: down\r\n\r\n";
        conn.write(answer).await.expect("write");
        conn
    };
    let (answer, _conn) = join(client.exchange(Reuse::Allowed, sent), serve).await;
    assert_eq!(answer.body, b"data");
    assert_eq!(answer.trailers.expect("trailers")["x-sum"], "down");
}

async fn an_answer_may_come_before_the_request_has_ended<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    if !client.can().early_response {
        return;
    }
    let body = Counted {
        taken: Arc::default(),
        frame: Bytes::from_static(b"some"),
        frames: 1,
    };
    let sent = request(Method::POST, "/")
        .body(Body::stream(body))
        .expect("valid");
    let serve = async {
        let mut conn = peer.accept().await;
        conn.head().await.expect("well-formed").expect("a request");
        let answer = "HTTP/1.1 413 Too Much\r\ncontent-length: 2\r\n\r\nno";
        conn.write(answer).await.expect("write");
        conn
    };
    let (sent, mut old) = join(client.send(Reuse::Allowed, sent), serve).await;
    let response = sent.expect("an answer to half a request");
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let (body, _) = collect(response.into_body()).await.expect("a whole body");
    assert_eq!(body, b"no");
    let serve = async {
        // Only the rest of the chunked body may still come on the old one, and never does.
        while old.fill().await.is_ok_and(|count| count > 0) {}
        peer.serve(None, OK).await
    };
    let (answer, _conn) = join(client.exchange(Reuse::Allowed, get("/next")), serve).await;
    assert_eq!(answer.body, b"ok");
}

async fn odd_bytes_and_statuses_survive<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    if !client.can().opaque_bytes {
        return;
    }
    let odd = HeaderValue::from_bytes(b"caf\xe9").expect("obs-text is allowed");
    let sent = request(Method::GET, "/")
        .header("x-odd", odd)
        .body(Body::empty());
    let serve = async {
        let (mut conn, head, _) = peer.request().await;
        assert_eq!(head.one("x-odd").expect("one"), Some(&b"caf\xe9"[..]));
        let answer = b"HTTP/1.1 299 Odd\r\nx-odd: \xff\xfe\r\ncontent-length: 0\r\n\r\n";
        conn.write(answer).await.expect("write");
        conn
    };
    let (answer, _conn) = join(client.exchange(Reuse::Allowed, sent.expect("valid")), serve).await;
    assert_eq!(answer.head.status.as_u16(), 299);
    assert_eq!(answer.head.headers["x-odd"].as_bytes(), b"\xff\xfe");
}

async fn an_upgrade_yields_a_duplex_stream<R: Runtime, T: Transport>(
    client: Client<R, T>,
    mut peer: Peer<R>,
) {
    if !client.can().upgrades {
        return;
    }
    let sent = request(Method::GET, "/chat")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Body::empty())
        .expect("valid");
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                  upgrade: websocket\r\n\r\nearly";
    let (sent, mut conn) = join(client.send(Reuse::Allowed, sent), peer.serve(None, answer)).await;
    let response = sent.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let handle = response.extensions().get::<UpgradeHandle>().cloned();
    let handle = handle.expect("a 101 carries a handle");
    let tunnel = handle.take().expect("nobody was first");
    drop(response);
    let mut tunnel = tunnel.await.expect("a duplex stream");
    let mut early = [0; 5];
    tunnel.read_exact(&mut early).await.expect("read");
    assert_eq!(&early, b"early", "what came with the 101 is not lost");
    let up = async {
        tunnel.write_all(b"ping").await.expect("write");
        tunnel.flush().await.expect("flush");
        let mut pong = [0; 4];
        tunnel.read_exact(&mut pong).await.expect("read");
        assert_eq!(&pong, b"pong");
    };
    let down = async {
        assert_eq!(conn.read_exact(4).await.expect("read"), b"ping");
        conn.write("pong").await.expect("write");
        conn.shutdown().await.expect("shutdown");
    };
    join(up, down).await;
    let mut rest = Vec::new();
    tunnel
        .read_to_end(&mut rest)
        .await
        .expect("the end is seen");
    assert_eq!(rest, b"");
}
