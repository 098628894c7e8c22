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

/// An answer is a greeting; what is longer is none.
const GREETING_MAX: usize = 64;

/// What a client did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Did {
    /// It sent the request of this number.
    Send(u64),
    /// That request ended: with a greeting of this server, or without one.
    End(u64, Option<usize>),
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
    waiting: FuturesUnordered<BoxFuture<'static, (u64, Option<usize>)>>,
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
            (id, answer.ok().flatten())
        }));
        // A pause of this process is not made up for by a burst.
        let now = self.timer.now();
        let late = now.saturating_since(self.due) > PATIENCE / 10;
        self.due = if late { now } else { self.due } + self.period;
        self.sleep = Box::pin(self.timer.sleep_until(self.due));
        id
    }
}

impl<T: Transport + Clone + Unpin, C: Timer> Stream for Load<T, C>
where
    Self: Unpin,
{
    type Item = Did;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Did>> {
        if self.waiting.len() < WAITING_MAX && self.sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Did::Send(self.send())));
        }
        match Pin::new(&mut self.waiting).poll_next(cx) {
            Poll::Ready(Some((id, answer))) => Poll::Ready(Some(Did::End(id, answer))),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// One request: which server greeted?
async fn ask<T: Transport>(transport: &T, to: &Backend, deadline: Instant) -> Option<usize> {
    let mut request = Request::new(Body::empty());
    let host = HeaderValue::from_str(&to.address.to_string()).ok()?;
    request.headers_mut().insert(HOST, host);
    let attempt = Attempt {
        backend: to,
        connect_deadline: deadline,
        reuse: Reuse::Allowed,
    };
    greeter(transport.send(&attempt, request).await.ok()?).await
}

async fn greeter(response: Response<Body>) -> Option<usize> {
    if response.status() != StatusCode::OK {
        return None;
    }
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            text.extend_from_slice(&data);
        }
        if text.len() > GREETING_MAX {
            return None;
        }
    }
    let name = std::str::from_utf8(&text)
        .ok()?
        .strip_prefix("hello from ")?;
    NAMES.iter().position(|known| *known == name.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_core::error::{Cause, Phase, TransportError};
    use std::future::Future;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Waker;

    /// A clock that is moved by hand. Nothing is woken: the test polls again.
    #[derive(Clone, Default)]
    struct Hand(Arc<AtomicU64>);

    impl Hand {
        fn set(&self, ms: u64) {
            self.0.store(ms * 1_000_000, Ordering::Relaxed);
        }
    }

    struct Until(Hand, Instant);

    impl Future for Until {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if self.0.now() >= self.1 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }
    }

    impl Timer for Hand {
        type Sleep = Until;

        fn now(&self) -> Instant {
            Instant::from_nanos(self.0.load(Ordering::Relaxed))
        }

        fn sleep_until(&self, deadline: Instant) -> Until {
            Until(self.clone(), deadline)
        }
    }

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
                    let mut response = Response::new(Body::from("hello from b\n"));
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    Ok(response)
                }
                2 => Err(TransportError::undelivered(Phase::Connect, Cause::Refused)),
                3 => Ok(Response::new(Body::from("hello from nobody\n"))),
                4 => Ok(Response::new(Body::from("hello from a\n".repeat(100)))),
                _ => std::future::pending().await,
            }
        }
    }

    fn load(per_second: u32) -> (Hand, Load<Moody, Hand>) {
        let hand = Hand::default();
        let to = Backend::new(SocketAddr::from(([127, 0, 0, 1], 80)).into());
        let load = Load::new(Moody::default(), hand.clone(), to, per_second);
        (hand, load)
    }

    use std::net::SocketAddr;

    /// All that happens until the clock moves.
    fn now(load: &mut Load<Moody, Hand>) -> Vec<Did> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready(Some(did)) = Pin::new(&mut *load).poll_next(&mut cx) {
            all.push(did);
        }
        all
    }

    #[test]
    fn only_a_greeting_of_a_known_server_is_an_answer() {
        let (hand, mut load) = load(100);
        let ended = [Some(1), None, None, None, None];
        for (id, answer) in (0..).zip(ended) {
            hand.set(id * 10);
            assert_eq!(now(&mut load), [Did::Send(id), Did::End(id, answer)]);
        }
    }

    #[test]
    fn requests_are_sent_on_time_also_while_others_wait_and_are_given_up_at_last() {
        let (hand, mut load) = load(10);
        let mut sent = 0;
        for ms in (0..10_600).step_by(50) {
            hand.set(ms);
            for did in now(&mut load) {
                match did {
                    Did::Send(_) => sent += 1,
                    Did::End(id, answer) if id >= 5 => assert_eq!((ms, answer), (10_500, None)),
                    Did::End(..) => {}
                }
            }
            assert_eq!(sent, ms / 100 + 1);
        }
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        let (hand, mut load) = load(100);
        now(&mut load);
        hand.set(60_000);
        let sends = now(&mut load)
            .iter()
            .filter(|did| matches!(did, Did::Send(_)))
            .count();
        assert_eq!(sends, 1);
    }
}
