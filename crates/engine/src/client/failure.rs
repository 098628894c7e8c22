//! What breaks an exchange, and what others are told of it.

use std::error::Error;
use std::{fmt, io};

use lb_core::error::{BodyCause, BodyError, Cause, Delivered, Phase, TransportError};

use super::upload::Upload;
use crate::http1::{Invalid, Stopped};

/// ENFILE, EMFILE and ENOBUFS on Linux, ENOBUFS on the BSDs: no name in `std` stands for them.
const LOCAL_LIMITS: [i32; 4] = [23, 24, 105, 55];

/// Why no connection was made.
pub(super) fn connect_cause(error: &io::Error) -> Cause {
    use io::ErrorKind as Kind;
    if error
        .raw_os_error()
        .is_some_and(|code| LOCAL_LIMITS.contains(&code))
    {
        return Cause::LocalLimit;
    }
    match error.kind() {
        Kind::ConnectionRefused => Cause::Refused,
        Kind::TimedOut => Cause::TimedOut,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => Cause::Unreachable,
        // EADDRNOTAVAIL: no local port left. EAGAIN: no room in the routing cache.
        Kind::AddrNotAvailable | Kind::OutOfMemory | Kind::WouldBlock => Cause::LocalLimit,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Cause::Closed,
        Kind::NotFound => Cause::NameNotFound,
        _ => Cause::Other,
    }
}

/// Why a connection is of no more use.
#[derive(Debug)]
pub(super) enum Broken {
    /// The server closed it.
    Closed,
    /// The system says why.
    Stream(io::Error),
    /// The server sent what HTTP does not allow, or spoke out of turn.
    Invalid(Invalid),
    /// The request body failed.
    Request(BodyError),
    /// The request body is not as long as announced.
    Length,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Stream(_) => f.write_str("the connection broke"),
            Self::Invalid(rule) => rule.fmt(f),
            Self::Request(_) => f.write_str("the request body failed"),
            Self::Length => f.write_str("the request body is not as long as announced"),
        }
    }
}

impl Error for Broken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stream(error) => Some(error),
            Self::Request(error) => Some(error),
            Self::Closed | Self::Invalid(_) | Self::Length => None,
        }
    }
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

impl From<Stopped> for Broken {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Stream(error) => Self::Stream(error),
            Stopped::Body(error) => Self::Request(error),
            Stopped::Length => Self::Length,
        }
    }
}

/// Why no head of an answer came, when something of the request may have been sent.
pub(super) fn exchange_failure(broken: Broken, upload: &Upload) -> TransportError {
    let phase = if !upload.is_written() {
        Phase::SendHead
    } else if !upload.is_ended() {
        Phase::SendBody
    } else {
        Phase::ReceiveHead
    };
    let failure = match broken {
        Broken::Closed | Broken::Stream(_) => TransportError::delivered(phase, Cause::Closed),
        Broken::Invalid(_) => invalid_answer(),
        Broken::Request(_) | Broken::Length => {
            TransportError::delivered(Phase::SendBody, Cause::RequestBody)
        }
    };
    failure.with_source(broken)
}

/// The server answered, and not as HTTP has it.
pub(super) fn invalid_answer() -> TransportError {
    TransportError {
        delivered: Delivered::Yes,
        ..TransportError::delivered(Phase::ReceiveHead, Cause::Invalid)
    }
}

/// Why nothing could be sent on a connection.
pub(super) fn unsent(broken: Broken) -> TransportError {
    let cause = match broken {
        Broken::Invalid(_) => Cause::Invalid,
        _ => Cause::Closed,
    };
    TransportError::undelivered(Phase::SendHead, cause).with_source(broken)
}

/// Why a response body broke off.
pub(super) fn body_failure(broken: Broken) -> BodyError {
    let cause = match broken {
        Broken::Closed | Broken::Stream(_) => BodyCause::Closed,
        Broken::Invalid(_) => BodyCause::Invalid,
        Broken::Request(_) | Broken::Length => BodyCause::Abandoned,
    };
    BodyError::new(cause).with_source(broken)
}
