//! A message on its way: its head, then its body as fast as the stream takes it.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::io::AsyncWrite;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lb_core::body::Body;
use lb_core::error::BodyError;

use super::encoder::{Encoder, WrongLength};
use super::framing::Framing;
use super::outgoing::{Gathering, Outgoing};

/// Pieces that are taken, and writes, before others get a turn.
const TURN: usize = 16;

/// What is written of a message, and what is not yet. One value serves the messages of a connection one after the other.
pub(crate) struct Sending {
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
}

/// Why a message can't be written to its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The stream failed.
    Stream(io::Error),
    /// The body failed.
    Body(BodyError),
    /// The body is not as long as its head announced.
    Length,
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

impl From<BodyError> for Stopped {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<WrongLength> for Stopped {
    fn from(_: WrongLength) -> Self {
        Self::Length
    }
}

impl Sending {
    /// Nothing to send.
    pub(crate) fn none(how: Gathering) -> Self {
        Self {
            outgoing: Outgoing::new(how),
            encoder: Encoder::Exact(0),
            body: Body::empty(),
            ended: true,
            spoiled: false,
            written: false,
            unflushed: false,
        }
    }

    /// Begins a message: `write_head` writes its head, which holds `fields`.
    pub(crate) fn begin(
        &mut self,
        write_head: impl FnOnce(&mut Vec<u8>),
        fields: &HeaderMap,
        framing: Framing,
        body: Body,
    ) {
        self.encoder = Encoder::new(framing, fields);
        write_head(self.outgoing.framing());
        self.body = body;
        self.ended = self.is_over();
        self.spoiled = false;
        self.written = false;
    }

    /// Was something handed to the stream?
    pub(crate) fn is_written(&self) -> bool {
        self.written
    }

    /// Did the body give its last frame?
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Is all of it with the stream?
    pub(crate) fn is_done(&self) -> bool {
        self.ended && !self.unflushed && self.outgoing.is_empty()
    }

    /// The body, if nothing at all was handed to the stream. Not where pieces are copied: they would be missing.
    pub(crate) fn take_back(&mut self) -> Option<Body> {
        if self.written || self.spoiled {
            return None;
        }
        let first = self.outgoing.take_pieces();
        let rest = mem::take(&mut self.body);
        Some(if first.is_empty() {
            rest
        } else {
            Body::stream(Rejoined { first, rest })
        })
    }

    /// Writes what the stream takes now; done when all of it is with the stream.
    pub(crate) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        for _ in 0..TURN {
            let waits = self.poll_fill(cx)?.is_pending();
            if !self.outgoing.is_empty() {
                self.unflushed = true;
                ready!(self.poll_write(stream, cx))?;
            } else if waits || self.ended {
                ready!(Pin::new(stream).poll_flush(cx))?;
                self.unflushed = false;
                return match waits {
                    true => Poll::Pending,
                    false => Poll::Ready(Ok(())),
                };
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// After the body has failed: writes what came before.
    pub(crate) fn poll_rest<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            ready!(self.poll_write(stream, cx))?;
        }
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = Pin::new(stream);
        let outgoing = &self.outgoing;
        let count = ready!(match outgoing.alone() {
            Some(bytes) => stream.poll_write(cx, bytes),
            None => outgoing.with_slices(|slices| stream.poll_write_vectored(cx, slices)),
        })?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written = true;
        self.outgoing.advance(count);
        Poll::Ready(Ok(()))
    }

    /// Takes frames of the body, if there are some, as long as there is room.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        for _ in 0..TURN {
            if self.ended || !self.outgoing.has_room() {
                break;
            }
            let taken = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let framed = self.frame(taken);
            self.spoiled |= framed.is_err();
            if self.ended {
                // What feeds it is not to live as long as the connection.
                self.body = Body::empty();
            }
            framed?;
        }
        Poll::Ready(Ok(()))
    }

    fn frame(&mut self, taken: Option<Result<Frame<Bytes>, BodyError>>) -> Result<(), Stopped> {
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
    first: VecDeque<Bytes>,
    rest: Body,
}

impl HttpBody for Rejoined {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        let first: u64 = self.first.iter().map(|data| data.len() as u64).sum();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(first));
        }
        hint
    }
}

#[cfg(test)]
mod tests;
