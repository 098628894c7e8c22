//! The engine's HTTP client over these sockets, for those who embed the core.

use std::sync::Arc;

use lb_core::rng::Rng;
use lb_engine::client::{Client, ClientSettings};
use lb_engine::names::Names;

use crate::{AsyncStdNet, AsyncStdTimer};

/// An HTTP/1.1 [`Transport`](lb_core::transport::Transport) on async-std.
///
/// Drive [`sweep`](Client::sweep) beside it, or kept connections are closed only when they are found dead.
pub type AsyncStdTransport = Client<AsyncStdNet, AsyncStdTimer>;

/// A transport for backends with literal addresses, with the product's defaults. For host names, or other limits,
/// use [`Client::new`] with [`Names`] of your own.
pub fn transport(timer: AsyncStdTimer) -> AsyncStdTransport {
    Client::new(
        AsyncStdNet,
        timer,
        Arc::new(Names::default()),
        ClientSettings::default(),
        // It only spreads the ages at which connections are closed.
        Rng::new(0),
    )
}
