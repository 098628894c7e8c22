//! The request body on its way up: counts it, bounds it, filters its trailers, and notes who is waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::deadline::Stage;
use super::headers::{Shape, keep_allowed_trailers};
use super::replay::{Polled, Reader};
use crate::body::Body;
use crate::error::{BodyCause, BodyError, Reason};
use crate::time::{Instant, Timer};

/// How an upload stands: written by the body, read by whoever waits for the response.
#[derive(Debug)]
pub(super) struct Progress {
    /// Nanoseconds and, in the last two bits, the stage: one value, so that they belong together.
    mark: AtomicU64,
    failure: AtomicU8,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Arc<Self> {
        let progress = Self {
            mark: AtomicU64::new(0),
            failure: AtomicU8::new(0),
        };
        progress.enter(Stage::Connecting, now);
        Arc::new(progress)
    }

    /// Who is waited for, and since when.
    pub(super) fn stage(&self) -> (Stage, Instant) {
        let mark = self.mark.load(Ordering::Acquire);
        let stage = match mark & 3 {
            0 => Stage::Connecting,
            1 => Stage::Client,
            2 => Stage::Backend,
            _ => Stage::Sent,
        };
        (stage, Instant::from_nanos(mark >> 2))
    }

    /// Why the client's side of it failed, if it did.
    pub(super) fn failure(&self) -> Option<Reason> {
        match self.failure.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Reason::BodyTooLarge),
            2 => Some(Reason::RequestStalled),
            3 => Some(Reason::BadRequest(
                "the request body is not as it was announced",
            )),
            _ => Some(Reason::ClientGone),
        }
    }

    fn enter(&self, stage: Stage, now: Instant) {
        let stage = match stage {
            Stage::Connecting => 0,
            Stage::Client => 1,
            Stage::Backend => 2,
            Stage::Sent => 3,
        };
        let nanos = now.as_nanos().min(u64::MAX >> 2);
        self.mark.store(nanos << 2 | stage, Ordering::Release);
    }

    fn fail(&self, cause: BodyCause) {
        let failure = match cause {
            BodyCause::TooLarge => 1,
            BodyCause::Stalled => 2,
            BodyCause::Invalid => 3,
            BodyCause::Closed | BodyCause::Deadline | BodyCause::Abandoned => 4,
        };
        self.failure.store(failure, Ordering::Release);
    }
}

/// Where the bytes come from.
pub(super) enum Source {
    /// The client's body: read once.
    Once(Body),
    /// A pass over a body that can be repeated.
    Replayed(Reader),
}

/// The body that a transport gets to send.
pub(super) struct Upload<C: Timer> {
    source: Source,
    progress: Arc<Progress>,
    timer: C,
    /// Bytes that must still come, when their number is known.
    owed: Option<u64>,
    /// Bytes that may still come.
    allowed: u64,
    over: bool,
}

impl<C: Timer> Upload<C> {
    pub(super) fn new(
        source: Source,
        shape: Shape,
        allowed: Option<u64>,
        progress: Arc<Progress>,
        timer: C,
    ) -> Self {
        let owed = match shape {
            Shape::Empty => Some(0),
            Shape::Exact(length) => Some(length),
            Shape::Chunked => None,
        };
        Self {
            source,
            progress,
            timer,
            owed,
            allowed: allowed.unwrap_or(u64::MAX),
            over: false,
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Polled {
        match &mut self.source {
            Source::Once(body) => Pin::new(body).poll_frame(cx),
            Source::Replayed(reader) => reader.poll_frame(cx),
        }
    }

    fn source_is_at_end(&self) -> bool {
        match &self.source {
            Source::Once(body) => body.is_end_stream(),
            Source::Replayed(reader) => reader.is_end_stream(),
        }
    }

    /// Counts what came; too much or too little is an error, because the next message would begin elsewhere for us
    /// than for the backend.
    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyCause> {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.allowed = self
            .allowed
            .checked_sub(length)
            .ok_or(BodyCause::TooLarge)?;
        if let Some(owed) = &mut self.owed {
            *owed = owed.checked_sub(length).ok_or(BodyCause::Invalid)?;
        }
        Ok(())
    }

    fn finish(&mut self) {
        if !self.over {
            self.over = true;
            self.progress.enter(Stage::Sent, self.timer.now());
        }
    }

    fn fail(&mut self, error: BodyError) -> Polled {
        self.over = true;
        self.progress.fail(error.cause);
        Poll::Ready(Some(Err(error)))
    }
}

/// No part of it is ever pinned.
impl<C: Timer> Unpin for Upload<C> {}

impl<C: Timer> HttpBody for Upload<C> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        match this.poll_source(cx) {
            Poll::Pending => {
                if this.progress.stage().0 != Stage::Client {
                    this.progress.enter(Stage::Client, this.timer.now());
                }
                Poll::Pending
            }
            Poll::Ready(None) if this.owed.is_some_and(|owed| owed > 0) => {
                this.fail(BodyCause::Closed.into())
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => this.fail(error),
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Err(cause) = this.count(&frame) {
                    return this.fail(cause.into());
                }
                if let Some(trailers) = frame.trailers_mut() {
                    keep_allowed_trailers(trailers);
                }
                if this.owed == Some(0) || (this.owed.is_none() && this.source_is_at_end()) {
                    this.finish();
                } else {
                    this.progress.enter(Stage::Backend, this.timer.now());
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.progress.failure().is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.owed
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<C: Timer> Drop for Upload<C> {
    /// A transport that lets go of the body has nothing more to send: from now on an answer is awaited.
    fn drop(&mut self) {
        if !self.over {
            self.progress.enter(Stage::Sent, self.timer.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Clock, Script, frames, poll_body};
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    fn upload(
        body: Body,
        shape: Shape,
        allowed: Option<u64>,
    ) -> (Upload<Clock>, Arc<Progress>, Clock) {
        let clock = Clock::new();
        let progress = Progress::new(at(0));
        let upload = Upload::new(
            Source::Once(body),
            shape,
            allowed,
            Arc::clone(&progress),
            clock.clone(),
        );
        (upload, progress, clock)
    }

    #[test]
    fn it_notes_who_is_waited_for() {
        let script = Script::new().data("ab").pending().data("cd");
        let (mut upload, progress, clock) = upload(script.body(), Shape::Exact(4), None);
        assert_eq!(progress.stage(), (Stage::Connecting, at(0)));
        clock.set(at(1));
        assert!(poll_body(&mut upload).is_ready());
        assert_eq!(progress.stage(), (Stage::Backend, at(1)));
        clock.set(at(2));
        assert!(poll_body(&mut upload).is_pending());
        assert_eq!(progress.stage(), (Stage::Client, at(2)));
        clock.set(at(3));
        assert!(poll_body(&mut upload).is_ready());
        assert_eq!(progress.stage(), (Stage::Sent, at(3)));
        assert!(upload.is_end_stream());
    }

    #[test]
    fn a_client_that_stalls_is_not_excused_by_being_asked_again() {
        let script = Script::new().data("a").pending().pending();
        let (mut upload, progress, clock) = upload(script.body(), Shape::Chunked, None);
        assert!(poll_body(&mut upload).is_ready());
        clock.set(at(2));
        assert!(poll_body(&mut upload).is_pending());
        clock.set(at(9));
        assert!(poll_body(&mut upload).is_pending());
        assert_eq!(progress.stage(), (Stage::Client, at(2)));
    }

    #[test]
    fn a_body_over_the_limit_breaks_off() {
        let (mut upload, progress, _) = upload(frames(&["abc", "de"]), Shape::Chunked, Some(4));
        assert!(matches!(poll_body(&mut upload), Poll::Ready(Some(Ok(_)))));
        let Poll::Ready(Some(Err(error))) = poll_body(&mut upload) else {
            panic!("no error");
        };
        assert_eq!(error.cause, BodyCause::TooLarge);
        assert_eq!(progress.failure(), Some(Reason::BodyTooLarge));
        assert!(!upload.is_end_stream());
    }

    #[test]
    fn a_body_of_another_length_than_announced_is_an_error() {
        let (mut short, progress, _) = upload(frames(&["abc"]), Shape::Exact(4), None);
        assert!(matches!(poll_body(&mut short), Poll::Ready(Some(Ok(_)))));
        assert!(matches!(poll_body(&mut short), Poll::Ready(Some(Err(_)))));
        assert_eq!(progress.failure(), Some(Reason::ClientGone));

        let (mut long, progress, _) = upload(frames(&["abc", "de"]), Shape::Exact(4), None);
        assert!(matches!(poll_body(&mut long), Poll::Ready(Some(Ok(_)))));
        assert!(matches!(poll_body(&mut long), Poll::Ready(Some(Err(_)))));
        assert!(matches!(progress.failure(), Some(Reason::BadRequest(_))));
    }

    #[test]
    fn row_27_forbidden_trailers_do_not_go_up() {
        let script = Script::new()
            .data("a")
            .trailers(&[("x-sum", "1"), ("host", "evil")]);
        let (mut upload, _, _) = upload(script.body(), Shape::Chunked, None);
        assert!(poll_body(&mut upload).is_ready());
        let Poll::Ready(Some(Ok(frame))) = poll_body(&mut upload) else {
            panic!("no trailers");
        };
        let trailers = frame.into_trailers().unwrap();
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["x-sum"], "1");
    }

    #[test]
    fn a_transport_that_drops_the_body_waits_for_the_answer() {
        let (upload, progress, clock) = upload(frames(&["abc"]), Shape::Exact(3), None);
        clock.set(at(5));
        drop(upload);
        assert_eq!(progress.stage(), (Stage::Sent, at(5)));
    }
}
