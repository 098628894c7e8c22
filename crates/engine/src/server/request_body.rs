//! A client's request body as the core wants it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite};
use http_body::{Body as HttpBody, Frame, SizeHint};
use lb_core::error::{BodyCause, BodyError};

use super::link::{Broken, Link};
use crate::http1::Decoded;

/// The body of the request that runs on a connection. Its first poll is what lets a client go ahead that waits for
/// `100 Continue`, so nobody polls it before there is a backend to take it. Dropped before its end it is given up.
pub(super) struct RequestBody<S: AsyncRead + AsyncWrite + Unpin> {
    link: Arc<Link<S>>,
    /// Which request of the connection it belongs to.
    number: u64,
    /// How much is still to come, if that is known.
    left: Option<u64>,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RequestBody<S> {
    /// A body that has not ended yet.
    pub(super) fn new(link: Arc<Link<S>>, number: u64, left: Option<u64>) -> Self {
        Self {
            link,
            number,
            left,
            ended: false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for RequestBody<S> {
    fn drop(&mut self) {
        if !self.ended {
            self.link.give_up(self.number);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> HttpBody for RequestBody<S> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let decoded = match ready!(self.link.poll_body(self.number, cx)) {
            Ok(decoded) => decoded,
            Err(broken) => return Poll::Ready(Some(Err(failure(broken)))),
        };
        let frame = match decoded {
            Decoded::Data(data) => {
                if let Some(left) = &mut self.left {
                    *left -= data.len() as u64;
                    self.ended = *left == 0;
                }
                Some(Frame::data(data))
            }
            Decoded::Trailers(trailers) => {
                self.ended = true;
                Some(Frame::trailers(trailers))
            }
            Decoded::End | Decoded::More => {
                self.ended = true;
                None
            }
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn failure(broken: Broken) -> BodyError {
    match broken {
        Broken::Invalid(rule) => BodyError::new(BodyCause::Invalid).with_source(rule.to_string()),
        Broken::Closed => BodyCause::Closed.into(),
        Broken::Stream(error) => BodyError::new(BodyCause::Closed).with_source(error),
    }
}
