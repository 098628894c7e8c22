//! Host names of backends and the addresses they had when last asked.
//!
//! No request ever waits for a resolver: a control task asks, everybody else reads the last good answer. Literal
//! addresses need no entry. Which server a request goes to is not decided here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use lb_core::backend::Address;
use lb_core::time::{Instant, Timer, timeout};

use crate::rt::Net;

/// Time between two questions about a name that has an answer.
const INTERVAL: Duration = Duration::from_secs(30);
/// Time between two questions while some name has none.
const INTERVAL_UNKNOWN: Duration = Duration::from_secs(1);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Addresses of one name that are kept.
const ADDRESSES_MAX: usize = 16;

/// The addresses of every host name among some backends.
#[derive(Debug, Default)]
pub struct Names {
    table: BTreeMap<Address, ArcSwap<Answer>>,
}

/// What a name stood for when it was last resolved.
#[derive(Debug, Default)]
struct Answer {
    addresses: Vec<SocketAddr>,
    /// The one that last accepted a connection.
    good: AtomicUsize,
}

impl Names {
    /// The names among `addresses`, none of them resolved yet.
    pub fn new<'a>(addresses: impl IntoIterator<Item = &'a Address>) -> Self {
        let named = addresses
            .into_iter()
            .filter(|address| address.literal().is_none());
        Self {
            table: named
                .map(|address| (address.clone(), ArcSwap::default()))
                .collect(),
        }
    }

    /// Where to connect for `address`, in the order to try: the address that worked last, then the resolver's
    /// order. Empty when the name has no address, or is not one of those asked about.
    pub fn lookup(&self, address: &Address) -> Vec<SocketAddr> {
        if let Some(literal) = address.literal() {
            return vec![literal];
        }
        let Some(answer) = self.table.get(address) else {
            return Vec::new();
        };
        let answer = answer.load();
        let mut addresses = answer.addresses.clone();
        let good = answer.good.load(Ordering::Relaxed);
        if good < addresses.len() {
            addresses[..=good].rotate_right(1);
        }
        addresses
    }

    /// Notes that `at` accepted a connection for `address`.
    pub fn worked(&self, address: &Address, at: SocketAddr) {
        if let Some(answer) = self.table.get(address) {
            let answer = answer.load();
            if let Some(index) = answer.addresses.iter().position(|known| *known == at) {
                answer.good.store(index, Ordering::Relaxed);
            }
        }
    }

    /// Asks about every name once, all at the same time, until `deadline`. What is not answered, or not with an
    /// address, keeps its last good answer and comes back with the reason.
    ///
    /// Dropping the future gives the questions up.
    pub async fn resolve<N: Net, C: Timer>(
        &self,
        net: &N,
        timer: &C,
        deadline: Instant,
    ) -> Vec<(Address, io::Error)> {
        let questions = self.table.iter().map(async |(address, answer)| {
            let asked = net.resolve(&address.host, address.port);
            let found = timeout(timer, deadline, asked)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .and_then(some_address);
            match found {
                Ok(addresses) => {
                    publish(answer, addresses);
                    None
                }
                Err(error) => Some((address.clone(), error)),
            }
        });
        let mut failed: Vec<_> = join_all(questions).await.into_iter().flatten().collect();
        failed.sort_by(|(a, _), (b, _)| (&a.host, a.port).cmp(&(&b.host, b.port)));
        failed
    }

    /// Asks about every name again and again, every 30 s, or every second while one has no answer at all, until
    /// dropped. Failures keep the last good answer and are handed to `report`.
    pub async fn refresh<N: Net, C: Timer>(
        &self,
        net: &N,
        timer: &C,
        mut report: impl FnMut(&Address, &io::Error),
    ) -> Infallible {
        if self.table.is_empty() {
            return std::future::pending().await;
        }
        loop {
            let pause = if self.has_unknown() {
                INTERVAL_UNKNOWN
            } else {
                INTERVAL
            };
            timer.sleep_until(timer.now() + pause).await;
            let deadline = timer.now() + PATIENCE;
            for (address, error) in self.resolve(net, timer, deadline).await {
                report(&address, &error);
            }
        }
    }

    fn has_unknown(&self) -> bool {
        self.table
            .values()
            .any(|answer| answer.load().addresses.is_empty())
    }
}

fn some_address(mut addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
    }
    Ok(addresses)
}

/// Replaces an answer; the address that worked last keeps its place in front if it is still there.
fn publish(known: &ArcSwap<Answer>, addresses: Vec<SocketAddr>) {
    let before = known.load();
    if before.addresses == addresses {
        return;
    }
    let good = before
        .addresses
        .get(before.good.load(Ordering::Relaxed))
        .and_then(|good| addresses.iter().position(|address| address == good))
        .unwrap_or(0);
    known.store(Arc::new(Answer {
        addresses,
        good: AtomicUsize::new(good),
    }));
}
