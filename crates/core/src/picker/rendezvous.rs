//! Rendezvous hashing, or highest random weight: key and member meet in a number, and the highest wins.
//!
//! Thaler and Ravishankar, *Using name-based mappings to increase hit rates*, 1998. The order of a key is that of its numbers,
//! so when a member leaves only its keys move, each to its second. Weights are exact: with `u` the number as a fraction the
//! score is `-w / ln u` (Schindelhauer and Schomaker, *Weighted distributed hash tables*, 2005). Within one weight the order
//! of scores is that of the numbers, so one logarithm for each weight is enough.
//!
//! No memory but one number for each member and nothing to build, but a pick looks at every member: the choice for up to
//! a hundred. For more take a [`ketama`](super::ketama) ring.

use std::sync::Arc;

use super::hash::{Ring, by_identity};
use crate::pool::Member;

pub(super) struct Rendezvous {
    /// By weight, and there by identity.
    members: Box<[(u64, u32)]>,
    /// The end of each weight's members, and the weight.
    classes: Box<[(usize, u32)]>,
}

impl Rendezvous {
    pub(super) fn new(among: &[Arc<Member>]) -> Self {
        let weight = |index: u32| among[index as usize].weight();
        let mut members = by_identity(among);
        members.sort_by_key(|&(_, index)| weight(index));
        let classes = members
            .chunk_by(|a, b| weight(a.1) == weight(b.1))
            .scan(0, |end, class| {
                *end += class.len();
                Some((*end, weight(class[0].1)))
            })
            .collect();
        Self {
            members: members.into(),
            classes,
        }
    }
}

impl Ring for Rendezvous {
    const REASON: &'static str = "rendezvous hash: the first in the key's order with room";

    fn first(&self, key: u64, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let (mut from, mut best) = (0, None);
        let mut highest = 0.0;
        for &(end, weight) in &self.classes {
            let winner = meet(&self.members[from..end], key, &fits);
            from = end;
            if let Some((number, index)) = winner {
                // With one weight there is nothing to compare.
                let score = if self.classes.len() > 1 {
                    f64::from(weight) / -fraction(number).ln()
                } else {
                    1.0
                };
                if score > highest {
                    (highest, best) = (score, Some(index as usize));
                }
            }
        }
        best
    }
}

/// The highest number among those that fit, and whose it is. Few are asked: only whoever is higher than all before.
fn meet(members: &[(u64, u32)], key: u64, fits: impl Fn(usize) -> bool) -> Option<(u64, u32)> {
    let mut best = None;
    for &(identity, index) in members {
        let number = meeting(key, identity);
        if best.is_none_or(|(highest, _)| number > highest) && fits(index as usize) {
            best = Some((number, index));
        }
    }
    best
}

/// The number of a key and a member. Both are well mixed already, so one long multiplication, folded, is enough.
fn meeting(key: u64, identity: u64) -> u64 {
    let product = u128::from(key ^ identity) * 0xD1B5_4A32_D192_ED03;
    (product >> 64) as u64 ^ product as u64
}

/// Strictly between zero and one.
fn fraction(number: u64) -> f64 {
    ((number >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_beyond_the_logarithm() {
        for number in [0, 1, u64::MAX / 2, u64::MAX] {
            let score = 1.0 / -fraction(number).ln();
            assert!(score.is_finite() && score > 0.0, "{number}");
        }
    }
}
