//! Rendezvous hashing, or highest random weight: key and member meet in a number, and the highest wins.
//!
//! Thaler and Ravishankar, *Using name-based mappings to increase hit rates*, 1998. The order of a key is that of its numbers,
//! so when a member leaves only its keys move, each to its second. Weights are exact: with `u` the number as a fraction
//! the least `-ln u / w` wins (Schindelhauer and Schomaker, *Weighted distributed hash tables*, 2005). Within one weight
//! that is the order of the numbers; and `-ln u` is never below `1 - u`, so that a logarithm is taken only for the
//! weights whose highest number may still win.
//!
//! No memory but one number for each member and nothing to build, but a pick looks at every member: the choice for up to
//! a hundred. For more take a [`ketama`](super::ketama) ring.

use std::cmp::Reverse;
use std::sync::Arc;

use super::hash::{Ring, by_identity};
use crate::pool::Member;

/// How many numbers are compared side by side.
const LANES: usize = 2;

pub(super) struct Rendezvous {
    /// By class, and there by identity.
    identities: Box<[u64]>,
    /// Whose they are.
    indexes: Box<[u32]>,
    /// The likeliest winner first, so that few of the others may still win.
    classes: Box<[Class]>,
}

/// The members of one weight.
struct Class {
    /// Where they end.
    end: usize,
    /// One divided by their weight.
    per_weight: f64,
}

impl Rendezvous {
    pub(super) fn new(among: &[Arc<Member>]) -> Self {
        let weight = |&(_, index): &(u64, u32)| among[index as usize].weight();
        let mut members = by_identity(among);
        members.sort_by_key(weight);
        let mut classes: Vec<_> = members.chunk_by(|a, b| weight(a) == weight(b)).collect();
        classes.sort_by_key(|class| Reverse(class.len() as u64 * u64::from(weight(&class[0]))));
        let (identities, indexes) = classes.iter().copied().flatten().copied().unzip();
        let ends = classes.iter().scan(0, |end, class| {
            *end += class.len();
            let per_weight = 1.0 / f64::from(weight(&class[0]));
            Some(Class {
                end: *end,
                per_weight,
            })
        });
        Self {
            classes: ends.collect(),
            identities: Vec::into_boxed_slice(identities),
            indexes: Vec::into_boxed_slice(indexes),
        }
    }
}

impl Ring for Rendezvous {
    const REASON: &'static str = "rendezvous hash: the first in the key's order with room";

    fn first(&self, key: u64, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let (mut from, mut best) = (0, None);
        let mut least = f64::INFINITY;
        for class in &self.classes {
            let (identities, indexes) = (&self.identities[from..class.end], &self.indexes[from..]);
            from = class.end;
            let fits = |at: usize| fits(indexes[at] as usize);
            let (mut number, mut at) = highest(identities, key);
            if (1.0 - fraction(number)) * class.per_weight >= least {
                continue;
            }
            if !fits(at) {
                match highest_that_fits(identities, key, fits) {
                    Some(second) => (number, at) = second,
                    None => continue,
                }
            }
            // With one weight there is nothing to compare.
            let cost = match self.classes.len() {
                1 => 0.0,
                _ => -fraction(number).ln() * class.per_weight,
            };
            if cost < least {
                (least, best) = (cost, Some(indexes[at] as usize));
            }
        }
        best
    }
}

/// The highest number, and where it is. Nothing here is left to the processor's guess, and several go side by side.
fn highest(identities: &[u64], key: u64) -> (u64, usize) {
    let mut lanes = [(0, 0); LANES];
    let mut rows = identities.chunks_exact(LANES);
    let mut at = 0;
    for row in &mut rows {
        for (lane, &identity) in lanes.iter_mut().zip(row) {
            *lane = higher(*lane, (meeting(key, identity), at));
            at += 1;
        }
    }
    for (lane, &identity) in lanes.iter_mut().zip(rows.remainder()) {
        *lane = higher(*lane, (meeting(key, identity), at));
        at += 1;
    }
    lanes.into_iter().fold((0, 0), higher)
}

/// The one with the higher number.
fn higher(one: (u64, usize), other: (u64, usize)) -> (u64, usize) {
    let wins = other.0 > one.0;
    let number = if wins { other.0 } else { one.0 };
    (number, if wins { other.1 } else { one.1 })
}

/// The same among those that fit. Few are asked: only whoever is higher than all before.
fn highest_that_fits(
    identities: &[u64],
    key: u64,
    fits: impl Fn(usize) -> bool,
) -> Option<(u64, usize)> {
    let mut best = None;
    for (at, &identity) in identities.iter().enumerate() {
        let number = meeting(key, identity);
        if best.is_none_or(|(highest, _)| number > highest) && fits(at) {
            best = Some((number, at));
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
    use crate::pool::testing::weighted;
    use crate::rng::Rng;

    #[test]
    fn no_number_is_beyond_the_logarithm() {
        for number in [0, 1, u64::MAX / 2, u64::MAX] {
            let cost = -fraction(number).ln();
            assert!(cost.is_finite() && cost > 0.0, "{number}");
        }
    }

    /// The definition, without a shortcut.
    fn winner(among: &[Arc<Member>], key: u64, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let cost = |&(identity, index): &(u64, u32)| {
            let weight = f64::from(among[index as usize].weight());
            -fraction(meeting(key, identity)).ln() / weight
        };
        by_identity(among)
            .into_iter()
            .filter(|&(_, index)| fits(index as usize))
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .map(|(_, index)| index as usize)
    }

    #[test]
    fn every_shortcut_leads_to_the_winner() {
        let rng = Rng::new(5);
        for case in 0..400 {
            let weights: Vec<u32> = (0..1 + case % 40)
                .map(|_| 1 + rng.below([1, 3, 1000][case % 3]) as u32)
                .collect();
            let all = weighted(&weights);
            let ring = Rendezvous::new(&all);
            for _ in 0..50 {
                let (key, some) = (rng.next_u64(), rng.next_u64() | rng.next_u64());
                for fit in [u64::MAX, some, 0] {
                    let fits = |index: usize| fit >> index & 1 == 1;
                    let expected = winner(&all, key, fits);
                    assert_eq!(ring.first(key, fits), expected, "{weights:?} {key}");
                }
            }
        }
    }
}
