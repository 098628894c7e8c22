//! New connections.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use lb_core::backend::Address;
use lb_core::error::{Cause, Phase, TransportError};
use lb_core::time::{Instant, Timer, timeout};

use super::failure::{connect_cause, unsent};
use super::link::Link;
use crate::http1::{Limits, Stream};
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

/// Makes a connection of a stream, unless that has ended already, or brings what nobody asked for.
pub(super) async fn link<S: Stream>(
    stream: S,
    limits: Limits,
    address: &Address,
    expires: Instant,
) -> Result<Box<Link<S>>, TransportError> {
    let address = Arc::new(address.clone());
    let mut link = Box::new(Link::new(stream, limits, address, expires));
    poll_fn(|cx| Poll::Ready(link.check(cx)))
        .await
        .map_err(unsent)?;
    Ok(link)
}
