//! A response body: it drives the connection it comes from, and gives it back at the clean end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use lb_core::error::{BodyCause, BodyError};
use lb_core::time::Timer;

use super::failure::body_failure;
use super::idle::Idle;
use super::link::{Link, Stream};

/// The body of an answer. Dropping it before its end closes the connection.
pub(super) struct ResponseBody<S: Stream, C: Timer> {
    incoming: Incoming,
    /// Taken at the end, clean or not.
    link: Option<Box<Link<S>>>,
    idle: Arc<Idle<S, C>>,
}

impl<S: Stream, C: Timer> ResponseBody<S, C> {
    pub(super) fn new(incoming: Incoming, link: Box<Link<S>>, idle: Arc<Idle<S, C>>) -> Self {
        Self {
            incoming,
            link: Some(link),
            idle,
        }
    }

    /// The next frame, if hyper has it already. It is `drive` that makes hyper have one, so nobody needs waking here.
    fn frame(&mut self) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut quiet = Context::from_waker(Waker::noop());
        Pin::new(&mut self.incoming).poll_frame(&mut quiet)
    }

    /// The body is complete: the connection may serve another request.
    fn finish(&mut self, cx: &mut Context<'_>) {
        if let Some(mut link) = self.link.take()
            && link.finish(cx)
        {
            self.idle.put(link);
        }
    }

    /// The body broke off: the connection goes with it.
    fn fail(&mut self, error: hyper::Error) -> BodyError {
        match self.link.take() {
            Some(mut link) => {
                // To the body hyper says "connection error", to the connection it says which.
                let error = link.error.take().unwrap_or(error);
                body_failure(error, &link.facts)
            }
            None => BodyError::new(BodyCause::Closed).with_source(error),
        }
    }

    /// Are there bytes that were announced and did not come? hyper says so by an error, but did not always
    /// (its issue 4018), and this is the one thing that must not go wrong.
    fn is_short(&self) -> bool {
        self.incoming
            .size_hint()
            .exact()
            .is_some_and(|missing| missing > 0)
    }
}

impl<S: Stream, C: Timer> HttpBody for ResponseBody<S, C> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut frame = this.frame();
        if frame.is_pending()
            && let Some(link) = &mut this.link
        {
            link.drive(cx);
            frame = this.frame();
        }
        frame.map(|frame| match frame {
            Some(Ok(frame)) => {
                // Whoever reads need not ask again after the last frame, and nothing follows trailers.
                if frame.is_trailers() || this.incoming.is_end_stream() {
                    this.finish(cx);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(this.fail(error))),
            None if this.link.is_some() && this.is_short() => {
                this.link = None;
                Some(Err(BodyCause::Closed.into()))
            }
            None => {
                this.finish(cx);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
