//! Bodies on their way through surf: ours as a reader, and a reader as ours.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::io::{AsyncBufRead, AsyncRead};
use http_body::{Body as HttpBody, Frame, SizeHint};
use lb_core::body::Body;
use lb_core::error::{BodyCause, BodyError};

/// A body as surf takes it. Trailers do not fit.
pub(crate) fn to_surf(body: Body) -> surf::Body {
    if let Some(bytes) = body.as_bytes() {
        return surf::Body::from_bytes(bytes.into());
    }
    let length = body.size_hint().exact();
    let reader = BodyReader {
        body: Mutex::new(body),
        chunk: Bytes::new(),
    };
    surf::Body::from_reader(
        reader,
        length.and_then(|length| usize::try_from(length).ok()),
    )
}

/// A body as surf gives it.
pub(crate) fn from_surf(body: surf::Body) -> Body {
    let missing = body.len().map(|length| length as u64);
    if missing == Some(0) {
        return Body::empty();
    }
    Body::stream(SurfBody {
        reader: body,
        missing,
    })
}

/// surf wants its readers `Sync`; a mutex that is never locked makes ours so.
struct BodyReader {
    body: Mutex<Body>,
    chunk: Bytes,
}

impl AsyncBufRead for BodyReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        let body = this.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        while this.chunk.is_empty() {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => this.chunk = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => break,
            }
        }
        Poll::Ready(Ok(&this.chunk))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        bytes::Buf::advance(&mut self.get_mut().chunk, amount);
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let chunk = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = chunk.len().min(buf.len());
        buf[..count].copy_from_slice(&chunk[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

/// A reader that came through surf, as a body again.
struct SurfBody {
    reader: surf::Body,
    /// What is still to come, when the length is known.
    missing: Option<u64>,
}

impl HttpBody for SurfBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let chunk = match ready!(Pin::new(&mut this.reader).poll_fill_buf(cx)) {
            Ok(chunk) => Bytes::copy_from_slice(chunk),
            Err(error) => return Poll::Ready(Some(Err(body_error(error)))),
        };
        if chunk.is_empty() {
            let short = this.missing.is_some_and(|missing| missing > 0);
            return Poll::Ready(short.then(|| Err(BodyCause::Closed.into())));
        }
        Pin::new(&mut this.reader).consume(chunk.len());
        if let Some(missing) = &mut this.missing {
            *missing = missing.saturating_sub(chunk.len() as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        self.missing.map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// The error that went in, if it was one of ours.
fn body_error(error: io::Error) -> BodyError {
    error
        .downcast::<BodyError>()
        .unwrap_or_else(|error| BodyError::new(BodyCause::Closed).with_source(error))
}
