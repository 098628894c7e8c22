//! One client connection: requests are read from it and answered, one after the other, until it ends or becomes a tunnel.

use std::future::{Future, poll_fn};
use std::mem;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::channel::oneshot;
use http::{Method, Request, Response, Version};
use lb_core::body::Body;
use lb_core::error::BoxError;
use lb_core::event::Observer as _;
use lb_core::forward::{Downstream, Forwarded, Forwarder, Tunnel, internal_error};
use lb_core::time::{Instant, Timer};
use lb_core::transport::Transport;
use lb_core::upgrade::{Duplex, UpgradeHandle};

use super::accept::let_others_run;
use super::date;
use super::drain::{Drain, Phase};
use super::linger::linger;
use super::link::Link;
use super::request_body::RequestBody;
use super::stream::ClientStream;
use super::watch::{Guard, Stage, Verdict};
use crate::duplex::DuplexStream;
use crate::http1::{
    Framing, Gathering, Limits, Line, Refused, RequestHead, RequestReader, Sending, Stopped,
    Stream, announce_response, write_response,
};
use crate::logging::{Field, Level, Log, Throttle};
use crate::rt::Net;

/// How long a connection that is one too many may take for its request: others wait to be told, too.
const BEYOND_PATIENCE: Duration = Duration::from_secs(1);
/// Requests that need not be waited for and that are answered before other connections have their turn.
const IN_A_ROW: u32 = 16;
/// How an answer is written.
const GATHERING: Gathering = Gathering {
    enough: 192 * 1024,
    small: 4 * 1024,
};

/// What all connections of a worker have in common.
pub(crate) struct Site<T, C> {
    pub(crate) forwarder: Forwarder<T, C>,
    pub(crate) timer: C,
    /// How large a head may be, and a trailer section.
    pub(crate) limits: Limits,
    /// Whether an answer without a date gets one. Off where time is simulated: it is the real clock's.
    pub(crate) date: bool,
    pub(crate) drain: Arc<Drain>,
    pub(crate) log: Log,
    /// Lines about requests that could not be read.
    pub(crate) malformed: Throttle,
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
    let watched = guard.connection.clone();
    let mut downstream = Downstream::new(peer, false);
    if beyond {
        downstream = downstream.too_many();
        watched.end_by(site.timer.now() + BEYOND_PATIENCE);
    }
    let stream = ClientStream::new(stream, watched.clone(), site.timer.clone());
    let visit = Visit {
        site: &site,
        link: Arc::new(Link::new(stream, watched)),
        downstream,
    };
    let ended = AssertUnwindSafe(visit.converse()).catch_unwind();
    match visit.unless_cut(ended).await {
        Some(Ok(Ended::Well)) => {}
        // Closing over what a client still sends would reset the connection. Boxed, because few connections come here and
        // every one would have to carry it.
        Some(Ok(Ended::Unread)) => {
            if let Some((stream, _)) = visit.link.take() {
                Box::pin(linger(stream, &site.timer)).await;
            }
        }
        // The panic hook has printed where.
        Some(Ok(Ended::Broken) | Err(_)) => visit.reset::<N>(),
        Some(Ok(Ended::Switched(tunnel))) => {
            visit.link.watched.enter(Stage::Tunnel, site.timer.now());
            visit.unless_cut(tunnel.run()).await;
        }
        // What was sent of an answer must not look complete.
        None if visit.link.watched.stage() == Stage::Busy => visit.reset::<N>(),
        None => {}
    }
}

/// How HTTP ended on a connection.
enum Ended {
    /// Nothing is left to be said.
    Well,
    /// What the client still sends is of no use.
    Unread,
    /// An answer broke off, and nothing but a reset shows it.
    Broken,
    /// The connection is a tunnel now.
    Switched(Tunnel),
}

/// A stream that is given away, and what was read from it before.
type Given<S, C> = (ClientStream<S, C>, Bytes);

/// One connection.
struct Visit<'a, S, T, C> {
    site: &'a Site<T, C>,
    link: Arc<Link<ClientStream<S, C>>>,
    downstream: Downstream,
}

impl<S, T, C> Drop for Visit<'_, S, T, C> {
    /// Whoever still has a part in the connection does not keep it open.
    fn drop(&mut self) {
        self.link.close();
    }
}

impl<S, T, C> Visit<'_, S, T, C>
where
    S: Stream,
    T: Transport,
    C: Timer,
{
    /// What becomes of `future`; nothing if the watch has had enough of the connection.
    async fn unless_cut<O>(&self, future: impl Future<Output = O>) -> Option<O> {
        let mut future = pin!(future);
        poll_fn(|cx| match self.link.watched.poll_verdict(cx) {
            Verdict::Cut => Poll::Ready(None),
            Verdict::Keep | Verdict::Close => future.as_mut().poll(cx).map(Some),
        })
        .await
    }

    fn reset<N: Net<Stream = S>>(&self) {
        if let Some((stream, _)) = self.link.take() {
            N::reset(stream.get_ref());
        }
    }

    /// Reads requests and answers them.
    async fn converse(&self) -> Ended {
        let mut reader = RequestReader::new(self.site.limits);
        let mut sending = Sending::none(GATHERING);
        let now = || self.site.timer.now();
        let mut in_a_row = 0;
        loop {
            let head = poll_fn(|cx| {
                let head = self.link.poll_head(&mut reader, now, cx);
                if head.is_pending() {
                    in_a_row = 0;
                }
                head
            });
            match head.await {
                Ok(Some(head)) => {
                    if let Some(ended) = self.exchange(head, &mut sending).await {
                        return ended;
                    }
                    in_a_row += 1;
                    if in_a_row == IN_A_ROW {
                        in_a_row = 0;
                        let_others_run().await;
                    }
                }
                Ok(None) => return Ended::Well,
                Err(refused) => return self.refuse(refused, &mut sending).await,
            }
        }
    }

    /// Answers one request; nothing, if another may follow.
    async fn exchange(&self, head: RequestHead, sending: &mut Sending) -> Option<Ended> {
        let (site, link) = (self.site, &self.link);
        link.watched.run();
        let old = head.request.version() == Version::HTTP_10;
        let to_head = *head.request.method() == Method::HEAD;
        let kept = head.kept;
        let (request, switch) = self.received(head);
        let answered = {
            // Boxed, because a connection has room for it also while there is no request, and most connections are idle.
            let mut answer = Box::pin(self.answer(request, to_head));
            poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending => link.poll_gone(cx).map(|()| None),
            })
            .await
        };
        // A client that closes its side has gone: that is how a backend's work is cancelled.
        let Some(Forwarded {
            mut response,
            tunnel,
            until,
        }) = answered
        else {
            return Some(Ended::Well);
        };
        link.watched.end_by(until);
        let framing = announce_response(&mut response, to_head, old);
        let kept = link.begin_answer()
            && kept
            && framing != Framing::UntilClose
            && !site.drain.has_reached(Phase::Announced)
            && !self.downstream.is_too_many()
            && !link.watched.is_unwanted();
        let version = if old {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        };
        let kept_or_switched = tunnel.is_none().then_some(kept);
        self.begin(response, framing, version, kept_or_switched, sending);
        match self.send(sending).await {
            Ok(()) => {}
            // Without chunks nothing but a reset tells an HTTP/1.0 client that a body was cut. It may read on, also where it
            // has closed its side.
            Err(_) if old => return Some(Ended::Broken),
            Err(_) => return Some(Ended::Well),
        }
        if let Some(tunnel) = tunnel {
            if let (Some(switch), Some(stream)) = (switch, link.take()) {
                // A tunnel that nobody waits for is over.
                let _ = switch.send(stream);
            }
            return Some(Ended::Switched(tunnel));
        }
        let settled = link.settle();
        if !kept {
            // To close over what has come meanwhile would reset the connection.
            let _ = poll_fn(|cx| Poll::Ready(link.poll_gone(cx))).await;
        }
        link.watched.rest(site.timer.now());
        if settled && kept {
            None
        } else if settled && !link.has_input() {
            Some(Ended::Well)
        } else {
            // A client that sends ahead has sent what nobody will answer.
            Some(Ended::Unread)
        }
    }

    /// The request as the core wants it, and where the stream goes if it is switched.
    fn received(&self, head: RequestHead) -> (Request<Body>, Option<oneshot::Sender<Given<S, C>>>) {
        let mut request = head.request;
        let mut switch = None;
        if head.upgrade {
            let (sender, switched) = oneshot::channel::<Given<S, C>>();
            switch = Some(sender);
            let handle = UpgradeHandle::new(async move {
                let (stream, early) = switched.await.map_err(BoxError::from)?;
                Ok(Box::new(DuplexStream::behind(early, stream)) as Box<dyn Duplex>)
            });
            request.extensions_mut().insert(handle);
        }
        let (left, empty) = (head.body.left(), head.body.is_at_end());
        let number = self.link.begin(head.body, head.expects);
        let body = match empty {
            true => Body::empty(),
            false => Body::stream(RequestBody::new(self.link.clone(), number, left)),
        };
        (request.map(|()| body), switch)
    }

    async fn answer(&self, request: Request<Body>, to_head: bool) -> Forwarded {
        let forwarded = self.site.forwarder.forward(request, &self.downstream);
        match AssertUnwindSafe(forwarded).catch_unwind().await {
            Ok(forwarded) => forwarded,
            // The panic hook has printed where; the process and all other requests go on.
            Err(_panic) => Forwarded {
                response: internal_error(to_head),
                tunnel: None,
                until: Instant::NEVER,
            },
        }
    }

    fn begin(
        &self,
        mut response: Response<Body>,
        framing: Framing,
        version: Version,
        kept: Option<bool>,
        sending: &mut Sending,
    ) {
        let body = mem::take(response.body_mut());
        let line = Line {
            version,
            kept,
            date: self.site.date.then_some(date::now),
        };
        let write_head = |to: &mut Vec<u8>| write_response(&response, line, to);
        sending.begin(write_head, response.headers(), framing, body);
    }

    /// Writes an answer, as long as the client is there.
    async fn send(&self, sending: &mut Sending) -> Result<(), Stopped> {
        let mut writer = self.link.writer();
        let sent = poll_fn(|cx| match sending.poll(&mut writer, cx) {
            Poll::Ready(sent) => Poll::Ready(sent),
            Poll::Pending => self.link.poll_gone(cx).map(|()| Err(gone())),
        });
        let sent = sent.await;
        if let Err(Stopped::Body(_) | Stopped::Length) = &sent {
            poll_fn(|cx| sending.poll_rest(&mut writer, cx)).await?;
        }
        sent
    }

    /// Tells a client that its request can't be read.
    async fn refuse(&self, refused: Refused, sending: &mut Sending) -> Ended {
        let site = self.site;
        // Where requests that fail are logged at all, and not too often: whoever sends it must not be able to fill a disk.
        if site.log.wants_exchanges()
            && let Some(unsaid) = site.malformed.admit(site.timer.now())
        {
            site.log.say(
                Level::Warn,
                "malformed request",
                &[
                    ("client", Field::Text(&self.downstream.peer())),
                    ("cause", Field::Text(&refused)),
                    ("unsaid", Field::Number(unsaid as f64)),
                ],
            );
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = refused.status;
        let framing = announce_response(&mut response, false, false);
        self.begin(response, framing, Version::HTTP_11, Some(false), sending);
        match self.send(sending).await {
            Ok(()) => Ended::Unread,
            Err(_) => Ended::Well,
        }
    }
}

/// The client has closed its side.
fn gone() -> Stopped {
    Stopped::Stream(std::io::ErrorKind::UnexpectedEof.into())
}
