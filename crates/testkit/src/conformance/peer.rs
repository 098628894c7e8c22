//! The other side of a transport under test: a backend that is scripted byte by byte.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, join, select};
use futures::io::{AsyncRead, AsyncWrite};
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use lb_core::backend::Backend;
use lb_core::body::Body;
use lb_core::error::{BodyError, Delivered, TransportError};
use lb_core::time::{Instant, Timer, timeout};
use lb_core::transport::{Attempt, Capabilities, Reuse, Transport};
use lb_engine::rt::{Listen as _, Net, Runtime};
use socket2::{Domain, Socket, Type};

use super::SETTLE;
use super::net::listen;
use super::wire::{Head, Wire};

pub(super) type Conn<R> = Wire<<<R as Runtime>::Net as Net>::Stream>;

/// A listener on which nobody accepts and whose queue is full: connecting to it gets no answer. Dropping it frees
/// the port.
#[derive(Debug)]
pub struct FullBacklog {
    _listener: Socket,
    _queued: Vec<TcpStream>,
    address: SocketAddr,
}

impl FullBacklog {
    /// Makes one on loopback.
    ///
    /// # Errors
    /// As the system reports them; also when its queue does not get full.
    pub fn new() -> io::Result<Self> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        listener.listen(0)?;
        let address = listener.local_addr()?;
        let address = address.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut queued = Vec::new();
        for _ in 0..32 {
            match TcpStream::connect_timeout(&address, Duration::from_millis(30)) {
                Ok(stream) => queued.push(stream),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Ok(Self {
                        _listener: listener,
                        _queued: queued,
                        address,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the accept queue does not get full"))
    }

    /// Where to knock in vain.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The transport under test, with what it talks to.
pub(super) struct Client<R, T> {
    pub(super) runtime: R,
    pub(super) transport: T,
    pub(super) backend: Backend,
    pub(super) hole: SocketAddr,
}

impl<R: Runtime, T: Transport> Client<R, T> {
    pub(super) fn can(&self) -> Capabilities {
        self.transport.capabilities()
    }

    pub(super) fn attempt<'a>(&self, backend: &'a Backend, reuse: Reuse) -> Attempt<'a> {
        Attempt {
            backend,
            connect_deadline: self.runtime.timer().now() + Duration::from_secs(10),
            reuse,
        }
    }

    pub(super) async fn send(
        &self,
        reuse: Reuse,
        request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        self.send_to(&self.attempt(&self.backend, reuse), request)
            .await
    }

    /// Sends, and checks what every error must say.
    pub(super) async fn send_to(
        &self,
        to: &Attempt<'_>,
        request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        let sent = self.transport.send(to, request).await;
        if let Err(error) = &sent {
            assert_eq!(
                error.delivered == Delivered::No,
                error.unsent.is_some(),
                "the request MUST come back exactly when nothing was sent: {error:?}"
            );
        }
        sent
    }

    /// Sends and reads the answer to its end.
    pub(super) async fn exchange(&self, reuse: Reuse, request: Request<Body>) -> Answer {
        let response = self.send(reuse, request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let (body, trailers) = collect(body).await.expect("a whole body");
        Answer {
            head,
            body,
            trailers,
        }
    }
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) head: http::response::Parts,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

/// Reads a body to its end.
pub(super) async fn collect(mut body: Body) -> Result<(Vec<u8>, Option<HeaderMap>), BodyError> {
    let (mut all, mut trailers) = (Vec::new(), None);
    while let Some(frame) = next(&mut body).await {
        match frame?.into_data() {
            Ok(data) => all.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((all, trailers))
}

/// The next frame of a body.
pub(super) async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, BodyError>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// The scripted backend.
pub(super) struct Peer<R: Runtime> {
    runtime: R,
    listener: <R::Net as Net>::Listener,
}

impl<R: Runtime> Peer<R> {
    pub(super) fn new(runtime: &R) -> (Self, SocketAddr) {
        let (listener, address) = listen(runtime);
        let runtime = runtime.clone();
        (Self { runtime, listener }, address)
    }

    pub(super) async fn accept(&mut self) -> Conn<R> {
        let (stream, _) = self.listener.accept().await.expect("accept");
        Wire::new(stream)
    }

    /// Accepts and reads one whole request.
    pub(super) async fn request(&mut self) -> (Conn<R>, Head, Vec<u8>) {
        let mut conn = self.accept().await;
        let (head, body) = whole_request(&mut conn).await;
        (conn, head, body)
    }

    /// Answers the next request, on whichever connection it comes.
    pub(super) async fn serve(
        &mut self,
        kept: Option<Conn<R>>,
        answer: impl AsRef<[u8]>,
    ) -> Conn<R> {
        let conn = self.either(kept).await;
        self.serve_on(conn, answer).await
    }

    /// The same on a connection that is known.
    pub(super) async fn serve_on(
        &mut self,
        mut conn: Conn<R>,
        answer: impl AsRef<[u8]>,
    ) -> Conn<R> {
        whole_request(&mut conn).await;
        conn.write(answer).await.expect("write the answer");
        conn
    }

    /// Answers the next request with what `answer` makes of its body.
    pub(super) async fn serve_with(
        &mut self,
        kept: Option<Conn<R>>,
        answer: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Conn<R> {
        let mut conn = self.either(kept).await;
        let (_, body) = whole_request(&mut conn).await;
        conn.write(answer(&body)).await.expect("write the answer");
        conn
    }

    /// The connection on which the next request comes: `kept`, or a new one.
    pub(super) async fn either(&mut self, kept: Option<Conn<R>>) -> Conn<R> {
        let Some(mut kept) = kept else {
            return self.accept().await;
        };
        let fresh = match select(pin!(self.accept()), pin!(kept.fill())).await {
            Either::Left((fresh, _)) => Some(fresh),
            Either::Right((Ok(1..), _)) => None,
            Either::Right((_, accept)) => Some(accept.await),
        };
        fresh.unwrap_or(kept)
    }

    /// A connection that is not `old`, which must not be used again because of `why`.
    pub(super) async fn fresh(&mut self, old: &mut Conn<R>, why: &str) -> Conn<R> {
        match select(pin!(self.accept()), pin!(old.fill())).await {
            Either::Left((fresh, _)) => fresh,
            Either::Right((Ok(1..), _)) => panic!("a connection MUST NOT be reused after {why}"),
            Either::Right((_, accept)) => accept.await,
        }
    }

    /// Drives `send`, which nobody answers, until `deadline`, drops it, and returns its connection.
    pub(super) async fn send_and_accept<C: Timer>(
        &mut self,
        send: impl Future<Output = Result<Response<Body>, TransportError>>,
        timer: &C,
        deadline: Instant,
    ) -> Conn<R> {
        let (sent, conn) = join(timeout(timer, deadline, send), self.accept()).await;
        assert!(sent.is_err(), "nobody answered");
        conn
    }

    /// Waits a while to see that nobody connects.
    pub(super) async fn nobody(&mut self, why: &str) {
        let deadline = self.runtime.timer().now() + SETTLE;
        let timer = self.runtime.timer().clone();
        assert!(
            timeout(&timer, deadline, self.listener.accept())
                .await
                .is_err(),
            "{why}"
        );
    }
}

async fn whole_request<S: AsyncRead + AsyncWrite + Unpin>(conn: &mut Wire<S>) -> (Head, Vec<u8>) {
    conn.request()
        .await
        .expect("a well-formed request")
        .expect("a request before the end")
}

/// A request body that counts what is taken from it.
pub(super) struct Counted {
    pub(super) taken: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    pub(super) frame: Bytes,
    /// Frames that are left; then it waits for ever.
    pub(super) frames: usize,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.frames == 0 {
            return Poll::Pending;
        }
        self.frames -= 1;
        self.taken
            .fetch_add(self.frame.len(), std::sync::atomic::Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

/// A request body of some data and trailers.
pub(super) struct WithTrailers(pub(super) Vec<Frame<Bytes>>);

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready((!self.0.is_empty()).then(|| Ok(self.0.remove(0))))
    }
}
