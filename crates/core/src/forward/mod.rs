//! One request's story: from a head that arrived to the last byte of its answer.
//!
//! [`Forwarder::forward`] is the driver. It asks the rules beside it: `headers` what to send, `deadline` how long
//! to wait, `retry` and `budget` whether to try another member. It opens nothing and knows no codec: the
//! [`Transport`] carries, the [`Timer`] tells the time. `examples/own_client.rs` is the whole of it in use.

mod attempt;
mod body;
mod budget;
mod deadline;
mod downstream;
mod errand;
mod explain;
mod headers;
mod hedge;
mod key;
mod local_reply;
mod record;
mod replay;
mod retry;
mod shared;
mod sticky;
mod trail;
mod tunnel;
mod upload;
mod wait;

#[cfg(test)]
mod story_tests;
#[cfg(test)]
mod testing;

use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;

use self::attempt::Failure;
use self::body::Answer;
use self::deadline::Patience;
use self::errand::Errand;
use self::headers::{Context, RequestRules, Shape};
use self::hedge::Sent;
use self::record::{Ending, Record};
use self::retry::{Failed, Next};
use self::sticky::StickyCookie;
use self::trail::Trail;
use self::upload::Progress;
use crate::body::Body;
use crate::config::settings::{HashKey, HedgeAfter, Settings};
use crate::decision::{AttemptEnd, Decision, Obstacle};
use crate::error::{Cause, Reason};
use crate::picker::{Query, Tried};
use crate::pool::{Lease, Outcome, Room, Token};
use crate::rng::Rng;
use crate::time::{Instant, Timer};
use crate::transport::Transport;
use crate::upgrade::UpgradeHandle;

pub use self::downstream::Downstream;
pub use self::explain::{Explanation, Mishap, Sequel, Supposed, Then, Unexplained, explain};
pub use self::headers::EXPLAIN;
pub use self::hedge::HedgeCounts;
pub use self::local_reply::internal_error;
pub use self::shared::Shared;
pub use self::tunnel::Tunnel;

/// An answer, and the tunnel that follows it when it switches protocols.
#[derive(Debug)]
pub struct Forwarded {
    /// The answer. Its body ends the attempt: hand it on, or drop it.
    pub response: Response<Body>,
    /// To be [run](Tunnel::run) once the answer's head is on its way.
    pub tunnel: Option<Tunnel>,
    /// When `limits.total` is over; [`NEVER`](Instant::NEVER) where there is no such limit, or it does not apply. Nobody
    /// polls the body of an answer whose client takes nothing: it is the front end that has to drop it then.
    pub until: Instant,
}

/// Forwards requests to the members of one pool.
pub struct Forwarder<T, C> {
    rules: Rules,
    shared: Arc<Shared>,
    transport: T,
    timer: C,
    rng: Rng,
}

/// The part of the settings that forwarding reads.
struct Rules {
    request: RequestRules,
    patience: Patience,
    connect: Duration,
    total: Option<Duration>,
    queue: Duration,
    /// What a request is told for which there is no place in the queue.
    full: Reason,
    retries: u32,
    hedge: Option<HedgeAfter>,
    /// What the pool's algorithm hashes, if it does.
    key: Option<HashKey>,
    tunnel_idle: Duration,
    backend_header: Option<HeaderName>,
    decision_header: Option<HeaderName>,
    sticky: Option<StickyCookie>,
}

/// One request under way.
struct Visit<C: Timer> {
    method: Method,
    id: HeaderValue,
    record: Record<C>,
    began: Instant,
    trail: Trail,
    /// A trusted peer wants to see the decision.
    explain: bool,
    /// The client takes trailers.
    trailers: bool,
    /// When the whole exchange must be over.
    total: Instant,
    /// The member that the client was at before.
    shown: Option<Token>,
    secure: bool,
}

impl<C: Timer> Visit<C> {
    /// Did the total end this attempt, and had the queue or earlier attempts their part of it?
    fn hurries(&self, lease: &Lease, now: Instant) -> bool {
        now >= self.total && lease.picked() > self.began
    }
}

/// A request that is fit to be sent.
struct Begun<C: Timer> {
    visit: Visit<C>,
    errand: Errand<C>,
    request: Request<Body>,
    /// The client's connection, if it is to become a tunnel.
    client: Option<UpgradeHandle>,
}

/// A response head, who sent it, and how the upload stands meanwhile.
struct Answered {
    lease: Lease,
    response: Response<Body>,
    upload: Option<Arc<Progress>>,
}

impl<T: Transport, C: Timer> Forwarder<T, C> {
    /// One forwarder for each worker: they share the pool, not the transport.
    pub fn new(
        settings: &Settings,
        shared: &Arc<Shared>,
        transport: T,
        timer: C,
        rng: Rng,
    ) -> Self {
        let (pool, limits) = (&settings.pool.limits, &settings.limits);
        let rules = Rules {
            request: RequestRules::new(settings, transport.capabilities()),
            patience: Patience {
                first_byte: pool.first_byte,
                backend_idle: pool.body_idle,
                client_idle: limits.body_idle,
            },
            connect: pool.connect,
            total: pool.total,
            queue: pool.queue.timeout,
            full: match pool.queue.size {
                0 => Reason::InFlightLimit,
                _ => Reason::QueueFull,
            },
            retries: pool.retries,
            hedge: pool.hedge,
            key: settings.pool.balance.key().cloned(),
            tunnel_idle: limits.tunnel_idle,
            backend_header: settings.debug.backend_header.clone(),
            decision_header: settings.debug.decision_header.clone(),
            sticky: settings.pool.sticky.as_ref().map(StickyCookie::from),
        };
        Self {
            rules,
            shared: Arc::clone(shared),
            transport,
            timer,
            rng,
        }
    }

    /// Forwards one request as it was received, its URI and headers untouched. A front end that can switch protocols
    /// puts an [`UpgradeHandle`] into the request's extensions.
    ///
    /// Dropping the future cancels the attempt that runs and reports the client as gone.
    pub async fn forward(&self, request: Request<Body>, from: &Downstream) -> Forwarded {
        let Begun {
            mut visit,
            mut errand,
            mut request,
            client,
        } = match self.begin(request, from) {
            Ok(begun) => begun,
            Err(refused) => return *refused,
        };
        match self
            .try_members(&mut visit, &mut errand, &mut request)
            .await
        {
            Ok(answered) => self.answer(visit, answered, client),
            Err(reason) => self.refuse(visit, reason),
        }
    }

    /// Everything that needs no waiting.
    ///
    /// # Errors
    /// The answer to a request that is not forwarded.
    fn begin(&self, request: Request<Body>, from: &Downstream) -> Result<Begun<C>, Box<Forwarded>> {
        let now = self.timer.now();
        let (mut head, body) = request.into_parts();
        let id = headers::request_id(&head.headers, &self.rng);
        let record = Record::open(&self.shared, &self.timer, &head, &id, from.peer(), now);
        let client = head.extensions.remove::<UpgradeHandle>();
        let mut visit = Visit {
            method: head.method.clone(),
            id,
            record,
            began: now,
            trail: Trail::default(),
            explain: false,
            trailers: false,
            total: self.rules.total.map_or(Instant::NEVER, |total| now + total),
            shown: self
                .rules
                .sticky
                .as_ref()
                .and_then(|sticky| sticky.shown(&head.headers)),
            secure: from.is_secure(),
        };
        if from.is_too_many() {
            return Err(Box::new(self.refuse(visit, Reason::ConnectionLimit)));
        }
        self.shared.budget.deposit(now);
        let prepared = headers::prepare_request(
            &mut head,
            &body,
            from,
            client.is_some(),
            &visit.id,
            &self.rules.request,
        );
        let asked = match prepared {
            Ok(asked) => asked,
            Err(reason) => return Err(Box::new(self.refuse(visit, reason))),
        };
        visit.explain = asked.explain;
        visit.trailers = asked.trailers;
        let by = self.rules.key.as_ref();
        let key = by.and_then(|by| key::digest_of(by, &head, &self.rules.request.trusted));
        let (mut errand, request) = Errand::new(
            head,
            body,
            asked,
            self.rules.request.body_bytes,
            retry::obstacle(self.rules.retries, &visit.method, asked),
            &self.shared.memory,
            &self.timer,
        );
        errand.key = key;
        errand.shown = visit.shown;
        Ok(Begun {
            visit,
            errand,
            request,
            client: client.filter(|_| asked.upgrade),
        })
    }

    /// Asks one member after the other until one answers or the rules say stop.
    async fn try_members(
        &self,
        visit: &mut Visit<C>,
        errand: &mut Errand<C>,
        request: &mut Request<Body>,
    ) -> Result<Answered, Reason> {
        let mut tried = Tried::new();
        let mut last = Reason::NoMember;
        let mut retries = 0;
        let mut rescue = None;
        let mut now = visit.began;
        let mut hedged = false;
        loop {
            let lease = match rescue.take() {
                Some(lease) => lease,
                None => {
                    if visit.explain {
                        visit.trail.foresee(self.explain(errand, &tried, now));
                    }
                    let lease = self
                        .choose(&mut tried, errand, last, retries, visit.total, now)
                        .await
                        .inspect_err(|reason| visit.trail.ended(*reason))?;
                    visit.trail.chosen(&lease);
                    lease
                }
            };
            visit.record.attempt(&lease);
            if errand.hostless {
                name_host(request, &lease);
            }
            let after = match hedged {
                false => self.hedge_after(errand, &lease, retries),
                true => None,
            };
            let sent = match after {
                None => {
                    let mut lease = lease;
                    let mut rescuer = |now| self.rescue(&mut tried, errand, retries, now);
                    let result = self
                        .attempt(&mut lease, request, errand, visit.total, &mut rescuer)
                        .await;
                    Sent { lease, result }
                }
                Some(after) => {
                    let first = (lease, mem::take(request));
                    // Boxed, so that those who do not hedge need not carry it.
                    let both = self.hedged(after, first, errand, (&mut tried, retries), visit);
                    let sent;
                    (sent, hedged) = Box::pin(both).await;
                    retries += u32::from(hedged);
                    sent
                }
            };
            let lease = sent.lease;
            let mut failure = match sent.result {
                Ok(response) => {
                    return Ok(Answered {
                        lease,
                        response,
                        upload: errand.progress().cloned(),
                    });
                }
                Err(failure) => failure,
            };
            now = self.timer.now();
            let outcome = failure.outcome(visit.hurries(&lease, now));
            last = failure.reason;
            rescue = failure.rescue.take();
            *request = if rescue.is_some() {
                visit.trail.attempt(lease.member(), AttemptEnd::Stalled);
                lease.leave(now);
                errand.again().ok_or(last)?
            } else {
                visit
                    .trail
                    .attempt(lease.member(), AttemptEnd::Failed(last));
                lease.finish(outcome, now);
                self.next_request(failure, errand, retries, now)
                    .map_err(|obstacle| {
                        visit.trail.stop(obstacle);
                        last
                    })?
            };
            if now >= visit.total {
                visit.trail.stop(Obstacle::TimedOut);
                return Err(Reason::TotalTimeout);
            }
            retries += 1;
        }
    }

    /// Whom to ask. Where everybody is at their limit a request queues; a retry does not, because it would keep those
    /// waiting that nobody has asked yet.
    async fn choose(
        &self,
        tried: &mut Tried,
        errand: &Errand<C>,
        last: Reason,
        retries: u32,
        total: Instant,
        now: Instant,
    ) -> Result<Lease, Reason> {
        let pool = &self.shared.pool;
        if retries > 0 {
            if let Some(lease) = self.pick(tried, errand, now) {
                return Ok(lease);
            }
            if let Some(lease) = pool.pick_standby(tried, &self.rng, now) {
                return Ok(lease);
            }
            return self.pick_again(tried, errand, last, retries, total).await;
        }
        // Nobody overtakes those who wait.
        if pool.queue().is_empty() {
            match self.pick(tried, errand, now) {
                Some(lease) => return Ok(lease),
                None if pool.room() == Room::Never => return Err(last),
                None => {}
            }
        }
        let place = pool.queue().enter().ok_or(self.rules.full)?;
        let until = total.min(now + self.rules.queue);
        let pick = || self.pick(tried, errand, self.timer.now());
        let sleep = self.timer.sleep_until(until);
        // Boxed, because few wait and every request would have to carry it.
        match Box::pin(wait::turn(place, pool, pick, sleep)).await {
            wait::Turn::Picked(lease) => Ok(lease),
            wait::Turn::Nobody => Err(last),
            wait::Turn::Late if until == total => Err(Reason::TotalTimeout),
            wait::Turn::Late => Err(Reason::QueueTimeout),
        }
    }

    /// A member that was tried before, if one is still eligible: a moment later, so that those who failed there together
    /// do not come back together.
    async fn pick_again(
        &self,
        tried: &mut Tried,
        errand: &Errand<C>,
        last: Reason,
        retries: u32,
        total: Instant,
    ) -> Result<Lease, Reason> {
        if self.shared.pool.room() == Room::Never {
            return Err(last);
        }
        let pause = retry::back_off(retries, &self.rng);
        let until = total.min(self.timer.now() + pause);
        Box::pin(self.timer.sleep_until(until)).await;
        let now = self.timer.now();
        if now >= total {
            return Err(Reason::TotalTimeout);
        }
        *tried = Tried::new();
        self.pick(tried, errand, now).ok_or(last)
    }

    /// Whom to ask: the member that the client was at, or else whoever is next. A request that cannot be taken back
    /// does not test a stalled member if there is anybody else.
    fn pick(&self, tried: &mut Tried, errand: &Errand<C>, now: Instant) -> Option<Lease> {
        let pool = &self.shared.pool;
        let lease = pool.pick_for(errand.key, errand.shown, tried, &self.rng, now)?;
        if lease.tests_a_stalled_member() && !errand.is_repeatable() {
            let by_turn = pool.pick_by(errand.key, tried, &self.rng, now);
            return by_turn.or(Some(lease));
        }
        Some(lease)
    }

    /// Somebody else for a request that waits at a stalled member, under the rules of a retry.
    fn rescue(
        &self,
        tried: &mut Tried,
        errand: &Errand<C>,
        retries: u32,
        now: Instant,
    ) -> Option<Lease> {
        let may = retries < self.rules.retries && errand.is_repeatable();
        if !may || !self.shared.budget.withdraw(now) {
            return None;
        }
        let lease = self.shared.pool.pick_by(errand.key, tried, &self.rng, now);
        if lease.is_none() {
            self.shared.budget.refund(now);
        }
        lease
    }

    fn attempt<'a>(
        &'a self,
        lease: &'a mut Lease,
        request: &'a mut Request<Body>,
        errand: &'a Errand<C>,
        total: Instant,
        rescue: &'a mut (dyn FnMut(Instant) -> Option<Lease> + Send),
    ) -> impl Future<Output = Result<Response<Body>, Failure>> + Send + 'a {
        let limits = attempt::Limits {
            upload: errand.progress(),
            patience: &self.rules.patience,
            connect: self.rules.connect,
            total,
        };
        attempt::send(&self.transport, &self.timer, lease, request, limits, rescue)
    }

    /// Whom [`pick`](Self::pick) would choose, and why.
    fn explain(&self, errand: &Errand<C>, tried: &Tried, now: Instant) -> Decision {
        let query = Query::new(tried, now, &self.rng).with_key(errand.key);
        self.shared.pool.explain(&query, errand.shown)
    }

    /// The request for another member, or why there is none.
    fn next_request(
        &self,
        failure: Failure,
        errand: &mut Errand<C>,
        retries: u32,
        now: Instant,
    ) -> Result<Request<Body>, Obstacle> {
        let next = retry::next(&Failed {
            delivered: failure.delivered,
            ours: failure.is_ours(),
            timed_out: failure.timed_out(),
            returned: failure.unsent.is_some(),
            obstacle: errand.obstacle(),
            retries,
            retries_max: self.rules.retries,
        });
        let request = match next {
            Next::Stop(obstacle) => return Err(obstacle),
            Next::Elsewhere => failure.unsent.map(|request| *request),
            Next::Again if self.shared.budget.withdraw(now) => errand.again(),
            Next::Again => return Err(Obstacle::Budget),
        };
        request.ok_or(Obstacle::BodyGone)
    }

    /// A response head came: check it, and let its body end the attempt.
    fn answer(
        &self,
        mut visit: Visit<C>,
        answered: Answered,
        client: Option<UpgradeHandle>,
    ) -> Forwarded {
        let now = self.timer.now();
        let (mut head, body) = answered.response.into_parts();
        let ends = client.zip(head.extensions.remove::<UpgradeHandle>());
        let context = Context {
            method: &visit.method,
            switching: ends.is_some(),
            trailers: visit.trailers,
            backend_header: self.rules.backend_header.as_ref(),
            backend: answered.lease.backend(),
        };
        let Ok(shape) = headers::prepare_response(&mut head, &body, &context) else {
            let invalid = AttemptEnd::Failed(Reason::InvalidAnswer);
            visit.trail.attempt(answered.lease.member(), invalid);
            visit.trail.stop(Obstacle::Answered);
            answered.lease.finish(Outcome::Failed(Cause::Invalid), now);
            return self.refuse(visit, Reason::InvalidAnswer);
        };
        if let Some(sticky) = &self.rules.sticky
            && let Some(token) = self.shared.pool.token(answered.lease.member())
            && visit.shown != Some(token)
        {
            sticky.set(&mut head.headers, token, visit.secure);
        }
        if let Some(name) = &self.rules.decision_header {
            // Whatever a backend says under our name is not ours.
            head.headers.remove(name);
            if let Some(decision) = visit.trail.answered(&answered.lease, head.status) {
                trail::tell(&mut head.headers, name, &decision);
            }
        }
        let mut ending = Ending::new(answered.lease, visit.record, head.status, now);
        if head.status == StatusCode::SWITCHING_PROTOCOLS
            && let Some((client, backend)) = ends
        {
            let (idle, timer) = (self.rules.tunnel_idle, self.timer.clone());
            return Forwarded {
                response: Response::from_parts(head, Body::empty()),
                tunnel: Some(Tunnel::new(client, backend, idle, timer, ending)),
                until: Instant::NEVER,
            };
        }
        // Nobody polls a body that is not there.
        let body = if shape == Shape::Empty {
            ending.complete(now);
            Body::empty()
        } else {
            let limits = body::Limits {
                idle: self.rules.patience.backend_idle,
                total: visit.total,
            };
            ending.must_be_by(visit.total);
            let timer = self.timer.clone();
            let answer = Answer::new(body, shape, ending, limits, answered.upload, timer);
            Body::stream(answer)
        };
        Forwarded {
            response: Response::from_parts(head, body),
            tunnel: None,
            until: visit.total,
        }
    }

    /// A local answer.
    fn refuse(&self, mut visit: Visit<C>, reason: Reason) -> Forwarded {
        let is_head = visit.method == Method::HEAD;
        let pool = self.shared.pool.name();
        let mut response = local_reply::build(reason, pool, &visit.id, is_head);
        let bytes = response.body().size_hint().exact().unwrap_or(0);
        let wanted = visit.explain || visit.record.is_open();
        let decision = wanted
            .then(|| visit.trail.refused(reason, &self.shared.pool))
            .flatten();
        if let (Some(name), true, Some(decision)) =
            (&self.rules.decision_header, visit.explain, &decision)
        {
            trail::tell(response.headers_mut(), name, decision);
        }
        let now = self.timer.now();
        visit.record.refused(reason, decision, bytes, now);
        Forwarded {
            response,
            tunnel: None,
            until: Instant::NEVER,
        }
    }
}

/// HTTP/1.1 needs a `Host`; a client of HTTP/1.0 may have none, so each backend is called by its address.
fn name_host(request: &mut Request<Body>, lease: &Lease) {
    if let Ok(host) = HeaderValue::try_from(lease.backend().address.to_string()) {
        request.headers_mut().insert(HOST, host);
    }
}
