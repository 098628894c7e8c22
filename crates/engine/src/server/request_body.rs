//! A client's request body as the core wants it.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use lb_core::error::{BodyCause, BodyError};

use super::connection::Link;

/// hyper's body. Its first poll is what makes hyper send `100 Continue`, so nobody polls it before there is a
/// backend to take it.
pub(super) struct RequestBody {
    incoming: Incoming,
    link: Arc<Link>,
    ended: bool,
}

impl RequestBody {
    /// A body that has not ended yet. `link` is told when it is dropped before its end.
    pub(super) fn new(incoming: Incoming, link: Arc<Link>) -> Self {
        Self {
            incoming,
            link,
            ended: false,
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended {
            self.link.mark_unread();
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.ended = true,
            Poll::Ready(Some(Ok(frame))) => {
                self.ended = frame.is_trailers() || self.incoming.is_end_stream()
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled.map_err(|error| {
            // Broken framing comes as invalid data; everything else is a client that is no longer there.
            let cause = if invalid_data(&error) {
                BodyCause::Invalid
            } else {
                BodyCause::Closed
            };
            BodyError::new(cause).with_source(error)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

fn invalid_data(error: &hyper::Error) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            );
        }
        source = error.source();
    }
    false
}
