//! What a connection promises, to a client that a test plays by hand.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite};
use http::{Request, Response};
use http_body::Frame;
use lb_core::backend::{Address, Backend};
use lb_core::body::Body;
use lb_core::config::settings::{
    DebugSettings, Limits, ListenAddress, LogSettings, PoolSettings, Settings, Workers,
};
use lb_core::error::{BodyError, TransportError};
use lb_core::event::Observer;
use lb_core::forward::{Forwarder, Shared};
use lb_core::pool::SharedPool;
use lb_core::rng::Rng;
use lb_core::time::Timer as _;
use lb_core::transport::{Attempt, Capabilities, Transport};

use super::connection::{Site, serve};
use super::drain::Drain;
use super::watch::Watch;
use crate::hand::HandTimer;
use crate::logging::{Log, SystemClock, Throttle};
use crate::rt::{BoxFuture, Listen, Net};

/// The client's side of a connection.
#[derive(Default)]
struct Wire {
    to_server: VecDeque<u8>,
    received: Vec<u8>,
    /// Bytes that the client takes; what is beyond waits.
    takes: usize,
    reader: Option<Waker>,
    reset: bool,
    dropped: bool,
}

/// The server's side of it.
struct End(Arc<Mutex<Wire>>);

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        if wire.to_server.is_empty() {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(wire.to_server.read(buf))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        let taken = buf.len().min(wire.takes - wire.received.len());
        if taken == 0 {
            return Poll::Pending;
        }
        wire.received.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().unwrap().dropped = true;
    }
}

impl Listen for End {
    type Stream = End;

    async fn accept(&mut self) -> io::Result<(End, SocketAddr)> {
        pending().await
    }
}

/// A network of which only the reset is needed.
#[derive(Clone)]
struct Nowhere;

impl Net for Nowhere {
    type Stream = End;
    type Bound = ();
    type Listener = End;

    async fn connect(&self, _: SocketAddr) -> io::Result<End> {
        pending().await
    }

    fn bind(&self, _: ListenAddress, _: usize) -> io::Result<Vec<()>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn local_addr((): &()) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn listen(&self, (): ()) -> io::Result<End> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        pending().await
    }

    fn reset(stream: &End) {
        stream.0.lock().unwrap().reset = true;
    }
}

/// A backend that answers with a body that ends where it ends.
struct Streams(Bytes);

impl Transport for Streams {
    async fn send(
        &self,
        _: &Attempt<'_>,
        _: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        Ok(Response::new(Body::stream(Once(Some(self.0.clone())))))
    }

    async fn check(&self, _: &Attempt<'_>) -> Result<(), TransportError> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::FULL
    }
}

/// One frame, and nobody knows beforehand that it is the only one.
struct Once(Option<Bytes>);

impl http_body::Body for Once {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }
}

/// One connection, and those who look after it.
struct World {
    wire: Arc<Mutex<Wire>>,
    watch: Arc<Watch>,
    connection: BoxFuture<'static, ()>,
}

impl World {
    /// A client that sends `request` and takes so many bytes of an answer with this body.
    fn new(request: &str, body: Bytes, takes: usize) -> Self {
        let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let server = Backend::new(Address::from(address));
        let settings = Settings {
            workers: Workers::Auto,
            listeners: Vec::new(),
            pool: PoolSettings::new("app", vec![server]),
            limits: Limits::default(),
            log: LogSettings::default(),
            debug: DebugSettings::default(),
        };
        let (log, _) = Log::new(settings.log, false, SystemClock, Rng::new(1));
        let observer: Arc<dyn Observer> = Arc::new(log.clone());
        let (timer, rng) = (HandTimer::default(), Rng::new(2));
        let pool = SharedPool::new(&settings.pool, rng.split(), observer.clone(), timer.now());
        let shared = Shared::new(&settings, pool, observer);
        let site = Arc::new(Site {
            forwarder: Forwarder::new(&settings, &shared, Streams(body), timer.clone(), rng),
            timer: timer.clone(),
            limits: crate::http1::Limits {
                bytes: 8192,
                fields: 100,
            },
            date: false,
            drain: Arc::new(Drain::new()),
            log,
            malformed: Throttle::default(),
        });
        let wire = Arc::new(Mutex::new(Wire {
            to_server: request.bytes().collect(),
            takes,
            ..Wire::default()
        }));
        let watch = Arc::new(Watch::default());
        let guard = watch.add(timer.now());
        let end = End(wire.clone());
        Self {
            connection: Box::pin(serve::<Nowhere, _, _>(site, end, address, guard, false)),
            watch,
            wire,
        }
    }

    /// Lets the connection do what it can; has it ended?
    fn step(&mut self) -> bool {
        for _ in 0..100 {
            let mut context = Context::from_waker(Waker::noop());
            if self.connection.as_mut().poll(&mut context).is_ready() {
                return true;
            }
        }
        false
    }
}

const OLD: &str = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";

#[test]
fn an_answer_that_ends_with_its_connection_ends_in_order_when_it_is_whole() {
    let mut world = World::new(OLD, vec![b'x'; 10_000].into(), usize::MAX);
    assert!(world.step());
    let wire = world.wire.lock().unwrap();
    assert!(wire.received.ends_with(&[b'x'; 10_000]));
    assert!(wire.dropped && !wire.reset);
}

#[test]
fn an_answer_whose_end_is_still_buffered_when_the_connection_is_cut_does_not_look_complete() {
    // The backend's part is over: what is missing waits in our buffer for a client that takes no more.
    let mut world = World::new(OLD, vec![b'x'; 10_000].into(), 1_000);
    assert!(!world.step());
    assert_eq!(world.watch.cut_all(), 1);
    assert!(world.step());
    let wire = world.wire.lock().unwrap();
    assert!(wire.dropped && wire.reset);
}

#[test]
fn an_http_10_client_is_not_promised_another_answer_behind_one_that_ends_with_its_connection() {
    let kept = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let mut world = World::new(kept, "x".into(), usize::MAX);
    assert!(world.step());
    let wire = world.wire.lock().unwrap();
    let received = String::from_utf8_lossy(&wire.received).to_lowercase();
    assert!(received.contains("connection: close\r\n"), "{received}");
    assert!(!received.contains("keep-alive"), "{received}");
    assert!(wire.dropped && !wire.reset);
}
