//! The backend, which a test plays by hand as well.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use lb_core::body::Body;
use lb_core::error::{BodyCause, BodyError, Cause, Phase, TransportError};
use lb_core::transport::{Attempt, Capabilities, Transport};

/// What came to the backend, and what it is to do.
#[derive(Default)]
pub(super) struct Desk {
    /// The requests so far: methods and targets.
    pub(super) requests: Vec<String>,
    /// The body of the last one, for as long as somebody wants it.
    pub(super) body: Option<Body>,
    /// Whether it reads bodies.
    pub(super) reads: bool,
    /// Whether it answers each request by its body, once that has come as a whole.
    pub(super) echoes: bool,
    /// Whether it keeps a body behind its answer.
    pub(super) keeps: bool,
    /// What it read.
    pub(super) came: Vec<u8>,
    /// Requests of which nobody waited for the answer.
    pub(super) cancelled: usize,
    answers: VecDeque<Response<Body>>,
    wakers: Vec<Waker>,
}

impl Desk {
    /// Answers the next request.
    pub(super) fn answer(&mut self, answer: Response<Body>) {
        self.answers.push_back(answer);
        self.wake();
    }

    /// Whoever waits for it looks again.
    pub(super) fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Answers the last request by its body.
    fn echo(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Body>, TransportError>> {
        match self.read(cx) {
            None => Poll::Pending,
            Some(Ok(())) => Poll::Ready(Ok(Response::new(
                Bytes::from(mem::take(&mut self.came)).into(),
            ))),
            Some(Err(_)) => Poll::Ready(Err(TransportError::delivered(
                Phase::SendBody,
                Cause::RequestBody,
            ))),
        }
    }

    /// Reads on in the last body, as far as it has come.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Option<Result<(), BodyCause>> {
        let body = self.body.as_mut()?;
        loop {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    self.came.extend_from_slice(&data);
                }
                Poll::Ready(Some(Err(error))) => return Some(Err(error.cause)),
                Poll::Ready(None) => return Some(Ok(())),
                Poll::Pending => return None,
            }
        }
    }
}

/// A backend.
#[derive(Clone, Default)]
pub(super) struct ByHand(pub(super) Arc<Mutex<Desk>>);

impl ByHand {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap()
    }
}

/// Counts a request that is given up.
struct Waiting<'a>(Option<&'a ByHand>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(backend) = self.0 {
            backend.desk().cancelled += 1;
        }
    }
}

impl Transport for ByHand {
    async fn send(
        &self,
        _: &Attempt<'_>,
        request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        let (head, body) = request.into_parts();
        {
            let mut desk = self.desk();
            desk.requests.push(format!("{} {}", head.method, head.uri));
            desk.body = Some(body);
        }
        let mut waiting = Waiting(Some(self));
        let answer = poll_fn(|cx| {
            let mut desk = self.desk();
            if desk.echoes {
                return desk.echo(cx);
            }
            if desk.reads && desk.read(cx).is_some() {
                desk.body = None;
            }
            desk.wakers.push(cx.waker().clone());
            let answer = desk.answers.pop_front();
            answer.map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
        });
        let answer = answer.await;
        waiting.0 = None;
        let mut desk = self.desk();
        if !desk.keeps {
            desk.body = None;
        }
        answer
    }

    async fn check(&self, _: &Attempt<'_>) -> Result<(), TransportError> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::FULL
    }
}

/// The body of an answer, piece by piece; nobody knows beforehand which is the last.
#[derive(Clone, Default)]
pub(super) struct Pieces(Arc<Mutex<(VecDeque<Piece>, Option<Waker>)>>);

pub(super) enum Piece {
    Data(&'static str),
    End,
    Failure,
    Panic,
}

impl Pieces {
    pub(super) fn put(&self, piece: Piece) {
        let mut pieces = self.0.lock().unwrap();
        pieces.0.push_back(piece);
        if let Some(waker) = pieces.1.take() {
            waker.wake();
        }
    }

    /// An answer with this body.
    pub(super) fn answer(&self) -> Response<Body> {
        Response::new(Body::stream(self.clone()))
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut pieces = self.0.lock().unwrap();
        match pieces.0.pop_front() {
            Some(Piece::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data.into())))),
            Some(Piece::End) => Poll::Ready(None),
            Some(Piece::Panic) => panic!("as the test wants it"),
            Some(Piece::Failure) => Poll::Ready(Some(Err(BodyCause::Closed.into()))),
            None => {
                pieces.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
