//! One connection to a server: its stream, what came and was not read yet, and the request that is on its way.
//!
//! Whoever waits for an answer, or for a piece of its body, drives it: each poll writes what can be written and reads what
//! is there.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use lb_core::backend::Address;
use lb_core::body::Body;
use lb_core::time::Instant;

use super::failure::Broken;
use super::upload::Upload;
use crate::http1::{
    Decoded, Decoder, Framing, Invalid, Limits, ResponseHead as Head, ResponseReader as HeadReader,
    Stream, append, poll_read,
};

/// A connection and what is known about it.
pub(super) struct Link<S: Stream> {
    stream: S,
    /// What was read, and belongs to nobody yet.
    input: Bytes,
    upload: Upload,
    /// How large a head may be.
    pub(super) limits: Limits,
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
}

impl<S: Stream> Link<S> {
    pub(super) fn new(stream: S, limits: Limits, address: Arc<Address>, expires: Instant) -> Self {
        Self {
            stream,
            input: Bytes::new(),
            upload: Upload::none(),
            limits,
            address,
            expires,
            served: 0,
            taken: None,
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
        match Pin::new(&mut self.stream).poll_read(cx, &mut byte) {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(error)) => Err(error.into()),
            Poll::Ready(Ok(0)) => Err(Broken::Closed),
            Poll::Ready(Ok(_)) => Err(Invalid("an answer that nobody asked for").into()),
        }
    }

    /// The stream, and what was read from it.
    pub(super) fn into_stream(self) -> (S, Bytes) {
        (self.stream, self.input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::announce_request;
    use futures::io::{AsyncRead, AsyncWrite};
    use std::io;
    use std::task::Waker;

    /// A server that sends so much, then closes, and takes so many bytes before it refuses more.
    struct Server {
        sends: &'static [u8],
        takes: usize,
    }

    impl AsyncRead for Server {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let sent = std::mem::take(&mut self.sends);
            buf[..sent.len()].copy_from_slice(sent);
            Poll::Ready(Ok(sent.len()))
        }
    }

    impl AsyncWrite for Server {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.takes);
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.takes -= count;
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What becomes of a request of some bytes, and whether the connection may be used again.
    fn exchange(server: Server) -> (Result<Vec<u8>, Broken>, bool) {
        let address: std::net::SocketAddr = "192.0.2.1:80".parse().unwrap();
        let address = Arc::new(Address::from(address));
        let limits = Limits {
            bytes: 8192,
            fields: 100,
        };
        let mut link = Link::new(server, limits, address, Instant::NEVER);
        let mut request = Request::post("/").body("x".repeat(1000).into()).unwrap();
        let framing = announce_request(&mut request);
        link.begin(&mut request, framing);
        let answer = answer(&mut link);
        (answer, link.settle())
    }

    fn answer(link: &mut Link<Server>) -> Result<Vec<u8>, Broken> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut reader = HeadReader::new(link.limits, false);
        let fields = &mut HeaderMap::new();
        let Poll::Ready(head) = link.poll_head(&mut reader, fields, &mut cx) else {
            panic!("the server closed");
        };
        let (mut decoder, mut body) = (head?.body, Vec::new());
        loop {
            match link.poll_body(&mut decoder, &mut cx) {
                Poll::Ready(Ok(Decoded::Data(data))) => body.extend_from_slice(&data),
                Poll::Ready(Ok(_)) => return Ok(body),
                Poll::Ready(Err(broken)) => return Err(broken),
                Poll::Pending => panic!("the server closed"),
            }
        }
    }

    const WHOLE: &[u8] = b"HTTP/1.1 413 Too Much\r\ncontent-length: 2\r\n\r\nno";

    #[test]
    fn an_answer_that_came_is_read_though_its_request_could_not_be_written() {
        for (takes, reusable) in [(usize::MAX, true), (100, false)] {
            let (answer, again) = exchange(Server {
                sends: WHOLE,
                takes,
            });
            assert_eq!(answer.unwrap(), b"no");
            assert_eq!(again, reusable);
        }
    }

    #[test]
    fn how_a_connection_ends_that_could_not_be_written_to_does_not_end_an_answer() {
        let sends = b"HTTP/1.1 413 Too Much\r\n\r\nno";
        let taken = exchange(Server {
            sends,
            takes: usize::MAX,
        });
        assert_eq!(taken.0.unwrap(), b"no");
        let refused = exchange(Server { sends, takes: 100 });
        assert!(matches!(refused.0, Err(Broken::Stream(_))));
    }

    #[test]
    fn what_comes_before_a_byte_was_written_is_no_answer() {
        let (answer, again) = exchange(Server {
            sends: WHOLE,
            takes: 0,
        });
        assert!(matches!(answer, Err(Broken::Stream(_))));
        assert!(!again);
    }

    #[test]
    fn bytes_behind_an_answer_make_a_connection_useless() {
        let sends = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n";
        let (answer, again) = exchange(Server {
            sends,
            takes: usize::MAX,
        });
        assert_eq!(answer.unwrap(), b"ok");
        assert!(!again);
    }
}
