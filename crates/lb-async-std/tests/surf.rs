//! One table of probes through the engine's client and through surf: both must see the same.

#![cfg(feature = "surf")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Version};
use http_body::Body as _;
use lb_async_std::{AsyncStd, AsyncStdTimer, SurfTransport};
use lb_core::backend::{Address, Backend};
use lb_core::body::Body;
use lb_core::error::{BodyCause, Cause, Delivered, Phase};
use lb_core::time::Timer;
use lb_core::transport::{Attempt, Reuse, Transport};
use lb_engine::rt::Runtime;
use socket2::{Domain, Socket, Type};

/// All that a caller can tell about an exchange.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answer {
        status: u16,
        version: Version,
        headers: HeaderMap,
        body: Result<Vec<u8>, BodyCause>,
    },
    Failure {
        phase: Phase,
        cause: Cause,
        delivered: Delivered,
        unsent: Option<Vec<u8>>,
    },
}

/// A backend that answers every connection with the same bytes and hands over the heads it was sent.
fn backend(answer: Vec<u8>) -> (Backend, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, received) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            if heads.send(head).is_err() {
                return;
            }
            // Fails when the other side has read enough.
            let _ = stream.write_all(&answer);
        }
    });
    (Backend::new(Address::from(address)), received)
}

/// A backend whose port is taken and on which nobody listens.
fn refusing() -> (Backend, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (Backend::new(Address::from(address)), socket)
}

async fn read(mut body: Body) -> Result<Vec<u8>, BodyCause> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| error.cause)?;
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    Ok(bytes)
}

async fn outcome<T: Transport>(
    transport: &T,
    timer: &AsyncStdTimer,
    backend: &Backend,
    request: Request<Body>,
) -> Outcome {
    let attempt = Attempt {
        backend,
        connect_deadline: timer.now() + Duration::from_secs(10),
        reuse: Reuse::Fresh,
    };
    match transport.send(&attempt, request).await {
        Ok(response) => {
            let (head, body) = response.into_parts();
            Outcome::Answer {
                status: head.status.as_u16(),
                version: head.version,
                headers: head.headers,
                body: read(body).await,
            }
        }
        Err(error) => Outcome::Failure {
            phase: error.phase,
            cause: error.cause,
            delivered: error.delivered,
            unsent: match error.unsent {
                Some(unsent) => Some(read(unsent.into_body()).await.unwrap()),
                None => None,
            },
        },
    }
}

fn request(method: &str, path: &str, body: &'static str) -> Request<Body> {
    Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path)
        .header("host", "probe.example")
        .header("x-odd", b"\xff".as_slice())
        .header("x-twice", "1")
        .header("a-first", "2")
        .header("x-twice", "3")
        .body(body.into())
        .unwrap()
}

/// The outcomes through the engine and through surf.
fn both(backend: &Backend, make: impl Fn() -> Request<Body>) -> (Outcome, Outcome) {
    let runtime = AsyncStd::new();
    let timer = runtime.timer().clone();
    let both = async {
        let engine = lb_async_std::transport(timer.clone());
        let surf = SurfTransport::new(engine.clone());
        (
            outcome(&engine, &timer, backend, make()).await,
            outcome(&surf, &timer, backend, make()).await,
        )
    };
    runtime.block_on(both).unwrap()
}

#[test]
fn a_probe_sees_the_same_through_the_engine_and_through_surf() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let mut answers: Vec<Vec<u8>> = [
        ok,
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx: 1\r\nx: 2\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: a\r\n\r\n",
        "",
    ]
    .map(|answer| answer.as_bytes().to_vec())
    .into();
    for status in [
        204, 226, 299, 302, 304, 399, 404, 418, 499, 503, 599, 600, 799, 999,
    ] {
        answers.push(format!("HTTP/1.1 {status} Any\r\ncontent-length: 0\r\n\r\n").into());
    }
    answers.push(b"HTTP/1.1 200 OK\r\nx-bytes: \xff\xfe\r\ncontent-length: 0\r\n\r\n".to_vec());
    answers.push("HTTP/1.1 200 OK\r\nx-utf8: \u{e9}\r\ncontent-length: 0\r\n\r\n".into());

    let mut rows = Vec::new();
    for answer in &answers {
        rows.push(("GET", "/", "", answer.clone()));
    }
    let paths = [
        "/a/../b/./c",
        "/%2e%2E/%zz",
        "//double//",
        "/(a)|b~",
        "/{\"a\"}",
        "/?a=1&&b='{}|`",
        "/caf\u{e9}",
        "/a;b,c?d?e",
    ];
    for path in paths {
        rows.push(("GET", path, "", ok.into()));
    }
    for (method, body) in [
        ("HEAD", ""),
        ("OPTIONS", ""),
        ("POST", "body"),
        ("PURGE", ""),
        ("get", ""),
    ] {
        rows.push((method, "/", body, ok.into()));
    }

    for (method, path, body, answer) in rows {
        let (backend, received) = backend(answer.clone());
        let (engine, surf) = both(&backend, || request(method, path, body));
        let row = format!("{method} {path} {:?}", String::from_utf8_lossy(&answer));
        assert_eq!(engine, surf, "{row}");
        let heads = [received.recv().unwrap(), received.recv().unwrap()];
        assert_eq!(heads[0], heads[1], "{row}");
        let line = format!("{method} {path} HTTP/1.1\r\n");
        assert!(heads[0].starts_with(line.as_bytes()), "{row}");
    }
}

#[test]
fn a_refused_probe_gives_the_request_back_through_both() {
    let (backend, _socket) = refusing();
    let (engine, surf) = both(&backend, || request("POST", "/", "body"));
    let refused = Outcome::Failure {
        phase: Phase::Connect,
        cause: Cause::Refused,
        delivered: Delivered::No,
        unsent: Some(b"body".to_vec()),
    };
    assert_eq!(engine, refused);
    assert_eq!(surf, refused);
}

#[test]
fn surf_refuses_what_it_cannot_carry_before_a_byte_is_sent() {
    let (backend, received) = backend(Vec::new());
    let runtime = AsyncStd::new();
    let timer = runtime.timer().clone();
    let surf = SurfTransport::new(lb_async_std::transport(timer.clone()));
    assert!(!surf.capabilities().upgrades);
    let mut request = request("GET", "/", "");
    let websocket = "websocket".parse().unwrap();
    request.headers_mut().insert("upgrade", websocket);
    let outcome = runtime
        .block_on(outcome(&surf, &timer, &backend, request))
        .unwrap();
    assert_eq!(
        outcome,
        Outcome::Failure {
            phase: Phase::SendHead,
            cause: Cause::Unsupported,
            delivered: Delivered::No,
            unsent: Some(Vec::new()),
        }
    );
    assert!(received.try_recv().is_err());
}

#[test]
fn a_large_body_streams_through_surf_in_both_directions() {
    const SIZE: usize = 1 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = Backend::new(Address::from(listener.local_addr().unwrap()));
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.ends_with(b"0\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..count]);
        }
        let sent = seen.iter().filter(|byte| **byte == b'#').count();
        let head = format!("HTTP/1.1 200 OK\r\nx-seen: {sent}\r\ncontent-length: {SIZE}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; SIZE]).unwrap();
    });
    let runtime = AsyncStd::new();
    let timer = runtime.timer().clone();
    let surf = SurfTransport::new(lb_async_std::transport(timer.clone()));
    let mut request = request("POST", "/", "");
    *request.body_mut() = Body::stream(Blocks(16));
    let outcome = runtime.block_on(outcome(&surf, &timer, &backend, request));
    let Outcome::Answer { headers, body, .. } = outcome.unwrap() else {
        panic!("no answer");
    };
    assert_eq!(headers["x-seen"], (16 * 65_536).to_string());
    assert_eq!(body.unwrap().len(), SIZE);
}

/// So many blocks of 64 KiB, and nobody knows beforehand.
struct Blocks(u32);

impl http_body::Body for Blocks {
    type Data = bytes::Bytes;
    type Error = lb_core::error::BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.checked_sub(1).map(|left| {
            self.0 = left;
            Ok(http_body::Frame::data(vec![b'#'; 65_536].into()))
        }))
    }
}
