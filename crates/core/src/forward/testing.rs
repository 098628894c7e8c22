//! What the tests of this module share: a clock that is set, bodies that follow a script, and an executor that lets
//! virtual time pass.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures::task::noop_waker;
use http_body::{Body as HttpBody, Frame};

use super::headers::testing::map;
use super::replay::Polled;
use crate::body::Body;
use crate::error::{BodyCause, BodyError};
use crate::time::{Instant, Timer};

/// Virtual time.
#[derive(Clone)]
pub(super) struct Clock(Arc<Mutex<Hands>>);

struct Hands {
    now: Instant,
    sleepers: Vec<(Instant, Waker)>,
    sleeps: usize,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Hands {
            now: Instant::ORIGIN,
            sleepers: Vec::new(),
            sleeps: 0,
        })))
    }

    /// Makes it `now` and wakes whoever slept until then.
    pub(super) fn set(&self, now: Instant) {
        let mut hands = self.0.lock().unwrap();
        hands.now = now;
        let (due, later) = std::mem::take(&mut hands.sleepers)
            .into_iter()
            .partition(|(deadline, _)| *deadline <= now);
        hands.sleepers = later;
        drop(hands);
        let due: Vec<(Instant, Waker)> = due;
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// How many sleeps were made.
    pub(super) fn sleeps(&self) -> usize {
        self.0.lock().unwrap().sleeps
    }

    fn next(&self) -> Option<Instant> {
        let hands = self.0.lock().unwrap();
        hands.sleepers.iter().map(|(deadline, _)| *deadline).min()
    }
}

impl Timer for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.0.lock().unwrap().now
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        self.0.lock().unwrap().sleeps += 1;
        Sleep(self.clone(), deadline)
    }
}

pub(super) struct Sleep(Clock, Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut hands = self.0.0.lock().unwrap();
        if hands.now >= self.1 {
            return Poll::Ready(());
        }
        hands.sleepers.push((self.1, cx.waker().clone()));
        Poll::Pending
    }
}

/// Drives `future` to its end; when nothing else can happen, time passes.
pub(super) fn run<F: Future>(clock: &Clock, future: F) -> F::Output {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut future = pin!(future);
    loop {
        while flag.0.swap(false, Ordering::SeqCst) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
        }
        let next = clock.next().expect("the future waits for nothing");
        clock.set(next);
    }
}

/// Polls once.
pub(super) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    let waker = noop_waker();
    future.poll(&mut Context::from_waker(&waker))
}

/// Polls a body once.
pub(super) fn poll_body<B>(body: &mut B) -> Polled
where
    B: HttpBody<Data = Bytes, Error = BodyError> + Unpin,
{
    let waker = noop_waker();
    Pin::new(body).poll_frame(&mut Context::from_waker(&waker))
}

/// Reads a body to its end, or to its error.
pub(super) async fn read(body: &mut Body) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            all.extend_from_slice(&data);
        }
    }
    Ok(all)
}

/// A body that follows a script. It never knows its length.
pub(super) struct Script {
    steps: VecDeque<Step>,
    dropped: Option<Arc<AtomicBool>>,
}

enum Step {
    Frame(Frame<Bytes>),
    Fail(BodyCause),
    Pending,
    Hang,
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            steps: VecDeque::new(),
            dropped: None,
        }
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    pub(super) fn data(self, data: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Frame(Frame::data(Bytes::from(data.into()))))
    }

    pub(super) fn trailers(self, fields: &[(&str, &str)]) -> Self {
        self.step(Step::Frame(Frame::trailers(map(fields))))
    }

    pub(super) fn fail(self, cause: BodyCause) -> Self {
        self.step(Step::Fail(cause))
    }

    /// Pending once, and woken at once.
    pub(super) fn pending(self) -> Self {
        self.step(Step::Pending)
    }

    /// Pending for ever.
    pub(super) fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// Sets the flag when the body is dropped.
    pub(super) fn noting_drop(mut self, dropped: &Arc<AtomicBool>) -> Self {
        self.dropped = Some(Arc::clone(dropped));
        self
    }

    pub(super) fn body(self) -> Body {
        Body::stream(self)
    }
}

impl HttpBody for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Frame(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Step::Fail(cause)) => Poll::Ready(Some(Err(cause.into()))),
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Hang) => {
                self.steps.push_front(Step::Hang);
                Poll::Pending
            }
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if let Some(dropped) = &self.dropped {
            dropped.store(true, Ordering::SeqCst);
        }
    }
}

/// A body of these frames.
pub(super) fn frames(parts: &[&str]) -> Body {
    parts
        .iter()
        .fold(Script::new(), |script, part| script.data(*part))
        .body()
}
