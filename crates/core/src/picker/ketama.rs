//! A ketama-style ring: each member has many points on a circle, and a key belongs to the next one clockwise.
//!
//! Karger et al., *Consistent hashing and random trees*, 1997; the many points a server are libketama's (Jones, 2007), the
//! hash is ours. When a member leaves only its keys move, each to the next point, so they spread over all. Shares
//! vary by `1/√points`: 160 points give ± 8 %. A member has points by its weight. A very large pool has fewer, a quarter of a
//! million in all, so that a change of health stays cheap.
//!
//! Take it where servers are many, or come and go: no number is too large. Where a hundred are enough, rendezvous has exact shares
//! and nothing to build; where shares must be even among up to two hundred, take [`maglev`](super::maglev).
//!
//! A pick finds its point by an index over the leading bits, in constant expected time.

use std::sync::Arc;

use super::digest::nth;
use super::hash::{Ring, by_identity};
use crate::pool::Member;

/// Points of a member of the smallest weight, in a pool that is not too large.
const POINTS: f64 = 160.0;
/// Points of all configured members, about.
const POINTS_MAX: f64 = (1 << 18) as f64;
/// How many points a pick looks at.
const STEPS_MAX: usize = 1024;

/// How many points come with one unit of weight, where `common` divides all weights and `sum` is theirs.
pub(super) fn points_per_weight(common: u64, sum: u64) -> f64 {
    (POINTS / common as f64).min(POINTS_MAX / sum as f64)
}

pub(super) struct Ketama {
    /// In order; the place on the circle in the upper half, the member's rank by identity in the lower one.
    points: Box<[u64]>,
    /// The first point at or after each of the places that have `bits` leading bits.
    starts: Box<[u32]>,
    bits: u32,
    /// The index of each rank.
    members: Box<[u32]>,
}

impl Ketama {
    pub(super) fn new(among: &[Arc<Member>], points_per_weight: f64) -> Self {
        let sorted = by_identity(among);
        let mut points = Vec::new();
        for (rank, &(identity, index)) in (0u64..).zip(&sorted) {
            let weight = f64::from(among[index as usize].weight());
            let count = (weight * points_per_weight).round().max(1.0) as u64;
            points.extend((0..count).map(|n| (nth(identity, n) >> 32) << 32 | rank));
        }
        points.sort_unstable();
        let bits = points.len().max(2).ilog2();
        let mut starts = vec![0; 1 << bits];
        for point in &points {
            starts[(point >> (64 - bits)) as usize] += 1;
        }
        // From how many points a part has to how many are before it.
        starts
            .iter_mut()
            .fold(0, |before, part| before + std::mem::replace(part, before));
        Self {
            points: points.into(),
            starts: starts.into(),
            bits,
            members: sorted.into_iter().map(|(_, index)| index).collect(),
        }
    }
}

impl Ring for Ketama {
    const REASON: &'static str = "ketama hash: the first clockwise from the key with room";

    fn first(&self, key: u64, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.points.len();
        let mut at = *self.starts.get((key >> (64 - self.bits)) as usize)? as usize;
        while at < count && self.points[at] >> 32 < key >> 32 {
            at += 1;
        }
        let mut asked = None;
        for step in 0..count.min(STEPS_MAX) {
            let rank = self.points[(at + step) % count] as u32;
            let index = self.members[rank as usize] as usize;
            if asked != Some(rank) && fits(index) {
                return Some(index);
            }
            asked = Some(rank);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::testing::members;

    #[test]
    fn the_index_finds_what_a_search_of_all_points_finds() {
        let ring = Ketama::new(&members(7), 160.0);
        let last = *ring.points.last().unwrap();
        let keys = (0..5000).map(|n| nth(1, n));
        for key in keys.chain([0, u64::MAX, last, last + (1 << 32)]) {
            let next = ring.points.iter().find(|point| **point >> 32 >= key >> 32);
            let rank = *next.unwrap_or(&ring.points[0]) as u32;
            let index = ring.members[rank as usize] as usize;
            assert_eq!(ring.first(key, |_| true), Some(index));
        }
    }

    #[test]
    fn a_fleet_has_a_bounded_number_of_points() {
        let per_weight = points_per_weight(1, 10_000);
        assert!(per_weight * 10_000.0 <= POINTS_MAX);
        assert_eq!(points_per_weight(5, 500), 32.0);
    }
}
