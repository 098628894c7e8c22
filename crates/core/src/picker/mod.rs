//! Balancing algorithms, one small file each.
//!
//! A picker sees the eligible members and nothing else: no health, no configuration, no request. Adding an
//! algorithm is a file here, a line in [`algorithm`] and a row in the reference table.
//!
//! ```
//! use lb_core::config::settings::PoolSettings;
//! use lb_core::picker::{Query, Tried, algorithm};
//! use lb_core::{rng::Rng, time::Instant};
//!
//! let nobody = algorithm(&PoolSettings::new("app", Vec::new())).build(&[], None);
//! let (tried, rng) = (Tried::new(), Rng::new(1));
//! let query = Query::new(&tried, Instant::ORIGIN, &rng);
//! assert_eq!(nobody.pick(&query), None);
//! ```

mod digest;
mod hash;
mod ketama;
mod least_requests;
mod maglev;
mod p2c;
mod peak_ewma;
mod random;
mod rendezvous;
mod round_robin;
#[cfg(test)]
mod testing;
mod trace;
mod tried;
mod urn;
mod weighted;

use std::any::Any;
use std::sync::Arc;

pub use digest::digest;
pub(crate) use digest::mix;
pub use hash::Hash;
pub(crate) use hash::identity;
pub use least_requests::LeastRequests;
pub use p2c::{InFlight, Load, P2c};
pub use peak_ewma::PeakEwma;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use trace::{Candidate, Standing, Trace};
pub use tried::Tried;

use crate::config::settings::{Balance, PoolSettings};
use crate::pool::Member;
use crate::rng::Rng;
use crate::time::Instant;

/// Builds what a pick needs (a turn, a ring, a table), once per published snapshot.
pub trait Algorithm: Send + Sync {
    /// A picker over `among`, which are in file order. `before` is the picker of the snapshot before, for
    /// algorithms that carry something over; it may be another algorithm's.
    fn build(&self, among: &[Arc<Member>], before: Option<&dyn Picker>) -> Box<dyn Picker>;
}

/// Chooses among the members it was built for, from any number of threads. Allocates nothing and takes no lock.
pub trait Picker: Any + Send + Sync {
    /// Index of the chosen member, or `None` when none is left that the query [allows](Query::allows).
    fn pick(&self, query: &Query<'_>) -> Option<usize>;

    /// The decision that a pick would make now, with its reasons. It changes nothing.
    fn explain(&self, query: &Query<'_>) -> Trace;
}

/// What one pick is asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Query<'a> {
    /// The digest of what the request is hashed by; `None` when it lacks that, or nobody asked.
    pub key: Option<u64>,
    /// The members this request has tried.
    pub tried: &'a Tried,
    /// The present.
    pub now: Instant,
    /// Randomness.
    pub rng: &'a Rng,
}

impl<'a> Query<'a> {
    /// A query by a request that has tried the members in `tried`.
    pub fn new(tried: &'a Tried, now: Instant, rng: &'a Rng) -> Self {
        Self {
            key: None,
            tried,
            now,
            rng,
        }
    }

    /// The same query by a request with this [`digest`] of its key.
    pub fn with_key(mut self, key: Option<u64>) -> Self {
        self.key = key;
        self
    }

    /// The same query with its randomness borrowed: what is drawn is drawn again by the next pick.
    fn foretelling<R>(&self, ask: impl FnOnce(&Query<'_>) -> R) -> R {
        let rng = self.rng.ahead();
        ask(&Query { rng: &rng, ..*self })
    }

    /// The first member from `start` on, round the end, that may be chosen.
    fn first_allowed(&self, members: &[Arc<Member>], start: usize) -> Option<usize> {
        let (before, after) = members.split_at(start.min(members.len()));
        let allowed = |member: &Arc<Member>| self.allows(member);
        match after.iter().position(allowed) {
            Some(index) => Some(before.len() + index),
            None => before.iter().position(allowed),
        }
    }

    /// May `member` be chosen: not tried yet, and not on a trial that already has its one request?
    pub fn allows(&self, member: &Member) -> bool {
        member.is_open() && !self.tried.contains(member)
    }

    /// The same with its reason, for a [`Trace`].
    pub fn standing(&self, member: &Member) -> Standing {
        if self.tried.contains(member) {
            Standing::Tried
        } else {
            Standing::of(member)
        }
    }
}

/// The algorithm that a pool's `balance` names.
pub fn algorithm(pool: &PoolSettings) -> Box<dyn Algorithm> {
    match &pool.balance {
        Balance::RoundRobin => Box::new(RoundRobin),
        Balance::Random => Box::new(Random),
        Balance::LeastRequests => Box::new(LeastRequests),
        Balance::P2c => Box::new(P2c::<InFlight>::default()),
        Balance::PeakEwma => Box::new(P2c::<PeakEwma>::default()),
        Balance::Hash(by) => Box::new(Hash::new(by, &pool.servers)),
    }
}
