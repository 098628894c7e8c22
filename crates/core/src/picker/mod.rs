//! Balancing algorithms, one small file each.

/// The members that one request has tried already: a small inline set.
#[derive(Clone, Debug, Default)]
pub struct Tried;

impl Tried {
    /// No member yet.
    pub fn new() -> Self {
        Self
    }
}
