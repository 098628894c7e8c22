//! The pool: who is in, who is eligible, and who gets the next attempt.
//!
//! [`SharedPool`] is what everybody shares. Behind it one plain state machine, told the time, makes all transitions; what
//! it decides is published as a [`Snapshot`], and a pick touches that and atomics only.
//!
//! ```
//! use std::sync::Arc;
//! use lb_core::backend::{Address, Backend};
//! use lb_core::config::settings::{Health, PoolSettings};
//! use lb_core::{event::Silent, picker::Tried, pool::{Outcome, SharedPool}, rng::Rng, time::Instant};
//!
//! let servers = ["a", "b"].map(|host| Backend::new(Address { host: host.into(), port: 80 }));
//! let settings = PoolSettings { health: Health::Off, ..PoolSettings::new("app", servers.to_vec()) };
//! let (rng, now) = (Rng::new(1), Instant::ORIGIN);
//! let pool = SharedPool::new(&settings, rng.split(), Arc::new(Silent), now);
//!
//! let mut tried = Tried::new();
//! let lease = pool.pick(&mut tried, &rng, now).unwrap();
//! assert_eq!(&**lease.member().name(), "a:80");
//! lease.finish(Outcome::Answered(http::StatusCode::OK), now);
//! assert_eq!(pool.view()[0].in_flight, 0);
//! ```

mod adaptive;
mod eligible;
mod late;
mod latency;
mod lease;
mod machine;
mod member;
mod outbox;
mod queue;
mod shared;
mod slot;
pub(crate) mod slow_start;
mod snapshot;
mod sticky;
mod subset;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod view;

pub use lease::{Lease, Outcome};
pub use member::Member;
pub(crate) use queue::Waiting;
pub(crate) use shared::Room;
pub use shared::{SharedPool, UnknownMember};
pub use snapshot::Snapshot;
pub use sticky::Token;
pub use subset::Subset;
pub use view::{Counters, MemberView, Passage, Timeline};
