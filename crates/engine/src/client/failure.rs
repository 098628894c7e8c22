//! From the errors of the system and of hyper to ours.

use std::error::Error;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

use lb_core::error::{BodyCause, BodyError, Cause, Delivered, Phase, TransportError};

use super::link::Facts;

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

/// Why no response head came, when at least the head of the request was handed to hyper. `error` is what the
/// connection ended with, if it said so, else what hyper answered.
pub(super) fn exchange_failure(error: hyper::Error, facts: &Facts) -> TransportError {
    let phase = if !facts.written.load(Relaxed) {
        Phase::SendHead
    } else if !facts.request_ended.load(Relaxed) {
        Phase::SendBody
    } else {
        Phase::ReceiveHead
    };
    let failure = if facts.request_failed.load(Relaxed) {
        TransportError::delivered(Phase::SendBody, Cause::RequestBody)
    } else if facts.too_many_interim() || is_invalid(&error) {
        invalid_answer()
    } else {
        TransportError::delivered(phase, Cause::Closed)
    };
    failure.with_source(error)
}

/// The backend answered, and not as HTTP has it.
pub(super) fn invalid_answer() -> TransportError {
    TransportError {
        delivered: Delivered::Yes,
        ..TransportError::delivered(Phase::ReceiveHead, Cause::Invalid)
    }
}

/// Why nothing could be sent on a connection that looked open: hyper gave the request back.
pub(super) fn unsent_cause(error: &hyper::Error) -> Cause {
    // hyper says "canceled" and puts what happened to the connection below.
    let below = error
        .source()
        .and_then(|e| e.downcast_ref::<hyper::Error>());
    match below {
        Some(below) if is_invalid(below) => Cause::Invalid,
        _ => Cause::Closed,
    }
}

/// Why a response body broke off.
pub(super) fn body_failure(error: hyper::Error, facts: &Facts) -> BodyError {
    let cause = if facts.request_failed.load(Relaxed) {
        BodyCause::Abandoned
    } else {
        match io_kind(&error) {
            Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => BodyCause::Invalid,
            _ => BodyCause::Closed,
        }
    };
    BodyError::new(cause).with_source(error)
}

/// Did the peer send what HTTP does not allow, also by speaking out of turn?
fn is_invalid(error: &hyper::Error) -> bool {
    // hyper has no predicate for bytes out of turn; it is the one kind without a source that is none of the others.
    let out_of_turn = error.source().is_none()
        && !error.is_incomplete_message()
        && !error.is_canceled()
        && !error.is_closed()
        && !error.is_user()
        && !error.is_shutdown();
    error.is_parse() || out_of_turn
}

/// The kind of the first input or output error among the sources.
fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        source = error.source();
    }
    None
}
