//! A decision with its reasons: who could be asked, who could not and why, who was, and what came of it.
//!
//! It is data, and it decides nothing. `explain`, the log line of a request that failed and the header that a trusted
//! peer may ask for all show a [`Decision`]; where nobody asks and nothing fails, none is built. Its
//! [`Display`](fmt::Display) is the compact form of the log and the header: one line, bounded, however many members there are.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use http::StatusCode;

use crate::error::Reason;
use crate::event::{State, Trigger};
use crate::picker::Standing;

/// Members that a compact form names: so many eligible ones, and so many others.
pub const LISTED_MAX: usize = 16;

/// Whom a request was, or would be, sent to, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The pool's name.
    pub pool: Arc<str>,
    /// How many members the pool has.
    pub size: usize,
    /// How many of them are eligible.
    pub eligible: usize,
    /// The members in file order: all of them, or some where a [survey](crate::pool::SharedPool::survey) found many.
    pub members: Vec<Considered>,
    /// The choice; `None` where none was looked for.
    pub pick: Option<Pick>,
    /// The attempts that were made, the first one first.
    pub attempts: Vec<Attempted>,
    /// Why there was no further attempt, after one that failed.
    pub stopped: Option<Obstacle>,
}

/// One member of the pool, as the decision saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Considered {
    /// Its name.
    pub name: Arc<str>,
    /// Its share relative to the others.
    pub weight: NonZeroU32,
    /// It gets requests only while no other server can.
    pub backup: bool,
    /// Its state.
    pub state: State,
    /// Attempts in flight there.
    pub in_flight: u32,
    /// What the algorithm makes of it, or why the algorithm does not see it.
    pub standing: Result<Standing, Exclusion>,
    /// What the algorithm compares, where it compares; the smallest wins.
    pub score: Option<f64>,
}

/// Why a member is not eligible.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Exclusion {
    /// Its state keeps it out; what brought it there, if anything happened yet.
    State(Option<Trigger>),
    /// It is a backup, and others can serve.
    Standby,
    /// No probe has told about it, and others are known to be up.
    Unproven,
}

/// Who was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    /// Its name; `None`: nobody.
    pub choice: Option<Arc<str>>,
    /// Whom the lot fell on, in order, where lots are drawn.
    pub drawn: Vec<Arc<str>>,
    /// Why that one, or why nobody.
    pub reason: &'static str,
}

impl Pick {
    /// In the end it was this one: what was foreseen may have been another one, or nobody, when somebody was quicker or the
    /// request had to wait.
    pub(crate) fn settle(&mut self, name: &Arc<str>) {
        if self.choice.as_ref() != Some(name) {
            self.choice = Some(Arc::clone(name));
            self.drawn.clear();
            self.reason = "chosen at a second look";
        }
    }
}

/// One attempt and its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempted {
    /// The member's name.
    pub member: Arc<str>,
    /// How it ended.
    pub end: AttemptEnd,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// With the head of an answer.
    Answered(StatusCode),
    /// Without one.
    Failed(Reason),
    /// Another one beside it was answered first.
    Dropped,
    /// The member stalled, and somebody else was asked meanwhile.
    Stalled,
}

/// Why a failed attempt is not followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// The configuration says so.
    RetriesOff,
    /// As many were made as are allowed.
    RetriesSpent,
    /// The pool has spent its budget.
    Budget,
    /// The fault lies with the client or this machine.
    Ours,
    /// The time that the client may be kept waiting is spent.
    TimedOut,
    /// An answer had begun.
    Answered,
    /// The method is not idempotent (RFC 9110 §9.2.2), and the server may have seen the request.
    Method,
    /// An upgrade whose server may already speak another protocol.
    Upgrade,
    /// The body is larger than what is kept for a repetition.
    BodySize,
    /// The body was not kept to its end.
    BodyGone,
    /// No member is left to ask.
    Nobody,
}

impl Obstacle {
    /// A short stable word, for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RetriesOff => "retries-off",
            Self::RetriesSpent => "retries-spent",
            Self::Budget => "budget-spent",
            Self::Ours => "not-the-server",
            Self::TimedOut => "time-spent",
            Self::Answered => "answered",
            Self::Method => "method",
            Self::Upgrade => "upgrade",
            Self::BodySize => "body-size",
            Self::BodyGone => "body-gone",
            Self::Nobody => "nobody-left",
        }
    }
}

impl fmt::Display for Obstacle {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RetriesOff => "retries are off",
            Self::RetriesSpent => "limits.retries are made",
            Self::Budget => "the retry budget is spent",
            Self::Ours => "the fault is not the server's, and would be the same elsewhere",
            Self::TimedOut => "the time that the client may wait is spent",
            Self::Answered => "an answer had begun",
            Self::Method => {
                "the method is not idempotent, and the server may have seen the request"
            }
            Self::Upgrade => "an upgrade is not repeated",
            Self::BodySize => "the body is larger than the 64 KiB that are kept for a repetition",
            Self::BodyGone => "the body was not kept to its end",
            Self::Nobody => "nobody is left to ask",
        })
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(Some(trigger)) => trigger.fmt(f),
            Self::State(None) => f.write_str("since the start"),
            Self::Standby => f.write_str("a backup, and others can serve"),
            Self::Unproven => f.write_str("not probed yet, and others are up"),
        }
    }
}

impl fmt::Display for AttemptEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "answered {}", status.as_u16()),
            Self::Failed(reason) => f.write_str(reason.as_str()),
            Self::Dropped => f.write_str("dropped"),
            Self::Stalled => f.write_str("stalled"),
        }
    }
}

impl Considered {
    /// May it be picked?
    pub fn is_eligible(&self) -> bool {
        self.standing.is_ok()
    }
}

impl fmt::Display for Considered {
    /// `name`, `name (full) = 3.000` with its score, or `name (suspect, connect failed: refused)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.standing {
            Ok(Standing::Free) => {}
            Ok(standing) => write!(f, " ({})", standing.as_str())?,
            Err(exclusion) => write!(f, " ({}, {exclusion})", self.state.as_str())?,
        }
        match self.score {
            Some(score) => write!(f, " = {score:.3}"),
            None => Ok(()),
        }
    }
}

impl Decision {
    /// Leaves out the members that the compact form does not name.
    pub(crate) fn shorten(&mut self) {
        let choice = self.pick.as_ref().and_then(|pick| pick.choice.clone());
        let mut listed = [0, 0];
        self.members.retain(|member| {
            let listed = &mut listed[usize::from(member.is_eligible())];
            *listed += 1;
            is_listed(*listed - 1, member, choice.as_ref())
        });
    }
}

/// Is this member, the so-manieth of its kind, named in a compact form?
fn is_listed(index: usize, member: &Considered, choice: Option<&Arc<str>>) -> bool {
    index < LISTED_MAX || choice == Some(&member.name)
}

impl fmt::Display for Decision {
    /// One line: `2 of 3 eligible: *b1 = 0.000, b2 = 2.000; out: b3 (down, 3 probes failed: refused); drew b2, b1; two
    /// choices: …; attempts: b1 answered 200`. The star is at the choice.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} eligible", self.eligible, self.size)?;
        let choice = self.pick.as_ref().and_then(|pick| pick.choice.as_ref());
        let eligible = self.members.iter().filter(|member| member.is_eligible());
        list(f, ": ", self.eligible, eligible, choice)?;
        let out = self.members.iter().filter(|member| !member.is_eligible());
        list(f, "; out: ", self.size - self.eligible, out, choice)?;
        if let Some(pick) = &self.pick {
            for (index, name) in pick.drawn.iter().enumerate() {
                let before = if index == 0 { "; drew " } else { ", " };
                write!(f, "{before}{name}")?;
            }
            write!(f, "; {}", pick.reason)?;
        }
        for (index, Attempted { member, end }) in self.attempts.iter().enumerate() {
            let before = if index == 0 { "; attempts: " } else { ", " };
            write!(f, "{before}{member} {end}")?;
        }
        match self.stopped {
            Some(obstacle) => write!(f, "; no retry: {obstacle}"),
            None => Ok(()),
        }
    }
}

/// The first few of `count` members, and the choice.
fn list<'a>(
    f: &mut fmt::Formatter<'_>,
    mut before: &str,
    count: usize,
    members: impl Iterator<Item = &'a Considered>,
    choice: Option<&Arc<str>>,
) -> fmt::Result {
    let mut named = 0;
    for (index, member) in members.enumerate() {
        if !is_listed(index, member, choice) {
            continue;
        }
        let mark = if choice == Some(&member.name) {
            "*"
        } else {
            ""
        };
        write!(f, "{before}{mark}{member}")?;
        before = ", ";
        named += 1;
    }
    match count.saturating_sub(named) {
        0 => Ok(()),
        more => write!(f, "{before}{more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;

    fn member(name: &str, standing: Result<Standing, Exclusion>, state: State) -> Considered {
        Considered {
            name: name.into(),
            weight: NonZeroU32::MIN,
            backup: false,
            state,
            in_flight: 0,
            standing,
            score: None,
        }
    }

    fn decision(members: Vec<Considered>) -> Decision {
        Decision {
            pool: "app".into(),
            size: members.len(),
            eligible: members.iter().filter(|m| m.is_eligible()).count(),
            members,
            pick: None,
            attempts: Vec::new(),
            stopped: None,
        }
    }

    #[test]
    fn the_compact_form_is_one_line_that_tells_all() {
        let refused = Exclusion::State(Some(Trigger::ConnectFailed(Cause::Refused)));
        let full = Decision {
            pick: Some(Pick {
                choice: Some("b1".into()),
                drawn: Vec::new(),
                reason: "round robin: the next in turn",
            }),
            attempts: vec![
                Attempted {
                    member: "b3".into(),
                    end: AttemptEnd::Failed(Reason::Refused),
                },
                Attempted {
                    member: "b1".into(),
                    end: AttemptEnd::Answered(StatusCode::OK),
                },
            ],
            ..decision(vec![
                member("b1", Ok(Standing::Free), State::Up),
                member("b2", Ok(Standing::Full), State::Up),
                member("b3", Err(refused), State::Suspect),
                member("b4", Err(Exclusion::Standby), State::Up),
            ])
        };
        assert_eq!(
            full.to_string(),
            "2 of 4 eligible: *b1, b2 (full); out: b3 (suspect, connect failed: refused), b4 (up, a backup, and others can \
             serve); round robin: the next in turn; attempts: b3 refused, b1 answered 200"
        );
        let none = Decision {
            stopped: Some(Obstacle::Method),
            ..decision(Vec::new())
        };
        assert_eq!(
            none.to_string(),
            "0 of 0 eligible; no retry: the method is not idempotent, and the server may have seen the request"
        );
    }

    #[test]
    fn the_compact_form_tells_scores_and_lots_and_the_choice_however_late_it_comes() {
        let members = (0..40).map(|index| {
            let mut one = member(&format!("b{index}"), Ok(Standing::Free), State::Up);
            one.score = Some(f64::from(index) / 2.0);
            one
        });
        let mut decision = Decision {
            pick: Some(Pick {
                choice: Some("b30".into()),
                drawn: vec!["b39".into(), "b30".into()],
                reason: "the less loaded of two",
            }),
            ..decision(members.collect())
        };
        let text = decision.to_string();
        let start = "40 of 40 eligible: b0 = 0.000, b1 = 0.500, ";
        let end = ", b15 = 7.500, *b30 = 15.000, 23 more; drew b39, b30; the less loaded of two";
        assert!(text.starts_with(start) && text.ends_with(end), "{text}");
        decision.shorten();
        assert_eq!((decision.members.len(), decision.to_string()), (17, text));
    }

    #[test]
    fn the_compact_form_is_bounded_whatever_the_size_of_the_pool() {
        let out = Err(Exclusion::State(None));
        let members = (0..1000).map(|index| match index % 2 {
            0 => member(&format!("b{index}"), Ok(Standing::Free), State::Up),
            _ => member(&format!("b{index}"), out, State::Down),
        });
        let all = decision(members.collect()).to_string();
        assert!(all.starts_with("500 of 1000 eligible: b0, b2, "), "{all}");
        assert!(
            all.contains("b30, 484 more; out: b1 (down, since the start), "),
            "{all}"
        );
        assert!(all.ends_with(", 484 more") && all.len() < 1000, "{all}");
    }

    #[test]
    fn a_choice_that_was_foreseen_keeps_its_reason_and_another_one_does_not() {
        let foreseen = Pick {
            choice: Some("b1".into()),
            drawn: vec!["b1".into()],
            reason: "random: drawn by weight",
        };
        let mut pick = foreseen.clone();
        pick.settle(&"b1".into());
        assert_eq!(pick, foreseen);
        pick.settle(&"b2".into());
        assert_eq!(pick.choice.as_deref(), Some("b2"));
        assert_eq!(pick.reason, "chosen at a second look");
    }
}
