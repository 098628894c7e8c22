//! Maglev hashing: a table in which each member has its share of the places, chosen so that changes move little.
//!
//! Eisenbud et al., *Maglev: a fast and reliable software network load balancer*, NSDI 2016, §3.4: each member has its own
//! order of all places, and they take turns in claiming the next free one; with weights, heavy ones claim more often. The
//! most even shares, and one look-up a pick. When a member leaves, its keys move and some of the others' with them: together at
//! most two in n. Take it where even shares matter more than that.
//!
//! How many of the others' keys move depends on the table: it takes about 5 n² places to keep them below one in n (measured; the
//! paper's hundred places each keep the shares even and no more). A table has up to a quarter of a million places, so that a change of
//! health stays cheap, and that is enough for two hundred members: more belong on a [`ketama`](super::ketama) ring. Where a
//! member is tried or full, the key is hashed again, so that what overflows spreads over all instead of flooding a neighbour.

use std::sync::Arc;

use super::digest::nth;
use super::hash::{Ring, by_identity};
use crate::pool::Member;

/// Primes, so that every step visits every place.
const SIZES: [u64; 4] = [4_099, 16_411, 65_537, 262_147];
/// Places for each member, and for each unit of weight as long as there are not too many.
const PLACES: u64 = 100;
/// How many units of weight get that many places.
const UNITS_MAX: u64 = 2_600;
/// How often a key is hashed.
const STEPS_MAX: u64 = 64;
const FREE: u32 = u32::MAX;

/// The size of a table for so many members, whose weights have so many units in sum.
pub(super) fn size(members: u64, units: u64) -> u64 {
    let even = PLACES * members.max(units.min(UNITS_MAX));
    let calm = 5 * members * members;
    let wanted = even.max(calm);
    let fits = SIZES.iter().find(|size| **size >= wanted);
    *fits.unwrap_or(&SIZES[SIZES.len() - 1])
}

pub(super) struct Maglev {
    /// The index of the member of each place; empty when there is none.
    table: Box<[u32]>,
}

/// Who claims places.
struct Claim {
    index: u32,
    next: u64,
    step: u64,
    weight: u64,
    credit: u64,
}

impl Maglev {
    pub(super) fn new(among: &[Arc<Member>], size: u64) -> Self {
        let mut claims: Vec<Claim> = by_identity(among)
            .into_iter()
            .map(|(identity, index)| Claim {
                index,
                next: nth(identity, 1) % size,
                step: nth(identity, 2) % (size - 1) + 1,
                weight: among[index as usize].weight().into(),
                credit: 0,
            })
            .collect();
        let Some(heaviest) = claims.iter().map(|claim| claim.weight).max() else {
            return Self { table: [].into() };
        };
        let mut table = vec![FREE; size as usize];
        let mut free = size;
        while free > 0 {
            for claim in &mut claims {
                claim.credit += claim.weight;
                if claim.credit < heaviest || free == 0 {
                    continue;
                }
                claim.credit -= heaviest;
                while table[claim.next as usize] != FREE {
                    claim.next = (claim.next + claim.step) % size;
                }
                table[claim.next as usize] = claim.index;
                free -= 1;
            }
        }
        Self {
            table: table.into(),
        }
    }
}

impl Ring for Maglev {
    const REASON: &'static str =
        "maglev hash: the member at the key's place, hashed on if it has no room";

    fn first(&self, key: u64, fits: impl Fn(usize) -> bool) -> Option<usize> {
        (0..STEPS_MAX).find_map(|step| {
            let place = nth(key, step).checked_rem(self.table.len() as u64)?;
            let index = self.table[place as usize] as usize;
            fits(index).then_some(index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::testing::{members, weighted};

    fn places(maglev: &Maglev, members: u32) -> Vec<usize> {
        let of = |index| maglev.table.iter().filter(|at| **at == index).count();
        (0..members).map(of).collect()
    }

    #[test]
    fn the_sizes_are_primes_and_large_enough() {
        let prime = |n: u64| (2..=n.isqrt()).all(|divisor| !n.is_multiple_of(divisor));
        assert!(SIZES.iter().all(|size| prime(*size)));
        assert_eq!(size(3, 3), 4_099);
        assert_eq!(size(3, 100), 16_411);
        assert_eq!(size(100, 100), 65_537);
        assert_eq!(size(10_000, 10_000_000), 262_147);
    }

    #[test]
    fn equal_members_differ_by_one_place_at_most() {
        let places = places(&Maglev::new(&members(7), 4_099), 7);
        assert!(
            places.iter().all(|count| (585..=586).contains(count)),
            "{places:?}"
        );
    }

    #[test]
    fn places_follow_the_weights() {
        let places = places(&Maglev::new(&weighted(&[1, 2, 7]), 4_099), 3);
        for (count, wanted) in places.into_iter().zip([410usize, 820, 2869]) {
            assert!(count.abs_diff(wanted) <= 2, "{count} of {wanted}");
        }
    }
}
