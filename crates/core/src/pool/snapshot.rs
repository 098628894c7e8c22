//! What a pick needs, published as one immutable value.

/// The eligible members and the picker that was built for them.
#[derive(Debug)]
pub struct Snapshot;
