//! The engine's HTTP client over tokio's sockets, for those who embed the core.

use std::sync::Arc;

use lb_core::rng::Rng;
use lb_engine::client::{Client, ClientSettings};
use lb_engine::names::Names;

use crate::{TokioNet, TokioTimer};

/// An HTTP/1.1 [`Transport`](lb_core::transport::Transport) on tokio.
///
/// One value belongs to one single-threaded runtime or to one multi-threaded one: kept connections are not moved
/// between runtimes. Drive [`sweep`](Client::sweep) beside it, or kept connections are closed only when they are
/// found dead.
pub type TokioTransport = Client<TokioNet, TokioTimer>;

/// A transport for backends with literal addresses, with the product's defaults. For host names, or other limits,
/// use [`Client::new`] with [`Names`] of your own.
pub fn transport(timer: TokioTimer) -> TokioTransport {
    Client::new(
        TokioNet,
        timer,
        Arc::new(Names::default()),
        ClientSettings::default(),
        // It only spreads the ages at which connections are closed.
        Rng::new(0),
    )
}
