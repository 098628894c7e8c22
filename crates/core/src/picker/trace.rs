//! A decision with its reasons.

use std::fmt;
use std::sync::Arc;

/// Whom a pick would choose, among whom, and why. Made only when somebody asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Every eligible member, in file order.
    pub candidates: Vec<Candidate>,
    /// The index of the chosen one among the candidates.
    pub choice: Option<usize>,
    /// Why that one, or why none.
    pub reason: &'static str,
}

/// One eligible member in a [`Trace`].
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The member's name.
    pub name: Arc<str>,
    /// What the algorithm made of it.
    pub standing: Standing,
}

/// What an algorithm made of an eligible member.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// It can be chosen.
    Free,
    /// This request has tried it already.
    Tried,
    /// It is on trial, and the one request that tests it is still running.
    OnTrial,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, candidate) in self.candidates.iter().enumerate() {
            let mark = if self.choice == Some(index) { "*" } else { "" };
            let standing = match candidate.standing {
                Standing::Free => "",
                Standing::Tried => " (tried)",
                Standing::OnTrial => " (on trial)",
            };
            write!(f, "{mark}{}{standing}, ", candidate.name)?;
        }
        f.write_str(self.reason)
    }
}
