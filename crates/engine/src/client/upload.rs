//! A request on its way: its head, then its body as fast as the stream takes it.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::io::AsyncWrite;
use http::Request;
use http_body::{Body as HttpBody, Frame};
use lb_core::body::Body;
use lb_core::error::BodyError;

use super::codec::{Encoder, Framing, Outgoing, write_head};
use super::failure::Broken;

/// Pieces that are written before others get a turn.
const TURN: usize = 16;

/// The request of an exchange, and what has become of it.
pub(super) struct Upload {
    outgoing: Outgoing,
    encoder: Encoder,
    body: Body,
    /// The body gave its last frame, or there was none.
    ended: bool,
    /// Something of the body was taken that cannot be given back.
    spoiled: bool,
    /// Something was handed to the stream.
    written: bool,
    /// What was written is not flushed yet.
    unflushed: bool,
    /// After a failure nothing more is written; it is told once nothing is left to be read.
    failed: bool,
    failure: Option<Broken>,
}

impl Upload {
    /// None.
    pub(super) fn none() -> Self {
        Self {
            outgoing: Outgoing::default(),
            encoder: Encoder::Exact(0),
            body: Body::empty(),
            ended: true,
            spoiled: false,
            written: false,
            unflushed: false,
            failed: false,
            failure: None,
        }
    }

    /// Begins one with the head of `request`, whose body it takes.
    pub(super) fn begin(&mut self, request: &mut Request<Body>, framing: Framing) {
        self.encoder = Encoder::new(framing, request.headers());
        write_head(request, self.outgoing.front());
        self.body = mem::take(request.body_mut());
        self.ended = self.is_over();
        self.spoiled = false;
        self.written = false;
    }

    /// Was something handed to the stream?
    pub(super) fn is_written(&self) -> bool {
        self.written
    }

    /// Did the body give its last frame?
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Is all of it with the stream?
    pub(super) fn is_done(&self) -> bool {
        self.ended && !self.failed && !self.unflushed && self.outgoing.is_empty()
    }

    /// Why it will never be done.
    pub(super) fn take_failure(&mut self) -> Option<Broken> {
        self.failure.take()
    }

    /// The body, if nothing at all was handed to the stream.
    pub(super) fn take_back(&mut self) -> Option<Body> {
        if self.written || self.spoiled {
            return None;
        }
        let first = self.outgoing.data().clone();
        let rest = mem::take(&mut self.body);
        Some(if self.ended {
            Body::from(first)
        } else if first.is_empty() {
            rest
        } else {
            Body::stream(Rejoined { first, rest })
        })
    }

    /// Writes what the stream takes now.
    pub(super) fn poll<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) {
        if self.failed || self.is_done() {
            return;
        }
        if let Poll::Ready(Err(broken)) = self.poll_turn(stream, cx) {
            self.failed = true;
            self.failure = Some(broken);
        }
    }

    fn poll_turn<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..TURN {
            let waits = !self.ended && self.outgoing.has_room() && self.fill(cx)?.is_pending();
            if !self.outgoing.is_empty() {
                self.unflushed = true;
                let count = ready!(self.poll_write(stream, cx))?;
                self.written = true;
                self.outgoing.advance(count);
            } else if waits || self.ended {
                ready!(Pin::new(stream).poll_flush(cx))?;
                self.unflushed = false;
                return if waits {
                    Poll::Pending
                } else {
                    Poll::Ready(Ok(()))
                };
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        let count = ready!(match self.outgoing.framing_alone() {
            Some(framing) => stream.poll_write(cx, framing),
            None => stream.poll_write_vectored(cx, &self.outgoing.slices().map(IoSlice::new)),
        })?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(count))
    }

    /// Takes a frame of the body, if there is one.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let taken = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let framed = self.frame(taken);
        self.spoiled |= framed.is_err();
        if self.ended {
            // What feeds it is not to live as long as the connection.
            self.body = Body::empty();
        }
        Poll::Ready(framed)
    }

    fn frame(&mut self, taken: Option<Result<Frame<Bytes>, BodyError>>) -> Result<(), Broken> {
        let Some(frame) = taken.transpose()? else {
            self.ended = true;
            return Ok(self.encoder.end(&mut self.outgoing)?);
        };
        match frame.into_data() {
            Ok(data) => {
                self.ended = self.is_over();
                self.encoder.data(data, self.ended, &mut self.outgoing)?;
            }
            Err(frame) => {
                self.ended = true;
                self.spoiled = true;
                let trailers = frame.into_trailers().unwrap_or_default();
                self.encoder.trailers(&trailers, &mut self.outgoing)?;
            }
        }
        Ok(())
    }

    /// Will there be no more, as far as the body knows? In chunks trailers may come where no data does.
    fn is_over(&self) -> bool {
        let trailers = matches!(self.encoder, Encoder::Chunked(_));
        self.body.is_end_stream() || (!trailers && self.body.size_hint().exact() == Some(0))
    }
}

/// A body that was begun, from its beginning.
struct Rejoined {
    first: Bytes,
    rest: Body,
}

impl HttpBody for Rejoined {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.rest).poll_frame(cx);
        }
        Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.first)))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let rest = self.rest.size_hint();
        let first = self.first.len() as u64;
        let mut hint = http_body::SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(first));
        }
        hint
    }
}

#[cfg(test)]
mod tests;
