//! One connection to a server: its stream, what came and was not read yet, and the request that is on its way.
//!
//! Whoever waits for an answer, or for a piece of its body, drives it: each poll writes what can be written and reads what
//! is there.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use hyper::rt::{Read, ReadBuf, Write};
use lb_core::backend::Address;
use lb_core::body::Body;
use lb_core::time::Instant;

use super::codec::{Decoded, Decoder, Framing, Head, HeadReader, Invalid};
use super::failure::Broken;
use super::read::poll_read;
use super::upload::Upload;

/// What a stream must be to carry a connection.
pub(crate) trait Stream: Read + Write + Send + Unpin + 'static {}
impl<S: Read + Write + Send + Unpin + 'static> Stream for S {}

/// A connection and what is known about it.
pub(super) struct Link<S: Stream> {
    stream: S,
    /// What was read, and belongs to nobody yet.
    input: Bytes,
    upload: Upload,
    /// The server it leads to.
    pub(super) address: Arc<Address>,
    /// When it is too old to be kept.
    pub(super) expires: Instant,
    /// How many requests it has served.
    pub(super) served: u32,
    /// How long it may rest, if its server said so.
    pub(super) rest: Option<Duration>,
    /// Whether it may serve another request once this one is over.
    pub(super) reusable: bool,
}

impl<S: Stream> Link<S> {
    pub(super) fn new(stream: S, address: Arc<Address>, expires: Instant) -> Self {
        Self {
            stream,
            input: Bytes::new(),
            upload: Upload::none(),
            address,
            expires,
            served: 0,
            rest: None,
            reusable: true,
        }
    }

    /// Begins an exchange. The body of `request` is taken out of it.
    pub(super) fn begin(&mut self, request: &mut Request<Body>, framing: Framing) {
        self.upload.begin(request, framing);
    }

    /// The request of the exchange.
    pub(super) fn upload(&mut self) -> &mut Upload {
        &mut self.upload
    }

    /// The head of the answer, whose fields replace what is in `fields`.
    pub(super) fn poll_head(
        &mut self,
        reader: &mut HeadReader,
        fields: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Head, Broken>> {
        loop {
            if !ready!(self.poll_more(cx))? {
                return Poll::Ready(Err(Broken::Closed));
            }
            if let Some(head) = reader.read(&mut self.input, fields)? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// What comes next in the body of the answer.
    pub(super) fn poll_body(
        &mut self,
        decoder: &mut Decoder,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Decoded, Broken>> {
        loop {
            match decoder.decode(&mut self.input)? {
                Decoded::More => {}
                decoded => return Poll::Ready(Ok(decoded)),
            }
            if !ready!(self.poll_more(cx))? {
                return Poll::Ready(if decoder.may_end() {
                    Ok(Decoded::End)
                } else {
                    Err(Broken::Closed)
                });
            }
        }
    }

    /// Writes what can be written, and reads; is there more, or has the server closed?
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
        self.upload.poll(&mut self.stream, cx);
        // Nobody answers what was not asked: what comes before can only be about something else.
        let read = if self.upload.is_written() {
            poll_read(&mut self.stream, cx)
        } else {
            Poll::Pending
        };
        match read {
            Poll::Ready(Ok(bytes)) if !bytes.is_empty() => {
                append(&mut self.input, bytes);
                Poll::Ready(Ok(true))
            }
            // How a connection ends that could not be written to says nothing about the answer.
            end => match (self.upload.take_failure(), end) {
                (Some(failure), _) => Poll::Ready(Err(failure)),
                (None, end) => end.map(|end| end.map(|_| false).map_err(Broken::from)),
            },
        }
    }

    /// Writes what is left of the request.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.upload.poll(&mut self.stream, cx);
        match self.upload.take_failure() {
            Some(failure) => Poll::Ready(Err(failure)),
            None if self.upload.is_done() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    /// After the answer has been read to its end: may another request follow?
    pub(super) fn settle(&mut self) -> bool {
        let settled = self.reusable && self.input.is_empty() && self.upload.is_done();
        // Also the end of a buffer holds it.
        self.input = Bytes::new();
        settled
    }

    /// Between two exchanges: is it open, and silent?
    pub(super) fn check(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        match Pin::new(&mut self.stream).poll_read(cx, buffer.unfilled()) {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(error)) => Err(error.into()),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Err(Broken::Closed),
            Poll::Ready(Ok(())) => Err(Invalid("an answer that nobody asked for").into()),
        }
    }

    /// The stream, and what was read from it.
    pub(super) fn into_stream(self) -> (S, Bytes) {
        (self.stream, self.input)
    }
}

fn append(input: &mut Bytes, more: Bytes) {
    if input.is_empty() {
        *input = more;
        return;
    }
    let mut joined = match std::mem::take(input).try_into_mut() {
        Ok(input) => input,
        Err(lent) => BytesMut::from(&lent[..]),
    };
    joined.extend_from_slice(&more);
    *input = joined.freeze();
}
