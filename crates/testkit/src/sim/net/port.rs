//! Ports: bound sockets and their queues of connections that nobody has accepted yet.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use lb_core::rng::Rng;
use lb_engine::rt::Listen;

use super::super::executor::lock;
use super::{Network, SimStream};

/// Connections that may wait at one socket.
const BACKLOG: usize = 4096;

/// The sockets that share one address.
#[derive(Default)]
pub(super) struct Port(BTreeMap<u64, Arc<Queue>>);

impl Port {
    pub(super) fn add(&mut self, id: u64) -> Arc<Queue> {
        self.0.entry(id).or_default().clone()
    }

    /// The socket that gets the next connection: the kernel spreads them by a hash.
    pub(super) fn draw(&self, rng: &Rng) -> Option<Arc<Queue>> {
        if self.0.is_empty() {
            return None;
        }
        let drawn = rng.below(self.0.len() as u64) as usize;
        self.0.values().nth(drawn).cloned()
    }
}

/// Connections that wait to be accepted.
#[derive(Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    streams: VecDeque<(SimStream, SocketAddr)>,
    waker: Option<Waker>,
}

impl Queue {
    pub(super) fn is_full(&self) -> bool {
        lock(&self.0).streams.len() >= BACKLOG
    }

    pub(super) fn push(&self, stream: SimStream, from: SocketAddr) {
        let mut waiting = lock(&self.0);
        waiting.streams.push_back((stream, from));
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A bound and listening socket. Dropping it resets what waits in its queue.
pub struct SimBound {
    network: Arc<Network>,
    address: SocketAddr,
    id: u64,
    queue: Arc<Queue>,
}

impl SimBound {
    pub(super) fn new(
        network: &Arc<Network>,
        address: SocketAddr,
        id: u64,
        queue: Arc<Queue>,
    ) -> Self {
        Self {
            network: network.clone(),
            address,
            id,
            queue,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SimBound {
    fn drop(&mut self) {
        let mut state = lock(&self.network.state);
        if let Some(port) = state.ports.get_mut(&self.address) {
            port.0.remove(&self.id);
            if port.0.is_empty() {
                state.ports.remove(&self.address);
            }
        }
        drop(state);
        let waiting = std::mem::take(&mut lock(&self.queue.0).streams);
        for (stream, _) in &waiting {
            stream.reset_on_drop();
        }
    }
}

/// A listener on the simulated executor. Dropping it closes the socket.
pub struct SimListener(SimBound);

impl SimListener {
    pub(super) fn new(bound: SimBound) -> Self {
        Self(bound)
    }
}

impl Listen for SimListener {
    type Stream = SimStream;

    async fn accept(&mut self) -> io::Result<(SimStream, SocketAddr)> {
        poll_fn(|cx| {
            let mut waiting = lock(&self.0.queue.0);
            match waiting.streams.pop_front() {
                Some(accepted) => Poll::Ready(Ok(accepted)),
                None => {
                    waiting.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
