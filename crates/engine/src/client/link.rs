//! One connection to a backend: hyper's two halves, and the facts about it that hyper does not tell.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};
use lb_core::backend::Address;
use lb_core::body::Body;
use lb_core::error::BodyError;
use lb_core::time::Instant;

/// Interim answers (1xx) to one request; a backend that sends more is not one to wait for.
pub(super) const INTERIM_MAX: u32 = 16;

/// What a stream must be to carry a connection.
pub(crate) trait Stream: Read + Write + Send + Unpin + 'static {}
impl<S: Read + Write + Send + Unpin + 'static> Stream for S {}

/// A connection and what is known about it.
pub(super) struct Link<S: Stream> {
    pub(super) sender: SendRequest<Outgoing>,
    connection: Driven<S>,
    pub(super) facts: Arc<Facts>,
    /// The server it leads to.
    pub(super) address: Arc<Address>,
    /// When it is too old to be kept.
    pub(super) expires: Instant,
    /// How many requests it has served.
    pub(super) served: u32,
    /// When it was taken for its present request, and how long it had rested then; nothing where it is new.
    pub(super) taken: Option<(Instant, Duration)>,
    /// How long it may rest, if its server said so.
    pub(super) rest: Option<Duration>,
    /// Whether it may serve another request once this one is over.
    pub(super) reusable: bool,
    /// Why the connection ended, when hyper could tell nobody else.
    pub(super) error: Option<hyper::Error>,
}

/// The half that does the work.
#[expect(clippy::large_enum_variant, reason = "a link is boxed as a whole")]
enum Driven<S: Stream> {
    Plain(Connection<Wire<S>, Outgoing>),
    /// One that may switch protocols; hyper's type for it has no name.
    Upgradable(Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>),
    Done,
}

impl<S: Stream> Link<S> {
    pub(super) fn new(
        sender: SendRequest<Outgoing>,
        connection: Connection<Wire<S>, Outgoing>,
        facts: Arc<Facts>,
        address: Arc<Address>,
        expires: Instant,
    ) -> Self {
        Self {
            sender,
            connection: Driven::Plain(connection),
            facts,
            address,
            expires,
            served: 0,
            taken: None,
            rest: None,
            reusable: true,
            error: None,
        }
    }

    /// Lets the connection make progress. When it ends it is closed, and whatever waited for it is told.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        let ended = match &mut self.connection {
            Driven::Plain(connection) => Pin::new(connection).poll(cx),
            Driven::Upgradable(connection) => connection.as_mut().poll(cx),
            Driven::Done => return,
        };
        if let Poll::Ready(result) = ended {
            self.connection = Driven::Done;
            self.error = result.err();
        }
    }

    /// Lets the connection switch protocols; it is not used for another request then.
    pub(super) fn allow_upgrade(&mut self) {
        self.reusable = false;
        self.connection = match std::mem::replace(&mut self.connection, Driven::Done) {
            Driven::Plain(connection) => Driven::Upgradable(Box::pin(connection.with_upgrades())),
            other => other,
        };
    }

    /// Is it open, with nothing of an exchange left on it?
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.connection, Driven::Plain(_))
            && self.sender.is_ready()
            && !self.facts.unflushed.load(Relaxed)
    }

    /// After the answer has been read to its end: the last step, and whether another request may follow.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>) -> bool {
        // An answer that was complete before the request was: the rest of the request is nobody's business now.
        let request_ended = self.facts.request_ended.load(Relaxed);
        self.drive(cx);
        self.reusable && request_ended && self.is_idle()
    }
}

/// What happened on a connection since the last request on it began. Written where it happens, inside hyper, and
/// read beside it by the same task, so that relaxed ordering is enough.
#[derive(Default)]
pub(super) struct Facts {
    /// The request body gave its last frame, or there was none.
    pub(super) request_ended: AtomicBool,
    /// The request body failed.
    pub(super) request_failed: AtomicBool,
    /// Something was handed to the stream.
    pub(super) written: AtomicBool,
    /// Something was handed to the stream, or is about to be, and not flushed yet.
    unflushed: AtomicBool,
    /// Interim answers seen.
    interim: AtomicU32,
}

impl Facts {
    /// Forgets the exchange before.
    pub(super) fn clear(&self, without_body: bool) {
        self.request_ended.store(without_body, Relaxed);
        self.request_failed.store(false, Relaxed);
        self.written.store(false, Relaxed);
        self.interim.store(0, Relaxed);
    }

    pub(super) fn count_interim(&self) {
        self.interim.fetch_add(1, Relaxed);
    }

    pub(super) fn too_many_interim(&self) -> bool {
        self.interim.load(Relaxed) > INTERIM_MAX
    }
}

/// The stream below hyper.
pub(super) struct Wire<S> {
    stream: S,
    facts: Arc<Facts>,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, facts: Arc<Facts>) -> Self {
        Self { stream, facts }
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        self.facts.unflushed.store(true, Relaxed);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.facts.written.store(true, Relaxed);
        }
    }
}

impl<S: Stream> Read for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper reads past any number of interim answers by itself: this is where that stops.
        if self.facts.too_many_interim() {
            let error = io::Error::new(io::ErrorKind::InvalidData, "too many interim answers");
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Stream> Write for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes its stream once its own buffer is empty.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.facts.unflushed.store(false, Relaxed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request body on its way, whose end and failure are noticed.
pub(super) struct Outgoing {
    pub(super) body: Body,
    facts: Arc<Facts>,
}

impl Outgoing {
    pub(super) fn new(body: Body, facts: Arc<Facts>) -> Self {
        Self { body, facts }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Pending => {}
            Poll::Ready(Some(Err(_))) => self.facts.request_failed.store(true, Relaxed),
            Poll::Ready(Some(Ok(frame))) => {
                // hyper does not ask again after any of these.
                let last = frame.is_trailers()
                    || self.body.is_end_stream()
                    || self.body.size_hint().exact() == Some(0);
                self.facts.request_ended.store(last, Relaxed);
            }
            Poll::Ready(None) => self.facts.request_ended.store(true, Relaxed),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
