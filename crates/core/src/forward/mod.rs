//! One request's story: from a head that arrived to the last byte of its answer.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};

use crate::body::Body;
use crate::config::settings::Settings;
use crate::event::Observer;
use crate::pool::SharedPool;
use crate::rng::Rng;
use crate::time::Timer;
use crate::transport::Transport;

/// Where a request came from.
#[derive(Clone, Debug)]
pub struct Downstream {
    /// The client's address.
    pub peer: SocketAddr,
    /// Whether it came over TLS.
    pub secure: bool,
}

/// An answer, and the tunnel that follows it when it switches protocols.
#[derive(Debug)]
pub struct Forwarded {
    /// The answer.
    pub response: Response<Body>,
    /// To be [run](Tunnel::run) once the answer's head is on its way.
    pub tunnel: Option<Tunnel>,
}

/// Two upgraded connections that are to be joined.
#[derive(Debug)]
pub struct Tunnel {}

impl Tunnel {
    /// Copies both ways until both sides are done, one fails, or nothing moved for `limits.tunnel-idle`.
    /// Dropping the future closes both sides.
    pub async fn run(self) {}
}

/// Forwards requests to the members of one pool.
pub struct Forwarder<T, C> {
    _todo: PhantomData<(T, C)>,
}

impl<T: Transport, C: Timer> Forwarder<T, C> {
    /// One forwarder for each worker: they share the pool, not the transport.
    pub fn new(
        settings: &Settings,
        shared: &Arc<Shared>,
        transport: T,
        timer: C,
        rng: Rng,
    ) -> Self {
        let _ = (settings, shared, transport, timer, rng);
        Self { _todo: PhantomData }
    }

    /// Forwards one request as it was received, its URI and headers untouched.
    ///
    /// Dropping the future cancels the attempt that runs and reports the client as gone.
    pub async fn forward(&self, request: Request<Body>, from: &Downstream) -> Forwarded {
        let _ = (request, from);
        Forwarded {
            response: Response::new(Body::empty()),
            tunnel: None,
        }
    }
}

/// What the forwarders of all workers share: the pool, the retry budget, the replay memory, the observer.
pub struct Shared {
    /// The pool.
    pub pool: Arc<SharedPool>,
    /// Who hears about finished exchanges.
    pub observer: Arc<dyn Observer>,
}
