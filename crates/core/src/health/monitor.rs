//! The driver of health: asks the pool what is due, does that, and tells it what came out. It decides nothing.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures::stream::{FuturesUnordered, Stream};
use http::{Response, StatusCode};
use http_body::Body as _;

use super::probe::{Answer, DRAIN_MAX, Finding, Probe};
use super::search::Search;
use crate::body::Body;
use crate::config::settings::Check;
use crate::error::TransportError;
use crate::pool::SharedPool;
use crate::time::{Elapsed, Timer, timeout};
use crate::transport::Transport;

/// Probes every member, watches for stalled ones, offers trials, and applies what comes back, until dropped.
///
/// HTTP probes go through the transport's [`send`](Transport::send), TCP probes through its
/// [`check`](Transport::check). A pool without probes needs this future, too: for trials and the stall guard. One
/// at a time is enough for a pool, and only the last one that was polled is woken early.
///
/// Cancel-safe: nothing is lost but the running probes, and those are due again for the next monitor.
pub async fn monitor<T: Transport, C: Timer>(
    pool: &SharedPool,
    transport: &T,
    timer: &C,
) -> Infallible {
    let mut running = FuturesUnordered::new();
    loop {
        // After all that has come out, so that it is published at once and together.
        let (probes, next) = pool.due(timer.now());
        for probe in probes {
            let judged = false;
            let probe = Running {
                pool,
                probe,
                judged,
            };
            running.push(run(transport, timer, probe));
        }
        let sleep = pin!(timer.sleep_until(next));
        something_happens(pool, Pin::new(&mut running), sleep).await;
    }
}

/// Waits until the pool rings, probes are over, as many as are by then, or `sleep` is.
async fn something_happens(
    pool: &SharedPool,
    mut running: Pin<&mut impl Stream<Item = ()>>,
    mut sleep: Pin<&mut impl Future<Output = ()>>,
) {
    poll_fn(|cx: &mut Context<'_>| {
        let mut over = false;
        while let Poll::Ready(Some(())) = running.as_mut().poll_next(cx) {
            over = true;
        }
        // After the probes, which may have rung.
        let rung = pool.poll_rung(cx);
        let late = sleep.as_mut().poll(cx).is_ready();
        if over || rung || late {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Does one probe, reports its verdict as soon as there is one, and then drains the answer.
async fn run<T: Transport, C: Timer>(transport: &T, timer: &C, mut running: Running<'_>) {
    let (finding, body) = ask(transport, timer, &running.probe).await;
    running.judged = true;
    running.pool.probed(&running.probe, finding, timer.now());
    if let Some(body) = body {
        // Whatever becomes of the rest: the verdict stands.
        let _ = timeout(timer, running.probe.deadline(), drain(body)).await;
    }
}

/// Tells the pool that a probe is over, also when the future that ran it was dropped.
struct Running<'a> {
    pool: &'a SharedPool,
    probe: Probe,
    judged: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.pool.probe_over(&self.probe, self.judged);
    }
}

async fn ask<T: Transport, C: Timer>(
    transport: &T,
    timer: &C,
    probe: &Probe,
) -> (Finding, Option<Body>) {
    let attempt = probe.attempt();
    let late = probe.deadline();
    match &probe.settings.check {
        Check::Tcp if probe.needs_answer => {
            let answer = transport.send(&attempt, probe.sign_of_life());
            let (result, body) = split(timeout(timer, late, answer).await);
            (probe.judge_sign_of_life(&result), body)
        }
        Check::Tcp => {
            let result = timeout(timer, late, transport.check(&attempt)).await;
            (probe.judge_connection(&result, timer.now()), None)
        }
        Check::Http(check) => {
            let request = probe.request(check);
            let mut rest = None;
            let answer = async {
                let (head, mut body) = transport.send(&attempt, request).await?.into_parts();
                let contained = match &check.body {
                    Some(text) if check.expect.contains(head.status) => {
                        contains(&mut body, text).await
                    }
                    _ => true,
                };
                rest = Some(body);
                Ok(Answer {
                    status: head.status,
                    contained,
                })
            };
            let result = timeout(timer, late, answer).await;
            (probe.judge_answer(&result, check, timer.now()), rest)
        }
    }
}

type Asked<A> = Result<Result<A, TransportError>, Elapsed>;

/// What is judged of an answer, and the rest of it.
fn split(answer: Asked<Response<Body>>) -> (Asked<StatusCode>, Option<Body>) {
    match answer {
        Ok(Ok(response)) => (Ok(Ok(response.status())), Some(response.into_body())),
        Ok(Err(error)) => (Ok(Err(error)), None),
        Err(late) => (Err(late), None),
    }
}

/// Reads a body until `text` has come, or until it can no longer come within what is looked at.
async fn contains(body: &mut Body, text: &[u8]) -> bool {
    let mut body = Pin::new(body);
    let mut search = Search::new(text);
    while let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Some(found) = frame.data_ref().and_then(|data| search.feed(data)) {
            return found;
        }
    }
    false
}

/// Reads a body to its end, its first error, or the limit.
async fn drain(body: Body) {
    let mut body = pin!(body);
    let mut left = DRAIN_MAX;
    while let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
