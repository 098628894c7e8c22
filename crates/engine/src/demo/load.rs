//! The traffic: requests at a steady pace, whatever becomes of the earlier ones (an open loop), over kept connections.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{FuturesUnordered, Stream};
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use lb_core::backend::Backend;
use lb_core::body::Body;
use lb_core::time::{Instant, Timer, timeout};
use lb_core::transport::{Attempt, Reuse, Transport};

use super::programme::NAMES;
use crate::rt::BoxFuture;

/// How long a client waits before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests that may wait at a time; at this bound the load pauses.
const WAITING_MAX: usize = 4096;

/// Greetings and regrets are short.
const TEXT_MAX: usize = 1024;

/// What came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// A greeting of this server.
    Greeting(usize),
    /// A whole answer that says that there is none from a server: 502, 503 or 504.
    Regret,
    /// Nothing, or not what was expected.
    Nothing,
}

/// What a client did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Did {
    /// It sent the request of this number.
    Send(u64),
    /// That request ended.
    End(u64, Reply),
}

/// The stream of what the clients do; it works while it is polled. Dropping it gives all requests up.
pub(super) struct Load<T, C: Timer> {
    transport: T,
    timer: C,
    to: Backend,
    period: Duration,
    due: Instant,
    sleep: Pin<Box<C::Sleep>>,
    next: u64,
    waiting: FuturesUnordered<BoxFuture<'static, (u64, Reply)>>,
}

impl<T: Transport + Clone, C: Timer> Load<T, C> {
    /// `per_second` requests to `to`, the first one now.
    pub(super) fn new(transport: T, timer: C, to: Backend, per_second: u32) -> Self {
        let due = timer.now();
        Self {
            sleep: Box::pin(timer.sleep_until(due)),
            transport,
            timer,
            to,
            period: Duration::from_secs(1) / per_second.max(1),
            due,
            next: 0,
            waiting: FuturesUnordered::new(),
        }
    }

    /// Starts the next request and plans the one after it.
    fn send(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        let (transport, timer, to) = (self.transport.clone(), self.timer.clone(), self.to.clone());
        self.waiting.push(Box::pin(async move {
            let deadline = timer.now() + PATIENCE;
            let answer = timeout(&timer, deadline, ask(&transport, &to, deadline)).await;
            (id, answer.unwrap_or(Reply::Nothing))
        }));
        // A pause of this process is not made up for by a burst.
        let now = self.timer.now();
        let late = now.saturating_since(self.due) > PATIENCE / 10;
        self.due = if late { now } else { self.due } + self.period;
        self.sleep = Box::pin(self.timer.sleep_until(self.due));
        id
    }
}

/// Nothing in it is pinned in place.
impl<T, C: Timer> Unpin for Load<T, C> {}

impl<T: Transport + Clone, C: Timer> Stream for Load<T, C> {
    type Item = Did;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Did>> {
        if self.waiting.len() < WAITING_MAX && self.sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Did::Send(self.send())));
        }
        match Pin::new(&mut self.waiting).poll_next(cx) {
            Poll::Ready(Some((id, reply))) => Poll::Ready(Some(Did::End(id, reply))),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// One request.
async fn ask<T: Transport>(transport: &T, to: &Backend, deadline: Instant) -> Reply {
    let mut request = Request::new(Body::empty());
    if let Ok(host) = HeaderValue::from_str(&to.address.to_string()) {
        request.headers_mut().insert(HOST, host);
    }
    let attempt = Attempt {
        backend: to,
        connect_deadline: deadline,
        reuse: Reuse::Allowed,
    };
    match transport.send(&attempt, request).await {
        Ok(response) => understood(response).await.unwrap_or(Reply::Nothing),
        Err(_) => Reply::Nothing,
    }
}

/// `None` when the answer breaks off, or is none that was expected.
async fn understood(response: Response<Body>) -> Option<Reply> {
    let status = response.status();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            text.extend_from_slice(&data);
        }
        if text.len() > TEXT_MAX {
            return None;
        }
    }
    match status {
        StatusCode::OK => {
            let name = std::str::from_utf8(&text)
                .ok()?
                .strip_prefix("hello from ")?;
            let server = NAMES.iter().position(|known| *known == name.trim_end());
            server.map(Reply::Greeting)
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Some(Reply::Regret)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hand::HandTimer;
    use lb_core::error::{Cause, Phase, TransportError};
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Waker;

    /// Answers by the number of the request: a greeting, a wrong status, a failure, silence.
    #[derive(Clone, Default)]
    struct Moody(Arc<AtomicU64>);

    impl Transport for Moody {
        async fn send(
            &self,
            _: &Attempt<'_>,
            request: Request<Body>,
        ) -> Result<Response<Body>, TransportError> {
            assert_eq!(request.headers()[HOST], "127.0.0.1:80");
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(Response::new(Body::from("hello from b\n"))),
                1 => {
                    let mut response = Response::new(Body::from("no server is available\n"));
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    Ok(response)
                }
                2 => Err(TransportError::undelivered(Phase::Connect, Cause::Refused)),
                3 => Ok(Response::new(Body::from("hello from nobody\n"))),
                4 => Ok(Response::new(Body::from("hello from a\n".repeat(1000)))),
                _ => std::future::pending().await,
            }
        }
    }

    fn load(per_second: u32) -> (HandTimer, Load<Moody, HandTimer>) {
        let hand = HandTimer::default();
        let to = Backend::new(SocketAddr::from(([127, 0, 0, 1], 80)).into());
        let load = Load::new(Moody::default(), hand.clone(), to, per_second);
        (hand, load)
    }

    /// All that happens until the clock moves.
    fn now(load: &mut Load<Moody, HandTimer>) -> Vec<Did> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready(Some(did)) = Pin::new(&mut *load).poll_next(&mut cx) {
            all.push(did);
        }
        all
    }

    #[test]
    fn only_a_greeting_of_a_known_server_is_an_answer_and_only_a_gateway_error_is_a_regret() {
        let (hand, mut load) = load(100);
        let nothing = Reply::Nothing;
        let ended = [Reply::Greeting(1), Reply::Regret, nothing, nothing, nothing];
        for (id, reply) in (0..).zip(ended) {
            assert_eq!(now(&mut load), [Did::Send(id), Did::End(id, reply)]);
            hand.advance(Duration::from_millis(10));
        }
    }

    #[test]
    fn requests_are_sent_on_time_also_while_others_wait_and_are_given_up_at_last() {
        let (hand, mut load) = load(10);
        let mut sent = 0;
        for ms in (0..10_600).step_by(50) {
            for did in now(&mut load) {
                match did {
                    Did::Send(_) => sent += 1,
                    Did::End(id, reply) if id >= 5 => {
                        assert_eq!((ms, reply), (10_500, Reply::Nothing))
                    }
                    Did::End(..) => {}
                }
            }
            assert_eq!(sent, ms / 100 + 1);
            hand.advance(Duration::from_millis(50));
        }
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        let (hand, mut load) = load(100);
        now(&mut load);
        hand.advance(Duration::from_secs(60));
        let sends = now(&mut load)
            .iter()
            .filter(|did| matches!(did, Did::Send(_)))
            .count();
        assert_eq!(sends, 1);
    }
}
