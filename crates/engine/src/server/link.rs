//! One connection to a client: its stream, what came and was not read yet, and the body of the request that runs.
//!
//! Two parts of the same task share it: the conversation, which reads heads and writes answers, and the body of the request,
//! which whoever sends it on reads. Each holds it only for one poll of the stream.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite};
use lb_core::time::Instant;

use super::watch::Watched;
use crate::http1::{
    Decoded, Decoder, Invalid, Refused, RequestHead, RequestReader, append, poll_read,
};

/// What a client that waits for it is told before its body is read (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection, as its parts share it.
pub(super) struct Link<S> {
    /// Who looks at its deadlines.
    pub(super) watched: Arc<Watched>,
    wire: Mutex<Wire<S>>,
}

struct Wire<S> {
    /// Until the connection is closed or given away.
    stream: Option<S>,
    /// What was read, and belongs to nobody yet.
    input: Bytes,
    /// Which request runs: each has a number, and none is between two of them.
    number: u64,
    /// Finds the body of the last one, until that has ended.
    body: Option<Decoder>,
    /// Nobody wants the rest of that body.
    given_up: bool,
    /// The client waits for a go-ahead before it sends its body.
    expects: bool,
    /// What is left to be written of the go-ahead.
    go_ahead: &'static [u8],
}

/// Why the body of a request broke off.
#[derive(Debug)]
pub(super) enum Broken {
    /// The client closed the connection.
    Closed,
    /// The system says why.
    Stream(io::Error),
    /// The client sent what HTTP does not allow.
    Invalid(Invalid),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

impl From<Invalid> for Broken {
    fn from(rule: Invalid) -> Self {
        Self::Invalid(rule)
    }
}

impl<S> Link<S> {
    pub(super) fn new(stream: S, watched: Arc<Watched>) -> Self {
        Self {
            watched,
            wire: Mutex::new(Wire {
                stream: Some(stream),
                input: Bytes::new(),
                number: 0,
                body: None,
                given_up: false,
                expects: false,
                go_ahead: b"",
            }),
        }
    }

    fn wire(&self) -> MutexGuard<'_, Wire<S>> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the stream, if it is still here.
    pub(super) fn close(&self) {
        self.wire().stream = None;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// The head of the next request; none when there will be no more, or when nobody wants one that has not begun. `now` is
    /// asked for when a part of it is there.
    pub(super) fn poll_head(
        &self,
        reader: &mut RequestReader,
        now: impl Fn() -> Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<RequestHead>, Refused>> {
        let mut wire = self.wire();
        loop {
            if let Some(head) = reader.read(&mut wire.input)? {
                return Poll::Ready(Ok(Some(head)));
            }
            let more = wire.poll_more(cx);
            if more.is_pending() {
                if !wire.input.is_empty() {
                    self.watched.head_begun(&now);
                } else if self.watched.is_unwanted() {
                    // Asked behind the try: what has come by then is answered yet.
                    return Poll::Ready(Ok(None));
                }
            }
            // How a connection ends makes no difference here.
            if !ready!(more).unwrap_or_default() {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// A request begins, whose body `decoder` finds; its number.
    pub(super) fn begin(&self, decoder: Decoder, expects: bool) -> u64 {
        let mut wire = self.wire();
        wire.number += 1;
        wire.expects = expects;
        wire.given_up = false;
        wire.body = (!decoder.is_at_end()).then_some(decoder);
        wire.number
    }

    /// What comes next in the body of the request with this number. Behind its exchange there is nothing for it.
    pub(super) fn poll_body(
        &self,
        number: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Decoded, Broken>> {
        let mut wire = self.wire();
        if wire.number != number {
            return Poll::Ready(Err(Broken::Closed));
        }
        loop {
            match wire.decode()? {
                Decoded::More => {}
                decoded => return Poll::Ready(Ok(decoded)),
            }
            if mem::take(&mut wire.expects) {
                wire.go_ahead = CONTINUE;
            }
            ready!(wire.poll_go_ahead(cx))?;
            if !ready!(wire.poll_more(cx))? {
                return Poll::Ready(Err(Broken::Closed));
            }
        }
    }

    /// The rest of the body of the request with this number is not wanted.
    pub(super) fn give_up(&self, number: u64) {
        let mut wire = self.wire();
        wire.given_up |= wire.number == number;
    }

    /// An answer begins: as far as is known, can the next request be found behind it? Not where the rest of a body that nobody
    /// wants is still to come, nor where the client was not told to go ahead: it is too late to tell it in the middle of the
    /// answer, and nobody knows whether the body will come.
    pub(super) fn begin_answer(&self) -> bool {
        let mut wire = self.wire();
        let waits = mem::take(&mut wire.expects) && wire.body.is_some() && wire.input.is_empty();
        !waits && (!wire.given_up || wire.skip_body())
    }

    /// The exchange is over: can the next request be found?
    pub(super) fn settle(&self) -> bool {
        let mut wire = self.wire();
        // What is skipped must not be missing where somebody still reads.
        wire.number += 1;
        let skipped = wire.skip_body();
        if wire.input.is_empty() {
            // Also the end of a buffer holds it.
            wire.input = Bytes::new();
        }
        skipped
    }

    /// Has something of a request come that is not read?
    pub(super) fn has_input(&self) -> bool {
        !self.wire().input.is_empty()
    }

    /// While an exchange runs whose request has come as a whole, read or not: has the client gone?
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut wire = self.wire();
        // Of a client that sends ahead it is not known before its next request is read.
        while wire.has_one_request() {
            if !ready!(wire.poll_more(cx)).unwrap_or_default() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// The stream, and what was read from it; nothing if it is closed.
    pub(super) fn take(&self) -> Option<(S, Bytes)> {
        let mut wire = self.wire();
        let input = mem::take(&mut wire.input);
        wire.stream.take().map(|stream| (stream, input))
    }

    /// Where answers are written.
    pub(super) fn writer(&self) -> Writer<'_, S> {
        Writer(self)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    fn stream(&mut self) -> io::Result<&mut S> {
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Reads; is there more, or has the client closed?
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let more = ready!(poll_read(self.stream()?, cx))?;
        let came = !more.is_empty();
        append(&mut self.input, more);
        Poll::Ready(Ok(came))
    }

    /// Is what is here the rest of the request that runs, all of it and nothing else?
    fn has_one_request(&self) -> bool {
        let left = self.body.as_ref().map_or(Some(0), Decoder::left);
        left == Some(self.input.len() as u64)
    }

    fn decode(&mut self) -> Result<Decoded, Invalid> {
        let Some(decoder) = &mut self.body else {
            return Ok(Decoded::End);
        };
        let decoded = decoder.decode(&mut self.input)?;
        match &decoded {
            Decoded::Data(_) => {
                // It has not waited.
                self.expects = false;
                if decoder.is_at_end() {
                    self.body = None;
                }
            }
            Decoded::Trailers(_) | Decoded::End => self.body = None,
            Decoded::More => {}
        }
        Ok(decoded)
    }

    /// Throws away what is here of the body; is that all of it?
    fn skip_body(&mut self) -> bool {
        while self.body.is_some() {
            match self.decode() {
                Ok(Decoded::More) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        true
    }

    /// Writes what is left of the go-ahead.
    fn poll_go_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.go_ahead.is_empty() {
            let go_ahead = self.go_ahead;
            let count = ready!(Pin::new(self.stream()?).poll_write(cx, go_ahead))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.go_ahead = &go_ahead[count..];
            if self.go_ahead.is_empty() {
                ready!(Pin::new(self.stream()?).poll_flush(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes to the client, behind a go-ahead that was begun.
pub(super) struct Writer<'a, S>(&'a Link<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Writer<'_, S> {
    fn poll_with<T>(
        &self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut wire = self.0.wire();
        ready!(wire.poll_go_ahead(cx))?;
        write(Pin::new(wire.stream()?), cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Writer<'_, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(cx, |stream, cx| stream.poll_close(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Limits;
    use crate::server::watch::Watch;
    use futures::io::Cursor;
    use std::task::Waker;

    #[test]
    fn a_connection_at_rest_holds_nothing_of_what_it_has_read() {
        let guard = Arc::new(Watch::default()).add(Instant::NEVER);
        let text = b"GET / HTTP/1.1\r\nx: y\r\n\r\n".to_vec();
        let link = Link::new(Cursor::new(text), guard.connection.clone());
        let limits = Limits {
            bytes: 8192,
            fields: 100,
        };
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(head) =
            link.poll_head(&mut RequestReader::new(limits), || Instant::NEVER, &mut cx)
        else {
            panic!("it is there");
        };
        let head = head.unwrap().unwrap();
        link.begin(head.body, head.expects);
        drop(head.request);
        assert!(link.settle());
        assert!(
            !link.wire().input.is_unique(),
            "a buffer of which nobody else has any"
        );
    }
}
