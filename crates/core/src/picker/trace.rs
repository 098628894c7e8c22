//! A decision with its reasons.

use std::fmt;
use std::sync::Arc;

use super::Query;
use crate::pool::Member;

/// Whom a pick would choose, among whom, and why. Made only when somebody asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Every eligible member, in file order.
    pub candidates: Vec<Candidate>,
    /// The indexes of those that the lot fell on, in order, where lots are drawn.
    pub drawn: Vec<usize>,
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
    /// What the algorithm compares, where it compares; the smallest wins.
    pub score: Option<f64>,
}

/// What an algorithm made of an eligible member.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// It can be chosen.
    Free,
    /// This request has tried it already.
    Tried,
    /// It carries as much as it may.
    Full,
    /// It is on trial, and the one request that tests it is still running.
    OnTrial,
}

impl Standing {
    /// A short stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Tried => "tried",
            Self::Full => "full",
            Self::OnTrial => "on trial",
        }
    }

    /// What anybody would make of it.
    pub(crate) fn of(member: &Member) -> Self {
        if member.is_full() {
            Self::Full
        } else if member.is_open() {
            Self::Free
        } else {
            Self::OnTrial
        }
    }
}

impl Trace {
    /// What `query` makes of `members`, with the choice and its reason.
    pub(super) fn of(
        members: &[Arc<Member>],
        query: &Query<'_>,
        choice: Option<usize>,
        reason: &'static str,
    ) -> Self {
        let candidate = |member: &Arc<Member>| Candidate {
            name: Arc::clone(member.name()),
            standing: query.standing(member),
            score: None,
        };
        Self {
            candidates: members.iter().map(candidate).collect(),
            drawn: Vec::new(),
            choice,
            reason: match choice {
                Some(_) => reason,
                None if members.is_empty() => "no member is eligible",
                None => "no eligible member is left untried",
            },
        }
    }

    /// The same with those that were drawn.
    pub(super) fn by_lot(mut self, drawn: impl IntoIterator<Item = usize>) -> Self {
        self.drawn.extend(drawn);
        self
    }

    /// The same with each candidate's score.
    pub(super) fn scored(mut self, scores: impl Iterator<Item = f64>) -> Self {
        for (candidate, score) in self.candidates.iter_mut().zip(scores) {
            candidate.score = Some(score);
        }
        self
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, candidate) in self.candidates.iter().enumerate() {
            let mark = if self.choice == Some(index) { "*" } else { "" };
            write!(f, "{mark}{}", candidate.name)?;
            if candidate.standing != Standing::Free {
                write!(f, " ({})", candidate.standing.as_str())?;
            }
            if let Some(score) = candidate.score {
                write!(f, " = {score:.3}")?;
            }
            f.write_str(", ")?;
        }
        f.write_str(self.reason)
    }
}
