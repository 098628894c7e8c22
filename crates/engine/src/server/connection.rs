//! One client connection: hyper's HTTP/1.1 server in front of the forwarder, until the connection ends or
//! becomes a tunnel.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{Either, select};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use lb_core::body::Body;
use lb_core::config::settings::Limits;
use lb_core::error::BodyError;
use lb_core::event::Observer as _;
use lb_core::forward::{Downstream, Forwarder, Tunnel, internal_error};
use lb_core::time::{Instant, Timer};
use lb_core::transport::Transport;
use lb_core::upgrade::{Duplex, UpgradeHandle};

use super::drain::{Drain, Phase};
use super::linger::linger;
use super::request_body::RequestBody;
use super::stream::ClientStream;
use super::watch::{Guard, Stage, Verdict, Watched};
use crate::duplex::{DuplexStream, HyperStream};
use crate::logging::{Field, Level, Log, Throttle};
use crate::rt::Net;

/// How long a connection that is one too many may take for its request: others wait to be told, too.
const BEYOND_PATIENCE: Duration = Duration::from_secs(1);

/// What all connections of a worker have in common.
pub(crate) struct Site<T, C> {
    pub(crate) forwarder: Forwarder<T, C>,
    pub(crate) timer: C,
    pub(crate) http: http1::Builder,
    pub(crate) drain: Arc<Drain>,
    pub(crate) log: Log,
    /// Lines about requests that could not be read.
    pub(crate) malformed: Throttle,
}

/// How much of a request body is read at a time, at most.
const PIECE: usize = 64 * 1024;

/// hyper's server, set up for a proxy. `date` is off where time is simulated: hyper would read the real clock.
pub(crate) fn http1(limits: &Limits, date: bool) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Both ends of a connection's patience are the watch's.
        .header_read_timeout(None)
        .max_headers(limits.header_count)
        .max_header_size(limits.head_bytes)
        // Without this bound one value of half a megabyte passes: hostile-traffic row 50. A head and what a body is
        // read in fit together, so that a head does not push a few bytes of a full piece into a read of their own.
        .max_buf_size(PIECE + limits.head_bytes)
        // A client that closes its side has gone: that is how a backend's work is cancelled.
        .half_close(false)
        .auto_date_header(date);
    builder
}

/// What the parts of one connection share: its stream, its service, its answers.
pub(crate) struct Link {
    pub(crate) watched: Arc<Watched>,
    broken: AtomicBool,
    unread: AtomicBool,
    tunnel: Mutex<Option<Tunnel>>,
    downstream: Downstream,
}

impl Link {
    /// An answer broke off: what was sent of it must not look complete.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn mark_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// A request body was given up before its end: the rest of it is in the way of the next request.
    pub(super) fn mark_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    fn tunnel(&self) -> Option<Tunnel> {
        self.tunnel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Serves one connection to its end; one that is `beyond` the limit is told so with its first request. Dropping the future
/// closes it.
pub(crate) async fn serve<N, T, C>(
    site: Arc<Site<T, C>>,
    stream: N::Stream,
    peer: SocketAddr,
    guard: Guard,
    beyond: bool,
) where
    N: Net,
    T: Transport,
    C: Timer,
{
    let link = Arc::new(Link {
        watched: guard.connection.clone(),
        broken: AtomicBool::new(false),
        unread: AtomicBool::new(false),
        tunnel: Mutex::new(None),
        downstream: match beyond {
            false => Downstream::new(peer, false),
            true => Downstream::new(peer, false).too_many(),
        },
    });
    if beyond {
        link.watched.end_by(site.timer.now() + BEYOND_PATIENCE);
    }
    let stream = ClientStream::<N, C>::new(stream, link.clone(), site.timer.clone());
    // Boxed, because hyper has room for the future also while there is no request, and most connections are idle.
    let service =
        service_fn(|request| Box::pin(answer::<N, T, C>(site.clone(), link.clone(), request)));
    let mut connection = site
        .http
        .serve_connection(HyperStream::new(stream), service)
        .with_upgrades();
    match drive(&mut connection, &link).await {
        Ended::Cut => return,
        Ended::Failed(error) if !error.is_parse() => return,
        // hyper refuses a malformed head by itself, with a bare status; all that is left to us is to say so, where
        // requests that fail are logged at all, and not too often: whoever sends it must not be able to fill a disk.
        Ended::Failed(error) => {
            if site.log.wants_exchanges()
                && let Some(unsaid) = site.malformed.admit(site.timer.now())
            {
                site.log.say(
                    Level::Warn,
                    "malformed request",
                    &[
                        ("client", Field::Text(&link.downstream.peer())),
                        ("cause", Field::Text(&error)),
                        ("unsaid", Field::Number(unsaid as f64)),
                    ],
                );
            }
            link.mark_unread();
        }
        Ended::Well => {}
    }
    // A client that sends ahead may have sent more than hyper has read: to close over that would reset the connection.
    if let Some(parts) = connection.into_parts()
        && (link.is_unread() || !parts.read_buf.is_empty())
    {
        // Boxed, because few connections come here and every one would have to carry it.
        Box::pin(linger(parts.io.into_inner(), &site.timer)).await;
    }
    if let Some(tunnel) = link.tunnel() {
        link.watched.enter(Stage::Tunnel, site.timer.now());
        let cut = poll_fn(|cx| match link.watched.poll_verdict(cx) {
            Verdict::Cut => Poll::Ready(()),
            Verdict::Keep | Verdict::Close => Poll::Pending,
        });
        match select(pin!(tunnel.run()), cut).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }
}

/// How HTTP ended on a connection.
enum Ended {
    Well,
    Failed(hyper::Error),
    /// The watch cut it.
    Cut,
}

/// Drives hyper's server until the connection ends or the watch has had enough of it.
async fn drive<N, C, S>(
    connection: &mut http1::UpgradeableConnection<HyperStream<ClientStream<N, C>>, S>,
    link: &Link,
) -> Ended
where
    N: Net,
    C: Timer,
    S: Service<Request<Incoming>, Response = Response<Answer<C>>, Error = Infallible> + Unpin,
{
    let mut closing = false;
    poll_fn(|cx| {
        match link.watched.poll_verdict(cx) {
            Verdict::Keep => {}
            Verdict::Close if closing => {}
            Verdict::Close => {
                closing = true;
                Pin::new(&mut *connection).graceful_shutdown();
            }
            Verdict::Cut => {
                // An answer that is over for its backend may still wait here for its client.
                if link.watched.stage() == Stage::Busy || link.watched.is_blocked() {
                    link.mark_broken();
                }
                return Poll::Ready(Ended::Cut);
            }
        }
        Pin::new(&mut *connection)
            .poll(cx)
            .map(|ended| match ended {
                Ok(()) => Ended::Well,
                Err(error) => Ended::Failed(error),
            })
    })
    .await
}

async fn answer<N: Net, T: Transport, C: Timer>(
    site: Arc<Site<T, C>>,
    link: Arc<Link>,
    request: Request<Incoming>,
) -> Result<Response<Answer<C>>, Infallible> {
    link.watched.enter(Stage::Busy, site.timer.now());
    let version = request.version();
    let is_head = request.method() == http::Method::HEAD;
    let forwarded = AssertUnwindSafe(
        site.forwarder
            .forward(received::<N, C>(request, &link), &link.downstream),
    )
    .catch_unwind()
    .await;
    let mut response = match forwarded {
        Ok(forwarded) => {
            link.watched.end_by(forwarded.until);
            if forwarded.tunnel.is_some() {
                *link.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = forwarded.tunnel;
            }
            forwarded.response
        }
        // The panic hook has printed where; the process and all other requests go on.
        Err(_panic) => internal_error(is_head),
    };
    // Behind a body that nobody read there is no next request to find, and behind one whose end is the connection's
    // no next answer: hyper would promise to keep the connection all the same.
    let closes = site.drain.has_reached(Phase::Announced)
        || link.downstream.is_too_many()
        || link.is_unread()
        || (version == Version::HTTP_10 && has_unknown_length(response.body()));
    if closes && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        if version == Version::HTTP_10 {
            // To an answer of HTTP/1.1 hyper would add that it keeps the connection.
            *response.version_mut() = version;
        }
    }
    Ok(response.map(|body| Answer {
        body,
        watch: Some(link),
        // Without chunks nothing but a reset tells an HTTP/1.0 client that a body was cut.
        reset_when_cut: version == Version::HTTP_10,
        held: None,
        timer: site.timer.clone(),
    }))
}

fn has_unknown_length(body: &Body) -> bool {
    !body.is_end_stream() && body.size_hint().exact().is_none()
}

/// hyper's request as the core wants it.
fn received<N: Net, C: Timer>(mut request: Request<Incoming>, link: &Arc<Link>) -> Request<Body> {
    if request.headers().contains_key(UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        let handle = UpgradeHandle::new(async move {
            let parts = upgrade
                .await?
                .downcast::<HyperStream<ClientStream<N, C>>>()
                .map_err(|_| "not the stream that hyper was given")?;
            let stream = DuplexStream::behind(parts.read_buf, parts.io.into_inner());
            Ok(Box::new(stream) as Box<dyn Duplex>)
        });
        request.extensions_mut().insert(handle);
    }
    request.map(|incoming| {
        if incoming.is_end_stream() {
            Body::empty()
        } else {
            Body::stream(RequestBody::new(incoming, link.clone()))
        }
    })
}

/// An answer's body on its way to the client. Its end is the end of the exchange for the watch.
struct Answer<C: Timer> {
    body: Body,
    watch: Option<Arc<Link>>,
    reset_when_cut: bool,
    /// A failure that waits until what came before it is on its way.
    held: Option<BodyError>,
    timer: C,
}

impl<C: Timer> Answer<C> {
    fn now(&self) -> Instant {
        self.timer.now()
    }
}

impl<C: Timer> Unpin for Answer<C> {}

impl<C: Timer> HttpBody for Answer<C> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.held.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Poll::Ready(Some(Err(error))) = polled else {
            return polled;
        };
        if self.reset_when_cut
            && let Some(link) = &self.watch
        {
            link.mark_broken();
        }
        // At a failure hyper drops what it has buffered, the head perhaps: let it write that first.
        self.held = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<C: Timer> Drop for Answer<C> {
    fn drop(&mut self) {
        if let Some(link) = self.watch.take() {
            link.watched.rest(self.now());
        }
    }
}
