//! The pool: who is in, who is eligible, and who gets the next attempt.

mod lease;
mod member;
mod shared;
mod snapshot;

pub use lease::{Lease, Outcome};
pub use member::Member;
pub use shared::SharedPool;
pub use snapshot::Snapshot;
