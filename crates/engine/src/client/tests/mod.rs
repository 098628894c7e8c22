//! What the client promises, against servers that keep to a script of bytes.

mod answers;
mod connections;
mod names;
mod script;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use http::{Request, Response};
use http_body::Body as _;
use lb_core::backend::{Address, Backend};
use lb_core::body::Body;
use lb_core::error::{BodyError, TransportError};
use lb_core::rng::Rng;
use lb_core::time::Timer;
use lb_core::transport::{Attempt, Reuse, Transport};

use self::script::{Connection, ScriptNet};
use super::{Client, ClientSettings};
use crate::hand::HandTimer;
use crate::names::Names;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A client on a network that keeps to a script, and a backend for it.
struct World {
    net: ScriptNet,
    timer: HandTimer,
    client: Client<ScriptNet, HandTimer>,
    backend: Backend,
}

impl World {
    fn new(connections: impl IntoIterator<Item = Connection>) -> Self {
        Self::with(connections, ClientSettings::default())
    }

    fn with(connections: impl IntoIterator<Item = Connection>, settings: ClientSettings) -> Self {
        let net = ScriptNet::new(connections);
        let timer = HandTimer::default();
        let names = Arc::new(Names::default());
        let address: std::net::SocketAddr = "192.0.2.1:80".parse().unwrap();
        Self {
            client: Client::new(net.clone(), timer.clone(), names, settings, Rng::new(1)),
            net,
            timer,
            backend: Backend::new(Address::from(address)),
        }
    }

    fn attempt(&self, reuse: Reuse) -> Attempt<'_> {
        Attempt {
            backend: &self.backend,
            connect_deadline: self.timer.now() + Duration::from_secs(2),
            reuse,
        }
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        self.client
            .send(&self.attempt(Reuse::Allowed), request)
            .await
    }

    /// Sends, and reads the answer to its end.
    async fn fetch(&self, request: Request<Body>) -> Response<Result<Bytes, BodyError>> {
        let (head, body) = self.send(request).await.unwrap().into_parts();
        Response::from_parts(head, read(body).await)
    }

    /// Lets time pass, and the idle connections be looked at.
    async fn pass(&self, seconds: u64) {
        let mut sweep = pin!(self.client.sweep());
        poll_fn(|cx| {
            assert!(sweep.as_mut().poll(cx).is_pending());
            self.timer.advance(Duration::from_secs(seconds));
            assert!(sweep.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    /// Sends a GET that must fail.
    fn failure(&self) -> TransportError {
        block_on(self.send(get("/"))).unwrap_err()
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "test")
        .body(Body::empty())
        .unwrap()
}

fn post(body: Body) -> Request<Body> {
    Request::post("/")
        .header("host", "test")
        .body(body)
        .unwrap()
}

async fn read(mut body: Body) -> Result<Bytes, BodyError> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.into())
}

/// Lets everybody else have a turn.
async fn turn() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A request body whose frames a test hands over one by one.
struct Frames(futures::channel::mpsc::UnboundedReceiver<Result<Bytes, BodyError>>);

type Feed = futures::channel::mpsc::UnboundedSender<Result<Bytes, BodyError>>;

fn frames() -> (Feed, Body) {
    let (feed, frames) = futures::channel::mpsc::unbounded();
    (feed, Body::stream(Frames(frames)))
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        use futures::Stream;
        Pin::new(&mut self.0)
            .poll_next(cx)
            .map(|frame| frame.map(|frame| frame.map(http_body::Frame::data)))
    }
}
