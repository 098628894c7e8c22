//! A response body: it drives the connection it comes from, and gives it back at the clean end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lb_core::error::BodyError;
use lb_core::time::Timer;

use super::failure::body_failure;
use super::idle::Idle;
use super::link::Link;
use crate::http1::{Decoded, Decoder, Stream};

/// The body of an answer. Dropping it before its end closes the connection.
pub(super) struct ResponseBody<S: Stream, C: Timer> {
    decoder: Decoder,
    /// Taken at the end, clean or not.
    link: Option<Box<Link<S>>>,
    idle: Arc<Idle<S, C>>,
}

impl<S: Stream, C: Timer> ResponseBody<S, C> {
    pub(super) fn new(decoder: Decoder, link: Box<Link<S>>, idle: Arc<Idle<S, C>>) -> Self {
        Self {
            decoder,
            link: Some(link),
            idle,
        }
    }

    /// The body is complete: the connection may serve another request.
    fn finish(&mut self) {
        if let Some(mut link) = self.link.take()
            && link.settle()
        {
            self.idle.put(link);
        }
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
        let Some(link) = &mut this.link else {
            return Poll::Ready(None);
        };
        let decoded = match ready!(link.poll_body(&mut this.decoder, cx)) {
            Ok(decoded) => decoded,
            Err(broken) => {
                // The connection goes with it.
                this.link = None;
                return Poll::Ready(Some(Err(body_failure(broken))));
            }
        };
        let frame = match decoded {
            Decoded::Data(data) => {
                // Whoever reads need not ask again after the last frame.
                if this.decoder.is_at_end() {
                    this.finish();
                }
                Some(Frame::data(data))
            }
            Decoded::Trailers(trailers) => {
                this.finish();
                Some(Frame::trailers(trailers))
            }
            Decoded::End | Decoded::More => {
                this.finish();
                None
            }
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder.left() {
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
