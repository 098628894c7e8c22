//! The core with somebody's own HTTP client: no hyper, no async runtime, just blocking sockets of `std`.
//!
//! Implement [`Timer`] and [`Transport`], then drive the futures that [`Forwarder`] hands out with any executor. Here
//! three small servers run in threads, four requests are forwarded to them in turn, and the one whose turn meets a
//! dead server goes to the next without the client noticing.
//!
//! Run it with `cargo run -p lb-core --example own_client`.

// An embedder may open sockets, read clocks and start threads. The core around it may not.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::{Body as HttpBody, Frame};
use lb_core::backend::Backend;
use lb_core::body::Body;
use lb_core::config::settings::{
    DebugSettings, Health, Limits, LogSettings, PoolSettings, Settings, Workers,
};
use lb_core::error::{BodyCause, BodyError, Cause, Phase, TransportError};
use lb_core::event::Silent;
use lb_core::forward::{Downstream, Forwarder, Shared};
use lb_core::pool::SharedPool;
use lb_core::rng::Rng;
use lb_core::time::{Instant, Timer};
use lb_core::transport::{Attempt, Transport};

fn main() -> Result<(), Box<dyn Error>> {
    // Three servers, and one address where nobody listens.
    let mut addresses = Vec::new();
    for name in ["anna", "ben", "cleo"] {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        addresses.push(listener.local_addr()?);
        thread::spawn(move || serve(&listener, name));
    }
    addresses.push(TcpListener::bind("127.0.0.1:0")?.local_addr()?);

    let servers = addresses.into_iter().map(|at| Backend::new(at.into()));
    let settings = Settings {
        workers: Workers::Auto,
        listeners: Vec::new(),
        pool: PoolSettings {
            health: Health::Off,
            ..PoolSettings::new("app", servers.collect())
        },
        limits: Limits::default(),
        log: LogSettings::default(),
        debug: DebugSettings::default(),
    };
    let timer = StdTimer(std::time::Instant::now());
    let pool = SharedPool::new(&settings.pool, Rng::new(1), Arc::new(Silent), timer.now());
    let shared = Shared::new(&settings, pool, Arc::new(Silent));
    let forwarder = Forwarder::new(
        &settings,
        &shared,
        Blocking(timer.clone()),
        timer,
        Rng::new(2),
    );

    let client = Downstream::new(([192, 0, 2, 7], 40_000).into(), false);
    for number in 1..=4 {
        let request = Request::get("/who").header(header::HOST, "example.org");
        let forwarded = block_on(forwarder.forward(request.body(Body::empty())?, &client));
        let status = forwarded.response.status();
        let text = block_on(read(forwarded.response.into_body()))?;
        println!("request {number}: {status} from {}", text.trim_end());
    }
    Ok(())
}

/// A backend: answers every request with its name.
fn serve(listener: &TcpListener, name: &str) {
    for stream in listener.incoming().flatten() {
        let mut lines = BufReader::new(&stream).lines();
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let length = name.len() + 1;
        // A client that went away is no reason to stop serving.
        let _ = write!(
            &stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}\n"
        );
    }
}

/// Reads a body to its end.
async fn read(mut body: Body) -> Result<String, Box<dyn Error>> {
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            text.extend_from_slice(&data);
        }
    }
    Ok(String::from_utf8(text)?)
}

/// The clock of `std`, and threads that sleep.
#[derive(Clone)]
struct StdTimer(std::time::Instant);

impl Timer for StdTimer {
    type Sleep = StdSleep;

    fn now(&self) -> Instant {
        Instant::from_origin(self.0.elapsed())
    }

    fn sleep_until(&self, deadline: Instant) -> StdSleep {
        StdSleep(self.clone(), deadline)
    }
}

struct StdSleep(StdTimer, Instant);

impl Future for StdSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.1.saturating_since(self.0.now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        // A thread for each poll is fine for a client that blocks: its futures hardly ever wait.
        let waker = cx.waker().clone();
        thread::spawn(move || {
            thread::sleep(left);
            waker.wake();
        });
        Poll::Pending
    }
}

/// A small HTTP/1.1 client: one connection per request. Because it blocks, it belongs where nothing else shares the
/// thread. Bodies of responses have a `Content-Length` or end with the connection.
struct Blocking(StdTimer);

impl Transport for Blocking {
    async fn send(
        &self,
        to: &Attempt<'_>,
        request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        let stream = match self.connect(to) {
            Ok(stream) => stream,
            // Nothing was sent: with the request back, the forwarder can ask somebody else.
            Err(error) => {
                return Err(TransportError::undelivered(Phase::Connect, cause(&error))
                    .with_unsent(request)
                    .with_source(error));
            }
        };
        let failed = |phase| {
            move |error: std::io::Error| {
                TransportError::delivered(phase, cause(&error)).with_source(error)
            }
        };
        let (head, body) = request.into_parts();
        let mut text = format!(
            "{} {} HTTP/1.1\r\nConnection: close\r\n",
            head.method, head.uri
        )
        .into_bytes();
        for (name, value) in &head.headers {
            text.extend_from_slice(name.as_ref());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        (&stream)
            .write_all(&text)
            .map_err(failed(Phase::SendHead))?;
        let chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        upload(&stream, body, chunked).await?;
        receive(stream, &head.method).map_err(failed(Phase::ReceiveHead))
    }
}

impl Blocking {
    fn connect(&self, to: &Attempt<'_>) -> std::io::Result<TcpStream> {
        use std::io::ErrorKind::{NotFound, TimedOut};
        let address = to.backend.address.literal().ok_or(NotFound)?;
        let left = to.connect_deadline.saturating_since(self.0.now());
        if left.is_zero() {
            return Err(TimedOut.into());
        }
        let stream = TcpStream::connect_timeout(&address, left)?;
        // A client that blocks cannot be interrupted, so it must not wait for ever by itself.
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(stream)
    }
}

fn cause(error: &std::io::Error) -> Cause {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Cause::Refused,
        Kind::TimedOut | Kind::WouldBlock => Cause::TimedOut,
        Kind::InvalidData => Cause::Invalid,
        Kind::NotFound => Cause::NameNotFound,
        _ => Cause::Closed,
    }
}

async fn upload(
    mut stream: &TcpStream,
    mut body: Body,
    chunked: bool,
) -> Result<(), TransportError> {
    let failed = |cause| TransportError::delivered(Phase::SendBody, cause);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| failed(Cause::RequestBody).with_source(error))?;
        let Ok(data) = frame.into_data() else {
            continue; // Trailers: not promised in `capabilities`.
        };
        let (before, after) = if chunked {
            (format!("{:x}\r\n", data.len()), "\r\n")
        } else {
            (String::new(), "")
        };
        // A chunk of length zero would end the body.
        if !data.is_empty() {
            let parts = [before.as_bytes(), &data, after.as_bytes()].concat();
            stream
                .write_all(&parts)
                .map_err(|error| failed(cause(&error)))?;
        }
    }
    if chunked {
        stream
            .write_all(b"0\r\n\r\n")
            .map_err(|error| failed(cause(&error)))?;
    }
    Ok(())
}

fn receive(stream: TcpStream, method: &Method) -> std::io::Result<Response<Body>> {
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let mut reader = BufReader::new(stream);
    let mut line = head_line(&mut reader)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status: u16 = status.ok_or_else(invalid)?;
    let mut response = Response::builder().status(status);
    let mut left = None;
    loop {
        line = head_line(&mut reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(invalid)?;
        let name: HeaderName = name.parse().map_err(|_| invalid())?;
        let value: HeaderValue = value.trim().parse().map_err(|_| invalid())?;
        if name == header::TRANSFER_ENCODING {
            return Err(invalid()); // More than this client knows.
        }
        if name == header::CONTENT_LENGTH {
            left = Some(
                value
                    .to_str()
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(invalid)?,
            );
        }
        response = response.header(name, value);
    }
    // RFC 9112 §6.3: these have no body, whatever their fields say.
    if *method == Method::HEAD || matches!(status, 100..=199 | 204 | 304) {
        left = Some(0);
    }
    response
        .body(Body::stream(Download { reader, left }))
        .map_err(|_| invalid())
}

/// One line of a head, without its end; at most 8 KiB.
fn head_line(reader: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    reader.take(8192).read_line(&mut line)?;
    if line.ends_with('\n') {
        Ok(line.trim_end().to_owned())
    } else {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

/// The rest of the connection as a body.
struct Download {
    reader: BufReader<TcpStream>,
    /// Bytes that must still come; without a length the connection's end is the body's.
    left: Option<u64>,
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut buffer = vec![0; self.left.unwrap_or(16 * 1024).min(16 * 1024) as usize];
        Poll::Ready(match (self.reader.read(&mut buffer), self.left) {
            (Ok(0), None | Some(0)) => None,
            (Ok(0), Some(_)) => Some(Err(BodyCause::Closed.into())),
            (Ok(count), left) => {
                self.left = left.map(|left| left - count as u64);
                buffer.truncate(count);
                Some(Ok(Frame::data(buffer.into())))
            }
            (Err(error), _) => Some(Err(BodyError::from(BodyCause::Closed).with_source(error))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }
}
