//! What forwarding allocates for bodies: two boxes for a streamed answer (the transport's and the lease's), nothing per
//! frame, and nothing for a body that is not there.

use std::future::{Pending, pending};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Method, Request, Response};
use http_body::{Body as HttpBody, Frame};
use lb_core::backend::{Address, Backend};
use lb_core::body::Body;
use lb_core::config::settings::{
    DebugSettings, Health, Limits, LogSettings, PoolSettings, Settings, Workers,
};
use lb_core::error::{BodyError, TransportError};
use lb_core::event::{Observer, Silent};
use lb_core::forward::{Downstream, Forwarder, Shared};
use lb_core::pool::SharedPool;
use lb_core::rng::Rng;
use lb_core::time::{Instant, Timer};
use lb_core::transport::{Attempt, Transport};

/// Time that stands still.
#[derive(Clone)]
struct Still;

impl Timer for Still {
    type Sleep = Pending<()>;

    fn now(&self) -> Instant {
        Instant::ORIGIN
    }

    fn sleep_until(&self, _: Instant) -> Pending<()> {
        pending()
    }
}

/// A body of so many frames, with a wait before each.
struct Frames {
    left: usize,
    waited: bool,
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.waited = !self.waited;
        if self.waited {
            return Poll::Pending;
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

/// Answers with so many frames; with no body at all when there are none.
struct Answers(usize);

impl Transport for Answers {
    async fn send(
        &self,
        _: &Attempt<'_>,
        request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        drop(request);
        Ok(Response::new(match self.0 {
            0 => Body::empty(),
            left => Body::stream(Frames {
                left,
                waited: false,
            }),
        }))
    }
}

struct Listener;

impl Observer for Listener {}

fn forwarder(frames: usize, observer: Arc<dyn Observer>) -> Forwarder<Answers, Still> {
    forwarder_with(frames, observer, DebugSettings::default())
}

fn forwarder_with(
    frames: usize,
    observer: Arc<dyn Observer>,
    debug: DebugSettings,
) -> Forwarder<Answers, Still> {
    let backend = Backend::new(Address {
        host: "192.0.2.1".into(),
        port: 1,
    });
    let settings = Settings {
        workers: Workers::Auto,
        listeners: Vec::new(),
        pool: PoolSettings {
            health: Health::Off,
            ..PoolSettings::new("app", vec![backend])
        },
        limits: Limits::default(),
        log: LogSettings::default(),
        debug,
    };
    let pool = SharedPool::new(
        &settings.pool,
        Rng::new(1),
        Arc::clone(&observer),
        Instant::ORIGIN,
    );
    let shared = Shared::new(&settings, pool, observer);
    Forwarder::new(&settings, &shared, Answers(frames), Still, Rng::new(2))
}

/// How many allocations one request takes, down to the last frame of its answer.
fn allocations(forwarder: &Forwarder<Answers, Still>, method: &Method) -> u64 {
    let from = Downstream::new(([192, 0, 2, 7], 1).into(), false);
    let once = || {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.clone();
        *request.headers_mut() = HeaderMap::with_capacity(32);
        let host = http::HeaderValue::from_static("site");
        request.headers_mut().insert(http::header::HOST, host);
        let forwarded = forwarder.forward(request, &from).now_or_never();
        let mut body = forwarded.expect("nothing waits").response.into_body();
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(None) => break,
                polled => drop(black_box(polled)),
            }
        }
    };
    once();
    measure(once).count_total
}

#[test]
fn a_streamed_answer_costs_two_boxes_and_no_frame_costs_any() {
    for observer in [Arc::new(Silent) as Arc<dyn Observer>, Arc::new(Listener)] {
        let count = |frames| {
            let forwarder = forwarder(frames, Arc::clone(&observer));
            allocations(&forwarder, &Method::GET)
        };
        let empty = count(0);
        assert_eq!(count(1), empty + 2);
        assert_eq!(count(1000), empty + 2);
    }
}

#[test]
fn a_record_is_one_allocation_and_one_that_nobody_wants_none() {
    let deaf = allocations(&forwarder(0, Arc::new(Silent)), &Method::GET);
    let heard = allocations(&forwarder(0, Arc::new(Listener)), &Method::GET);
    assert_eq!(heard, deaf + 1);
}

#[test]
fn a_decision_that_nobody_asks_for_is_no_allocation() {
    let plain = allocations(&forwarder(0, Arc::new(Listener)), &Method::GET);
    let debug = DebugSettings {
        decision_header: Some(http::HeaderName::from_static("x-lb-decision")),
        ..DebugSettings::default()
    };
    let ready = forwarder_with(0, Arc::new(Listener), debug);
    assert_eq!(allocations(&ready, &Method::GET), plain);
}

#[test]
fn a_request_without_a_body_has_no_replay_and_one_that_cannot_be_repeated_no_copy() {
    let forwarder = forwarder(0, Arc::new(Silent));
    let post = allocations(&forwarder, &Method::POST);
    let get = allocations(&forwarder, &Method::GET);
    // The copy of a head: a table and its entries.
    assert_eq!(get, post + 2);
}
