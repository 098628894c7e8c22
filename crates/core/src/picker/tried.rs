//! The members that one request has tried already.

use crate::pool::Member;

/// A small inline set of members, so that a retry goes elsewhere under every algorithm.
///
/// It holds [`CAPACITY`](Self::CAPACITY) members; one more pushes out the oldest, which may then be tried again.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    members: [u32; Self::CAPACITY],
    inserted: usize,
}

impl Tried {
    /// How many members it remembers.
    pub const CAPACITY: usize = 16;

    /// No member yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers `member`.
    pub fn insert(&mut self, member: &Member) {
        if !self.contains(member) {
            self.members[self.inserted % Self::CAPACITY] = member.index();
            self.inserted += 1;
        }
    }

    /// Was `member` tried?
    pub fn contains(&self, member: &Member) -> bool {
        self.members[..self.len()].contains(&member.index())
    }

    /// How many members it holds.
    pub fn len(&self) -> usize {
        self.inserted.min(Self::CAPACITY)
    }

    /// Was none tried?
    pub fn is_empty(&self) -> bool {
        self.inserted == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::testing::members;

    #[test]
    fn it_contains_what_was_inserted_and_nothing_else() {
        let members = members(3);
        let mut tried = Tried::new();
        assert!(tried.is_empty() && !tried.contains(&members[0]));
        tried.insert(&members[2]);
        tried.insert(&members[2]);
        assert_eq!(tried.len(), 1);
        assert!(tried.contains(&members[2]) && !tried.contains(&members[0]));
    }

    #[test]
    fn one_too_many_pushes_out_the_oldest() {
        let members = members(Tried::CAPACITY + 1);
        let mut tried = Tried::new();
        for member in &members {
            tried.insert(member);
        }
        assert_eq!(tried.len(), Tried::CAPACITY);
        assert!(!tried.contains(&members[0]));
        assert!(members[1..].iter().all(|member| tried.contains(member)));
    }
}
