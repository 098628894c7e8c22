//! The response body on its way down: it owns the lease, and says how the attempt ended when it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::deadline::Stage;
use super::headers::{Shape, keep_allowed_trailers};
use super::record::Ending;
use super::replay::Polled;
use super::upload::Progress;
use crate::body::Body;
use crate::error::{BodyCause, BodyError, Cause};
use crate::event::End;
use crate::pool::Outcome;
use crate::time::{Instant, Timer};

/// How long a response body may take.
pub(super) struct Limits {
    /// Without progress on either body.
    pub(super) idle: Duration,
    /// When the whole exchange must be over.
    pub(super) total: Instant,
}

pin_project! {
    /// A response body that ends its attempt's lease and its exchange's record.
    ///
    /// The sleep is part of it, not boxed: with the transport's own box a streamed body costs two. It is made at
    /// the first poll that has to wait and armed again only when it fires.
    pub(super) struct Answer<C: Timer> {
        inner: Body,
        ending: Ending<C>,
        timer: C,
        limits: Limits,
        owed: Option<u64>,
        upload: Option<Arc<Progress>>,
        waiting_since: Option<Instant>,
        over: bool,
        broken: bool,
        #[pin]
        sleep: Option<C::Sleep>,
    }
}

impl<C: Timer> Answer<C> {
    pub(super) fn new(
        inner: Body,
        shape: Shape,
        ending: Ending<C>,
        limits: Limits,
        upload: Option<Arc<Progress>>,
        timer: C,
    ) -> Self {
        let owed = match shape {
            Shape::Empty => Some(0),
            Shape::Exact(length) => Some(length),
            Shape::Chunked => None,
        };
        Self {
            inner,
            ending,
            timer,
            limits,
            owed,
            upload,
            waiting_since: None,
            over: false,
            broken: false,
            sleep: None,
        }
    }

    /// One frame, checked and counted; the clean end and the broken one end the attempt.
    fn next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        loop {
            let this = self.as_mut().project();
            let polled = Pin::new(&mut *this.inner).poll_frame(cx);
            let Poll::Ready(frame) = polled else {
                return self.wait(cx);
            };
            *this.waiting_since = None;
            let now = this.timer.now();
            let mut frame = match frame {
                None if this.owed.is_some_and(|owed| owed > 0) => {
                    return self.fail(BodyCause::Closed.into(), now);
                }
                None => {
                    self.finish(now);
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return self.fail(error, now),
                Some(Ok(frame)) => frame,
            };
            if now >= this.limits.total {
                return self.fail(BodyCause::Deadline.into(), now);
            }
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            if let Some(owed) = this.owed {
                let Some(left) = owed.checked_sub(bytes) else {
                    return self.fail(BodyCause::Invalid.into(), now);
                };
                *owed = left;
            }
            this.ending.progress(bytes, now);
            // Nothing follows trailers, and nobody asks whether something does.
            if frame.is_trailers() || *this.owed == Some(0) || this.inner.is_end_stream() {
                self.as_mut().finish(now);
            }
            if let Some(trailers) = frame.trailers_mut() {
                keep_allowed_trailers(trailers);
                if trailers.is_empty() {
                    continue;
                }
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    /// Nothing came: how long yet?
    fn wait(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        loop {
            let mut this = self.as_mut().project();
            if let Some(sleep) = this.sleep.as_mut().as_pin_mut()
                && sleep.poll(cx).is_pending()
            {
                // Deadlines only move away: one that was armed for an earlier wait fires too early, and then
                // the question is asked again.
                let timer = &*this.timer;
                this.waiting_since.get_or_insert_with(|| timer.now());
                return Poll::Pending;
            }
            let now = this.timer.now();
            let since = *this.waiting_since.get_or_insert(now);
            let upload = this.upload.as_ref().map(|upload| upload.stage());
            // What goes up is progress, too: some backends answer while they read.
            let progress = match upload {
                Some((Stage::Sent, _)) | None => since,
                Some((_, moved)) => since.max(moved),
            };
            let idle_at = progress + this.limits.idle;
            let until = idle_at.min(this.limits.total);
            if now < until {
                this.sleep.set(Some(this.timer.sleep_until(until)));
                continue;
            }
            let cause = if now >= this.limits.total {
                BodyCause::Deadline
            } else {
                BodyCause::Stalled
            };
            if upload.is_some_and(|(stage, _)| stage == Stage::Client) {
                // The backend waits for a client that sends nothing.
                this.ending
                    .settle(Outcome::Abandoned, End::Truncated(cause), now);
            }
            return self.fail(cause.into(), now);
        }
    }

    fn finish(self: Pin<&mut Self>, now: Instant) {
        let mut this = self.project();
        *this.over = true;
        this.ending.complete(now);
        this.sleep.set(None);
    }

    fn fail(self: Pin<&mut Self>, error: BodyError, now: Instant) -> Polled {
        let mut this = self.project();
        *this.over = true;
        *this.broken = true;
        let outcome = match error.cause {
            BodyCause::Closed => Outcome::Failed(Cause::Closed),
            BodyCause::Invalid | BodyCause::TooLarge => Outcome::Failed(Cause::Invalid),
            BodyCause::Stalled | BodyCause::Deadline => Outcome::Failed(Cause::TimedOut),
            BodyCause::Abandoned => Outcome::Abandoned,
        };
        this.ending
            .settle(outcome, End::Truncated(error.cause), now);
        this.sleep.set(None);
        // Whatever feeds it is cancelled now, not when the client has noticed.
        *this.inner = Body::empty();
        Poll::Ready(Some(Err(error)))
    }
}

impl<C: Timer> HttpBody for Answer<C> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.over {
            Poll::Ready(None)
        } else {
            self.next(cx)
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over && !self.broken
    }

    fn size_hint(&self) -> SizeHint {
        self.owed
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
