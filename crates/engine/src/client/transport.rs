//! The client as a [`Transport`].

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use lb_core::body::Body;
use lb_core::error::{Cause, Phase, TransportError};
use lb_core::rng::Rng;
use lb_core::time::{Instant, Timer};
use lb_core::transport::{Attempt, Capabilities, Reuse, Transport};

use super::connect;
use super::exchange::{Failure, exchange};
use super::failure::unsent;
use super::idle::Idle;
use crate::http1::{Framing, Limits, announce_request};
use crate::names::Names;
use crate::rt::Net;

/// Stale kept connections that one request may meet before it gets a new one.
const STALE_MAX: usize = 2;
/// Time between two looks at the idle connections.
const SWEEP: Duration = Duration::from_secs(1);
/// What any server's head may take.
const HEAD_MIN: usize = 8192;

/// What a client keeps and accepts.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Idle connections per server. More of them are kept only while they are used every two seconds.
    pub idle_per_server: usize,
    /// How long a connection may be idle; it should be less than what the servers allow.
    pub idle: Duration,
    /// How old a connection may be to be kept, give or take a tenth.
    pub age: Duration,
    /// Fields in a response head.
    pub header_count: usize,
    /// Size of a response head, and of a trailer section; at least 8 KiB.
    pub head_bytes: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            idle_per_server: 64,
            idle: Duration::from_secs(30),
            age: Duration::from_secs(3600),
            header_count: 100,
            head_bytes: 64 * 1024,
        }
    }
}

/// An HTTP/1.1 client that keeps connections. Clones share them.
///
/// One value per worker: what it keeps belongs to the executor that opened it.
#[derive(Debug)]
pub struct Client<N: Net, C: Timer>(Arc<Inner<N, C>>);

struct Inner<N: Net, C: Timer> {
    net: N,
    timer: C,
    names: Arc<Names>,
    idle: Arc<Idle<N::Stream, C>>,
    limits: Limits,
    age: Duration,
    rng: Rng,
}

impl<N: Net, C: Timer> Clone for Client<N, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<N: Net, C: Timer> std::fmt::Debug for Inner<N, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl<N: Net, C: Timer> Client<N, C> {
    /// A client without connections. `rng` spreads the ages at which they are closed.
    pub fn new(net: N, timer: C, names: Arc<Names>, settings: ClientSettings, rng: Rng) -> Self {
        let limits = Limits {
            bytes: settings.head_bytes.max(HEAD_MIN),
            fields: settings.header_count,
        };
        let idle = Idle::new(timer.clone(), settings.idle_per_server, settings.idle);
        Self(Arc::new(Inner {
            net,
            timer,
            names,
            idle: Arc::new(idle),
            limits,
            age: settings.age,
            rng,
        }))
    }

    /// Closes kept connections that are too old, too many, or closed by their server, about every second until dropped.
    pub async fn sweep(&self) -> Infallible {
        let timer = &self.0.timer;
        loop {
            timer.sleep_until(timer.now() + SWEEP).await;
            self.0.idle.sweep();
        }
    }

    /// Idle connections that are kept.
    #[cfg(test)]
    pub(super) fn idle_count(&self) -> usize {
        self.0.idle.count()
    }

    /// Sends on a new connection. A failure before anything was sent gives the request back.
    async fn send_fresh(
        &self,
        to: &Attempt<'_>,
        mut request: Request<Body>,
        framing: Framing,
    ) -> Result<Response<Body>, TransportError> {
        let inner = &*self.0;
        let address = &to.backend.address;
        let deadline = to.connect_deadline;
        let open = || connect::open(&inner.net, &inner.timer, &inner.names, address, deadline);
        let mut opened = open().await;
        if matches!(&opened, Err(error) if error.cause == Cause::LocalLimit) && inner.idle.clear() {
            // Connections that nobody needs must not keep out one that somebody does.
            opened = open().await;
        }
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => return Err(error.with_unsent(request)),
        };
        let mut link = match connect::link(stream, inner.limits, address, self.expiry()).await {
            Ok(link) => link,
            Err(error) => return Err(error.with_unsent(request)),
        };
        link.reusable = to.reuse == Reuse::Allowed;
        match exchange(link, &mut request, framing, &inner.idle).await {
            Ok(response) => Ok(response),
            Err(Failure::Unsent(broken)) => Err(unsent(broken).with_unsent(request)),
            Err(Failure::Failed(error)) => Err(error),
        }
    }

    /// The age limit, give or take a tenth, so that connections made together are not closed together.
    fn expiry(&self) -> Instant {
        let age = self.0.age;
        let spread = u64::try_from((age / 5).as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(self.0.rng.below(spread));
        self.0.timer.now() + (age - age / 10) + jitter
    }
}

impl<N: Net, C: Timer> Transport for Client<N, C> {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps `request` twice, as an argument and as a variable"
    )]
    fn send(
        &self,
        to: &Attempt<'_>,
        mut request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Body>, TransportError>> + Send {
        async move {
            if request.method() == Method::CONNECT {
                // A 2xx to it would be a tunnel.
                let error = TransportError::undelivered(Phase::SendHead, Cause::Unsupported);
                return Err(error.with_unsent(request));
            }
            let inner = &*self.0;
            let framing = announce_request(&mut request);
            let stale_max = match to.reuse {
                Reuse::Allowed => STALE_MAX,
                Reuse::Fresh => 0,
            };
            for _ in 0..stale_max {
                let Some(link) = inner.idle.take(&to.backend.address) else {
                    break;
                };
                match exchange(link, &mut request, framing, &inner.idle).await {
                    Ok(response) => return Ok(response),
                    Err(Failure::Failed(error)) => return Err(error),
                    // Closed by the server just now: nothing left, nobody needs to know.
                    Err(Failure::Unsent(_)) => {}
                }
            }
            // Boxed, because few requests open a connection and every one would have to carry it.
            Box::pin(self.send_fresh(to, request, framing)).await
        }
    }

    async fn check(&self, to: &Attempt<'_>) -> Result<(), TransportError> {
        let inner = &*self.0;
        let (address, deadline) = (&to.backend.address, to.connect_deadline);
        connect::open(&inner.net, &inner.timer, &inner.names, address, deadline)
            .await
            .map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::FULL
    }
}
