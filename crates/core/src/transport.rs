//! How a request reaches a backend: the one trait that an HTTP client must fill.
//!
//! ```
//! use http::{Request, Response};
//! use lb_core::body::Body;
//! use lb_core::error::TransportError;
//! use lb_core::transport::{Attempt, Transport};
//!
//! /// Answers everything by itself: the smallest transport there is.
//! struct Echo;
//!
//! impl Transport for Echo {
//!     async fn send(&self, _to: &Attempt<'_>, request: Request<Body>) -> Result<Response<Body>, TransportError> {
//!         Ok(Response::new(request.into_body()))
//!     }
//! }
//! ```

use std::future::Future;

use http::{Request, Response};

use crate::backend::Backend;
use crate::body::Body;
use crate::error::{Cause, Phase, TransportError};
use crate::time::Instant;

/// Which connection an attempt may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reuse {
    /// A kept one if there is one.
    Allowed,
    /// Always a new one: probes must meet the server that listens now.
    Fresh,
}

/// One try of a request on one backend.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The server to talk to.
    pub backend: &'a Backend,
    /// When a new connection must be open.
    pub connect_deadline: Instant,
    /// Whether a kept connection will do.
    pub reuse: Reuse,
}

/// What a transport can carry. The default promises nothing but plain requests and responses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// A 101 response yields a duplex stream; see [`upgrade`](crate::upgrade).
    pub upgrades: bool,
    /// Trailers survive in both directions.
    pub trailers: bool,
    /// A response may start before the request body has ended.
    pub early_response: bool,
    /// Header values may hold bytes above 0x7F, and status codes may be unregistered.
    pub opaque_bytes: bool,
}

impl Capabilities {
    /// Everything.
    pub const FULL: Self = Self {
        upgrades: true,
        trailers: true,
        early_response: true,
        opaque_bytes: true,
    };
}

/// An HTTP client, as far as the balancer needs one.
///
/// An implementation
/// * MUST send the request once at most, and report in `delivered` whether anything may have left;
/// * MUST give the request back in [`unsent`](TransportError::unsent), its body unpolled, when nothing was sent;
/// * MUST honour `connect_deadline`; deadlines of head and body are the caller's;
/// * MUST stream: hold at most 64 KiB of a body, and poll the request body only when it can be written;
/// * MUST end a response body with an error, never with a clean end, when the message is incomplete;
/// * MUST NOT reuse a connection after an error, a dropped future or body, or unread bytes;
/// * MUST NOT follow redirects, add cookies, decompress, or retry what may have been delivered.
///
/// The conformance suite tests each line.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` (origin-form URI, `Host` set) and completes with the response head.
    ///
    /// Dropping the future cancels the attempt and leaves no half-used connection behind.
    ///
    /// # Errors
    /// [`TransportError`] if no response head arrived.
    fn send(
        &self,
        to: &Attempt<'_>,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Body>, TransportError>> + Send;

    /// Opens a connection and closes it: the TCP probe. A transport that cannot says so.
    ///
    /// Dropping the future gives the connection up.
    ///
    /// # Errors
    /// [`TransportError`] if no connection was made by the deadline.
    fn check(&self, to: &Attempt<'_>) -> impl Future<Output = Result<(), TransportError>> + Send {
        let _ = to;
        std::future::ready(Err(TransportError::undelivered(
            Phase::Connect,
            Cause::Unsupported,
        )))
    }

    /// What this transport can carry; a message that needs more is refused before a byte is sent.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}
