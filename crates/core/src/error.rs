//! Errors that answer four questions: who is at fault, in which phase, may the backend have seen the request,
//! and what does the client get?
//!
//! Policy reads these fields and never an error's text.

use std::fmt;

use http::{Request, StatusCode};

use crate::body::Body;

/// Any error as a source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How far an attempt had come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Turning the backend's name into addresses.
    Resolve,
    /// Opening a connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Writing the request head.
    SendHead,
    /// Writing the request body.
    SendBody,
    /// Waiting for and reading the response head.
    ReceiveHead,
    /// Reading the response body.
    ReceiveBody,
    /// Turning the connection into a tunnel.
    Upgrade,
}

impl Phase {
    /// A short stable word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::SendHead => "send head",
            Self::SendBody => "send body",
            Self::ReceiveHead => "receive head",
            Self::ReceiveBody => "receive body",
            Self::Upgrade => "upgrade",
        }
    }
}

/// May the backend have seen the request?
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Delivered {
    /// Not one byte of it left: it may go elsewhere whatever its method.
    No,
    /// Something was written; nobody knows what was read.
    Maybe,
    /// The backend answered.
    Yes,
}

/// Who is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The backend, or the way to it.
    Backend,
    /// The client.
    Client,
    /// This machine: no file descriptor, no local port. It says nothing about the backend.
    Local,
}

/// What went wrong in an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// Nobody listens there.
    Refused,
    /// No route, or no answer from the network.
    Unreachable,
    /// The backend's name has no address.
    NameNotFound,
    /// A deadline of the attempt passed.
    TimedOut,
    /// The backend closed or reset the connection.
    Closed,
    /// The backend sent what is not a valid answer.
    Invalid,
    /// The transport cannot carry this message; see [`Capabilities`](crate::transport::Capabilities).
    Unsupported,
    /// A resource of this machine is used up.
    LocalLimit,
    /// The request body failed: the client went away, stalled, or broke a rule.
    RequestBody,
    /// Anything else; the source says more.
    Other,
}

impl Cause {
    /// A short stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NameNotFound => "name not found",
            Self::TimedOut => "timed out",
            Self::Closed => "closed",
            Self::Invalid => "invalid answer",
            Self::Unsupported => "unsupported",
            Self::LocalLimit => "local limit",
            Self::RequestBody => "request body",
            Self::Other => "failed",
        }
    }
}

/// An attempt failed before a response head arrived.
pub struct TransportError {
    /// How far it had come.
    pub phase: Phase,
    /// What went wrong.
    pub cause: Cause,
    /// Whether the backend may have seen the request.
    pub delivered: Delivered,
    /// The request itself, its body unpolled, whenever nothing of it was sent.
    pub unsent: Option<Box<Request<Body>>>,
    /// The error below this one.
    pub source: Option<BoxError>,
}

impl TransportError {
    /// A failure of which the backend saw nothing; attach the request with [`with_unsent`](Self::with_unsent).
    pub fn undelivered(phase: Phase, cause: Cause) -> Self {
        Self {
            phase,
            cause,
            delivered: Delivered::No,
            unsent: None,
            source: None,
        }
    }

    /// A failure after something was, or may have been, sent.
    pub fn delivered(phase: Phase, cause: Cause) -> Self {
        Self {
            phase,
            cause,
            delivered: Delivered::Maybe,
            unsent: None,
            source: None,
        }
    }

    /// Gives the request back to the caller.
    #[must_use]
    pub fn with_unsent(mut self, request: Request<Body>) -> Self {
        self.unsent = Some(Box::new(request));
        self
    }

    /// Adds the error below.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Who is at fault.
    pub fn fault(&self) -> Fault {
        match self.cause {
            Cause::LocalLimit | Cause::Unsupported => Fault::Local,
            Cause::RequestBody => Fault::Client,
            _ => Fault::Backend,
        }
    }

    /// No connection could be made: the member is suspect.
    pub fn is_connect_failure(&self) -> bool {
        self.fault() == Fault::Backend
            && matches!(self.phase, Phase::Resolve | Phase::Connect | Phase::Tls)
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError")
            .field("phase", &self.phase)
            .field("cause", &self.cause)
            .field("delivered", &self.delivered)
            .field("unsent", &self.unsent.is_some())
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cause.as_str(), self.phase.as_str())
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Why a body ended before its end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BodyCause {
    /// The peer that sends it closed or reset the connection.
    Closed,
    /// Its framing was invalid.
    Invalid,
    /// It made no progress for too long.
    Stalled,
    /// The deadline of the whole request passed.
    Deadline,
    /// It is larger than allowed.
    TooLarge,
    /// The exchange it belongs to was given up.
    Abandoned,
}

/// A body that broke off. Whoever receives it must not let what came so far look complete.
#[derive(Debug)]
pub struct BodyError {
    /// Why.
    pub cause: BodyCause,
    /// The error below this one.
    pub source: Option<BoxError>,
}

impl BodyError {
    /// A body error without a source.
    pub fn new(cause: BodyCause) -> Self {
        Self {
            cause,
            source: None,
        }
    }

    /// Adds the error below.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl From<BodyCause> for BodyError {
    fn from(cause: BodyCause) -> Self {
        Self::new(cause)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            BodyCause::Closed => "connection closed inside a body",
            BodyCause::Invalid => "invalid body framing",
            BodyCause::Stalled => "body made no progress",
            BodyCause::Deadline => "deadline passed inside a body",
            BodyCause::TooLarge => "body larger than allowed",
            BodyCause::Abandoned => "exchange given up",
        })
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Why a request got a local answer instead of a backend's: the one place where reasons become statuses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The request breaks a rule of HTTP that a proxy must insist on.
    BadRequest(&'static str),
    /// CONNECT or TRACE.
    MethodNotAllowed,
    /// An `Expect` other than `100-continue`.
    ExpectationFailed,
    /// The request body is larger than `limits.body-bytes`.
    BodyTooLarge,
    /// The client sent nothing of its body for `limits.body-idle`.
    RequestStalled,
    /// The client's body broke off.
    ClientGone,
    /// No member is eligible.
    NoMember,
    /// There are as many client connections as `limits.connections` says.
    ConnectionLimit,
    /// Every eligible member is at `pool.limits.in-flight-per-server`, and nobody may wait.
    InFlightLimit,
    /// Every eligible member is at `pool.limits.in-flight-per-server`, and as many as `pool.limits.queue.size` wait.
    QueueFull,
    /// The same, and no place was free within `pool.limits.queue.timeout`.
    QueueTimeout,
    /// Every member that could be tried refused the connection.
    Refused,
    /// The backend closed or reset the connection before it answered.
    BackendClosed,
    /// The backend's answer is not valid HTTP, or not one a proxy may pass on.
    InvalidAnswer,
    /// No connection within `pool.limits.connect`.
    ConnectTimeout,
    /// No response head within `pool.limits.first-byte`.
    FirstByteTimeout,
    /// The backend took nothing of the request body for `pool.limits.body-idle`.
    SendTimeout,
    /// The whole exchange took longer than `pool.limits.total`.
    TotalTimeout,
    /// The transport cannot carry the message.
    Unsupported(&'static str),
    /// This machine has no file descriptor or port left.
    LocalLimit,
    /// A bug of ours.
    Internal,
}

impl Reason {
    /// The status of the local answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::ClientGone => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestStalled => StatusCode::REQUEST_TIMEOUT,
            Self::NoMember
            | Self::ConnectionLimit
            | Self::InFlightLimit
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::Refused
            | Self::LocalLimit => StatusCode::SERVICE_UNAVAILABLE,
            Self::BackendClosed | Self::InvalidAnswer => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout
            | Self::FirstByteTimeout
            | Self::SendTimeout
            | Self::TotalTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The `Proxy-Status` error type (RFC 9209 §2.3) of the local answer.
    pub fn proxy_error(self) -> &'static str {
        match self {
            Self::BadRequest(_)
            | Self::MethodNotAllowed
            | Self::ExpectationFailed
            | Self::BodyTooLarge
            | Self::RequestStalled
            | Self::ClientGone => "http_request_error",
            Self::NoMember => "destination_unavailable",
            Self::Refused => "connection_refused",
            Self::BackendClosed => "connection_terminated",
            Self::InvalidAnswer => "http_protocol_error",
            Self::ConnectTimeout => "connection_timeout",
            Self::FirstByteTimeout | Self::TotalTimeout => "http_response_timeout",
            Self::SendTimeout => "connection_write_timeout",
            Self::ConnectionLimit
            | Self::InFlightLimit
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::LocalLimit => "connection_limit_reached",
            Self::Unsupported(_) => "proxy_configuration_error",
            Self::Internal => "proxy_internal_error",
        }
    }

    /// A short stable word: the same in logs, metrics and admin.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad-request",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::ExpectationFailed => "expectation-failed",
            Self::BodyTooLarge => "body-too-large",
            Self::RequestStalled => "request-stalled",
            Self::ClientGone => "client-gone",
            Self::NoMember => "no-member",
            Self::ConnectionLimit => "connection-limit",
            Self::InFlightLimit => "in-flight-limit",
            Self::QueueFull => "queue-full",
            Self::QueueTimeout => "queue-timeout",
            Self::Refused => "refused",
            Self::BackendClosed => "backend-closed",
            Self::InvalidAnswer => "invalid-answer",
            Self::ConnectTimeout => "connect-timeout",
            Self::FirstByteTimeout => "first-byte-timeout",
            Self::SendTimeout => "send-timeout",
            Self::TotalTimeout => "total-timeout",
            Self::Unsupported(_) => "unsupported",
            Self::LocalLimit => "local-limit",
            Self::Internal => "internal",
        }
    }

    /// A sentence for the person who reads the local answer. It names no internal address.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::BadRequest(rule) | Self::Unsupported(rule) => rule,
            Self::MethodNotAllowed => "this method is not forwarded",
            Self::ExpectationFailed => "only the expectation 100-continue is understood",
            Self::BodyTooLarge => "the request body is larger than allowed",
            Self::RequestStalled => "the request body made no progress",
            Self::ClientGone => "the request body broke off",
            Self::NoMember => "no server is available",
            Self::ConnectionLimit => "there are too many connections (limits.connections)",
            Self::InFlightLimit => "the servers are at their limit (in-flight-per-server)",
            Self::QueueFull => {
                "the servers are at their limit (in-flight-per-server), and so is the queue (queue.size)"
            }
            Self::QueueTimeout => {
                "the servers are at their limit (in-flight-per-server) for too long (queue.timeout)"
            }
            Self::Refused => "the servers refuse connections",
            Self::BackendClosed => "the server closed the connection before it answered",
            Self::InvalidAnswer => "the server's answer is not valid",
            Self::ConnectTimeout => "no connection to the server in time",
            Self::FirstByteTimeout => "the server did not answer in time",
            Self::SendTimeout => "the server did not take the request body in time",
            Self::TotalTimeout => "the exchange took longer than allowed",
            Self::LocalLimit => "the load balancer has no connection left",
            Self::Internal => "the load balancer failed",
        }
    }
}
