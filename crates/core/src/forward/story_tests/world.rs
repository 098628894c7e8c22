//! Three scripted backends behind a real pool and forwarder.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;

use super::super::testing::{Clock, poll_once, read, run};
use crate::backend::{Address, Backend};
use crate::body::Body;
use crate::config::settings::{
    DebugSettings, Health, Limits, LogSettings, PoolSettings, Settings, Workers,
};
use crate::error::{Cause, Phase, TransportError};
use crate::event::{Exchange, Observer};
use crate::forward::{Downstream, Forwarded, Forwarder, Shared};
use crate::health::monitor;
use crate::pool::{Counters, SharedPool};
use crate::rng::Rng;
use crate::time::{Instant, Timer};
use crate::transport::{Attempt, Capabilities, Transport};

/// What a backend does with one request.
pub(super) enum Act {
    /// Nobody listens.
    Refuse,
    /// No answer to the connect.
    ConnectTimeout,
    /// Nothing was sent; the request comes back.
    GiveBack(Phase, Cause),
    /// Reads so many frames of the body and resets.
    Reset(usize),
    /// Reads the whole body and answers.
    Answer(Response<Body>),
    /// Answers and drops the body after its first frame.
    Early(Response<Body>),
    /// Answers at once, and sends back whatever the client sends.
    Echo,
    /// Takes the request and does nothing.
    Hang,
    /// Meets a bug of ours.
    Panic,
    /// Waits so long and then does this, or answers its name.
    After(Duration, Option<Box<Act>>),
    /// Takes so long before each look at the body, and never answers.
    ReadThenHang(Duration),
}

/// A request as a backend saw it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) uri: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

struct Backends {
    clock: Clock,
    acts: Mutex<BTreeMap<u16, VecDeque<Act>>>,
    seen: Mutex<Vec<Seen>>,
    cancelled: AtomicUsize,
    delivered: AtomicUsize,
}

#[derive(Clone)]
struct Wire(Arc<Backends>);

/// Counts a send that was dropped before it was over.
struct Guard<'a>(&'a AtomicUsize, bool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Transport for Wire {
    async fn send(
        &self,
        to: &Attempt<'_>,
        request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        let mut guard = Guard(&self.0.cancelled, false);
        let result = self.act(to, request).await;
        guard.1 = true;
        result
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::FULL
    }
}

impl Wire {
    async fn act(
        &self,
        to: &Attempt<'_>,
        request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        let act = self
            .0
            .acts
            .lock()
            .unwrap()
            .get_mut(&to.backend.address.port)
            .and_then(VecDeque::pop_front);
        let (head, mut body) = request.into_parts();
        let index = {
            let mut seen = self.0.seen.lock().unwrap();
            seen.push(Seen {
                uri: head.uri.to_string(),
                headers: head.headers.clone(),
                ..Seen::default()
            });
            seen.len() - 1
        };
        let unsent = |phase, cause, body| {
            let request = Request::from_parts(head.clone(), body);
            Err(TransportError::undelivered(phase, cause).with_unsent(request))
        };
        if !matches!(
            act,
            Some(Act::Refuse | Act::ConnectTimeout | Act::GiveBack(..))
        ) {
            self.0.delivered.fetch_add(1, Ordering::SeqCst);
        }
        let act = match act {
            Some(Act::After(time, then)) => {
                let clock = &self.0.clock;
                clock.sleep_until(clock.now() + time).await;
                then.map(|then| *then)
            }
            act => act,
        };
        match act {
            // Nobody waits twice.
            Some(Act::After(..)) => pending().await,
            Some(Act::Refuse) => unsent(Phase::Connect, Cause::Refused, body),
            Some(Act::ConnectTimeout) => {
                self.0.clock.sleep_until(to.connect_deadline).await;
                unsent(Phase::Connect, Cause::TimedOut, body)
            }
            Some(Act::GiveBack(phase, cause)) => unsent(phase, cause, body),
            Some(Act::Reset(frames)) => {
                self.take(index, &mut body, frames, Duration::ZERO).await?;
                Err(TransportError::delivered(Phase::ReceiveHead, Cause::Closed))
            }
            Some(Act::Answer(response)) => {
                self.take(index, &mut body, usize::MAX, Duration::ZERO)
                    .await?;
                Ok(response)
            }
            Some(Act::Early(response)) => {
                self.take(index, &mut body, 1, Duration::ZERO).await?;
                Ok(response)
            }
            Some(Act::Echo) => Ok(response(200, body)),
            Some(Act::Hang) => {
                let _held = body;
                pending().await
            }
            Some(Act::Panic) => panic!("a bug"),
            Some(Act::ReadThenHang(pause)) => {
                self.take(index, &mut body, usize::MAX, pause).await?;
                pending().await
            }
            None => {
                self.take(index, &mut body, usize::MAX, Duration::ZERO)
                    .await?;
                Ok(response(200, Body::from(to.backend.name.to_string())))
            }
        }
    }

    /// Reads frames of the request body, pausing before each.
    async fn take(
        &self,
        index: usize,
        body: &mut Body,
        frames: usize,
        pause: Duration,
    ) -> Result<(), TransportError> {
        for _ in 0..frames {
            let clock = &self.0.clock;
            clock.sleep_until(clock.now() + pause).await;
            let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
            let mut seen = self.0.seen.lock().unwrap();
            let seen = &mut seen[index];
            match frame {
                None => return Ok(()),
                Some(Err(error)) => {
                    let failed = TransportError::delivered(Phase::SendBody, Cause::RequestBody);
                    return Err(failed.with_source(error));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => seen.body.extend_from_slice(&data),
                    Err(frame) => seen.trailers = frame.into_trailers().ok(),
                },
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Log {
    deaf: bool,
    exchanges: Mutex<Vec<Exchange>>,
}

impl Observer for Log {
    fn wants_exchanges(&self) -> bool {
        !self.deaf
    }

    fn exchange(&self, exchange: &Exchange) {
        self.exchanges.lock().unwrap().push(exchange.clone());
    }
}

pub(super) struct World {
    pub(super) clock: Clock,
    wire: Wire,
    pub(super) pool: Arc<SharedPool>,
    log: Arc<Log>,
    shared: Arc<Shared>,
    forwarder: Forwarder<Wire, Clock>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(change, false)
    }

    pub(super) fn silent() -> Self {
        Self::build(|_| {}, true)
    }

    fn build(change: impl FnOnce(&mut Settings), deaf: bool) -> Self {
        let servers = (1..=3).map(|port| Backend {
            name: format!("b{port}").into(),
            ..Backend::new(Address {
                host: "127.0.0.1".into(),
                port,
            })
        });
        let mut settings = Settings {
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
        change(&mut settings);
        let clock = Clock::new();
        let wire = Wire(Arc::new(Backends {
            clock: clock.clone(),
            acts: Mutex::default(),
            seen: Mutex::default(),
            cancelled: AtomicUsize::new(0),
            delivered: AtomicUsize::new(0),
        }));
        let log = Arc::new(Log {
            deaf,
            ..Log::default()
        });
        let observer: Arc<dyn Observer> = Arc::clone(&log) as _;
        let pool = SharedPool::new(
            &settings.pool,
            Rng::new(1),
            Arc::clone(&observer),
            clock.now(),
        );
        let shared = Shared::new(&settings, Arc::clone(&pool), observer);
        let forwarder =
            Forwarder::new(&settings, &shared, wire.clone(), clock.clone(), Rng::new(2));
        Self {
            clock,
            wire,
            pool,
            log,
            shared,
            forwarder,
        }
    }

    /// What the backend at `port` does with its next request that has no script yet; without one it answers its name.
    pub(super) fn script(&self, port: u16, act: Act) {
        let mut acts = self.wire.0.acts.lock().unwrap();
        acts.entry(port).or_default().push_back(act);
    }

    /// Forgets the script of the backend at `port`.
    pub(super) fn clear(&self, port: u16) {
        self.wire.0.acts.lock().unwrap().remove(&port);
    }

    /// How many attempts of requests a backend may have acted upon.
    pub(super) fn delivered(&self) -> usize {
        self.wire.0.delivered.load(Ordering::SeqCst)
    }

    pub(super) fn forward(&self, request: Request<Body>) -> Forwarded {
        run(&self.clock, self.forwarding(request))
    }

    pub(super) fn forwarding(&self, request: Request<Body>) -> impl Future<Output = Forwarded> {
        let client = client();
        async move { self.forwarder.forward(request, &client).await }
    }

    /// On a connection that is one too many.
    pub(super) fn turn_away(&self, request: Request<Body>) -> Forwarded {
        let client = client().too_many();
        run(&self.clock, self.forwarder.forward(request, &client))
    }

    /// From now on the process cuts what still runs.
    pub(super) fn cut(&self) {
        self.shared.cut();
    }

    /// Polls once, finds nothing yet, and drops the future.
    pub(super) fn abort_while_waiting(&self, request: Request<Body>) {
        let client = client();
        let mut forward = pin!(self.forwarder.forward(request, &client));
        assert!(poll_once(forward.as_mut()).is_pending());
    }

    /// Polls once, and drops what came of it.
    pub(super) fn abort_at_the_first_wait(&self, request: Request<Body>) {
        let client = client();
        let mut forward = pin!(self.forwarder.forward(request, &client));
        let _ = poll_once(forward.as_mut());
    }

    /// The answer's text.
    pub(super) fn text(&self, request: Request<Body>) -> String {
        let mut reply = self.forward(request).response;
        let text = run(&self.clock, read(reply.body_mut())).unwrap();
        String::from_utf8(text).unwrap()
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.wire.0.seen.lock().unwrap().clone()
    }

    pub(super) fn cancelled(&self) -> usize {
        self.wire.0.cancelled.load(Ordering::SeqCst)
    }

    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        self.log.exchanges.lock().unwrap().clone()
    }

    pub(super) fn exchange_count(&self) -> usize {
        self.log.exchanges.lock().unwrap().len()
    }

    /// Requests that wait for a place.
    pub(super) fn queued(&self) -> usize {
        self.pool.queued()
    }

    /// Takes one retry from the budget, if there is any.
    pub(super) fn spend_a_retry(&self) -> bool {
        self.shared.budget.withdraw(self.now())
    }

    /// Hedges begun and won so far.
    pub(super) fn hedges(&self) -> (u64, u64) {
        let counts = self.shared.hedges();
        (counts.started, counts.won)
    }

    /// Lets the monitor do what is due.
    pub(super) fn tend(&self) {
        let mut monitor = pin!(monitor(&self.pool, &self.wire, &self.clock));
        let _ = poll_once(monitor.as_mut());
    }

    /// The last record.
    pub(super) fn exchange(&self) -> Exchange {
        let exchanges = self.log.exchanges.lock().unwrap();
        exchanges.last().expect("an exchange was recorded").clone()
    }

    /// What the pool knows of all members together: picks, and the ends of attempts.
    pub(super) fn picks_and_ends(&self) -> (u64, u64) {
        self.pool
            .view()
            .iter()
            .fold((0, 0), |(picks, ends), member| {
                let c = member.counters;
                let ended = c.answered + c.connect_failed + c.failed + c.abandoned;
                (picks + c.picks, ends + ended)
            })
    }

    pub(super) fn counters(&self, port: usize) -> Counters {
        self.pool.view()[port - 1].counters
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.pool.view().iter().map(|member| member.in_flight).sum()
    }

    /// Attempts that have not seen a first byte.
    pub(super) fn waiting(&self) -> u32 {
        self.pool.view().iter().map(|member| member.waiting).sum()
    }

    /// Nothing is left over: every lease has ended.
    pub(super) fn check_idle(&self) {
        assert_eq!(self.in_flight(), 0);
    }
}

fn client() -> Downstream {
    Downstream::new("192.0.2.7:1234".parse().unwrap(), false)
}

pub(super) fn at(seconds: u64) -> Instant {
    Instant::from_origin(Duration::from_secs(seconds))
}

pub(super) fn request(method: Method, target: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(target);
    request.header("host", "site").body(body).unwrap()
}

pub(super) fn get(target: &str) -> Request<Body> {
    request(Method::GET, target, Body::empty())
}

pub(super) fn post(body: Body) -> Request<Body> {
    request(Method::POST, "/", body)
}

pub(super) fn put(body: Body) -> Request<Body> {
    request(Method::PUT, "/", body)
}

pub(super) fn response(status: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
