//! New connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::client::conn::http1::Builder;
use lb_core::backend::Address;
use lb_core::error::{Cause, Phase, TransportError};
use lb_core::time::{Instant, Timer, timeout};

use super::failure::connect_cause;
use super::link::{Facts, Link, Stream, Wire};
use crate::names::Names;
use crate::rt::Net;

/// Opens a stream to `address`: its addresses are tried in order, and share the time until `deadline` so that a
/// silent one leaves some to those after it.
pub(super) async fn open<N: Net, C: Timer>(
    net: &N,
    timer: &C,
    names: &Names,
    address: &Address,
    deadline: Instant,
) -> Result<N::Stream, TransportError> {
    let candidates = names.lookup(address);
    let mut failure = TransportError::undelivered(Phase::Resolve, Cause::NameNotFound);
    for (index, candidate) in candidates.iter().enumerate() {
        let now = timer.now();
        let left = deadline.saturating_since(now);
        let share = left / u32::try_from(candidates.len() - index).unwrap_or(u32::MAX);
        match timeout(timer, now + share, net.connect(*candidate)).await {
            Ok(Ok(stream)) => {
                names.worked(address, *candidate);
                return Ok(stream);
            }
            Ok(Err(error)) => failure = not_connected(*candidate, error),
            Err(_) => failure = not_connected(*candidate, io::ErrorKind::TimedOut.into()),
        }
        if failure.cause == Cause::LocalLimit {
            // Another address would not have found more of what this machine has run out of.
            break;
        }
    }
    Err(failure)
}

fn not_connected(candidate: SocketAddr, error: io::Error) -> TransportError {
    let cause = connect_cause(&error);
    let error = io::Error::new(error.kind(), format!("{candidate}: {error}"));
    TransportError::undelivered(Phase::Connect, cause).with_source(error)
}

/// Puts hyper on a stream.
pub(super) async fn link<S: Stream>(
    stream: S,
    builder: &Builder,
    address: &Address,
    expires: Instant,
) -> Result<Box<Link<S>>, TransportError> {
    let facts = Arc::new(Facts::default());
    let wire = Wire::new(stream, facts.clone());
    match builder.handshake(wire).await {
        Ok((sender, connection)) => {
            let address = Arc::new(address.clone());
            let link = Link::new(sender, connection, facts, address, expires);
            Ok(Box::new(link))
        }
        Err(error) => {
            Err(TransportError::undelivered(Phase::Connect, Cause::Other).with_source(error))
        }
    }
}
