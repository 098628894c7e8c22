//! An urn: draws a member at random, by weight, in constant time.
//!
//! Unequal weights use an alias table (Walker 1977; built in linear time after Vose, *A linear algorithm for generating
//! random numbers with a given distribution*, 1991), here in whole numbers. One draw of 64 bits gives both the
//! place in the table and the choice there. A fresh member is put back as often as its [share](Member::share) lacks.

use std::sync::Arc;

use super::{Query, weighted};
use crate::pool::Member;
use crate::rng::Rng;

/// Draws before somebody is looked for.
const DRAWS: usize = 8;
/// A lot that is always its own.
const ALWAYS: u64 = 1 << 32;

pub(super) struct Urn {
    pub(super) members: Box<[Arc<Member>]>,
    /// `None` when all weights are equal.
    lots: Option<Box<[Lot]>>,
}

/// A place in the table: its own member's below `own` of [`ALWAYS`], another's above.
#[derive(Clone, Copy)]
struct Lot {
    own: u64,
    other: u32,
}

impl Urn {
    pub(super) fn new(among: &[Arc<Member>]) -> Self {
        let weights = || among.iter().map(|member| u64::from(member.weight()));
        Self {
            members: among.into(),
            lots: weighted::is_uneven(among).then(|| lots(weights().collect())),
        }
    }

    /// A member that the query allows and that is not `but`; `None` when there is none.
    ///
    /// By weight, as long as a few draws find one. When most are tried or on trial, the rest share by chance.
    pub(super) fn draw(&self, query: &Query<'_>, but: Option<usize>) -> Option<usize> {
        let may = |index: usize| Some(index) != but && query.allows(&self.members[index]);
        if self.members.is_empty() {
            return None;
        }
        let mut put_back = None;
        let drawn = (0..DRAWS)
            .map(|_| self.any(query.rng))
            .filter(|&index| may(index))
            .find(|&index| {
                put_back.get_or_insert(index);
                stays(&self.members[index], query)
            });
        drawn.or(put_back).or_else(|| {
            let count = self.members.len();
            let start = query.rng.below(count as u64) as usize;
            (start..count).chain(0..start).find(|&index| may(index))
        })
    }

    fn any(&self, rng: &Rng) -> usize {
        let bits = rng.next_u64();
        let place = (((bits >> 32) * self.members.len() as u64) >> 32) as usize;
        match self.lots.as_ref().map(|lots| lots[place]) {
            Some(lot) if bits & (ALWAYS - 1) >= lot.own => lot.other as usize,
            _ => place,
        }
    }
}

/// Does a member that was drawn count as drawn, or is it too fresh?
fn stays(member: &Member, query: &Query<'_>) -> bool {
    let share = member.share(query.now);
    share == Member::SHARE_FULL || query.rng.below(Member::SHARE_FULL.into()) < u64::from(share)
}

/// Each place holds the same sum; what a light member leaves empty is filled by a heavy one.
fn lots(weights: Vec<u64>) -> Box<[Lot]> {
    let (count, sum) = (weights.len() as u64, weights.iter().sum::<u64>());
    // In units of 1/count: the mean is `sum`.
    let mut left: Vec<u64> = weights.iter().map(|weight| weight * count).collect();
    let mut lots: Vec<Lot> = (0..weights.len() as u32)
        .map(|index| Lot {
            own: ALWAYS,
            other: index,
        })
        .collect();
    let (mut light, mut heavy): (Vec<usize>, Vec<usize>) =
        (0..weights.len()).partition(|&index| left[index] < sum);
    while let (Some(&donor), Some(index)) = (heavy.last(), light.pop()) {
        lots[index] = Lot {
            own: ((u128::from(left[index]) << 32) / u128::from(sum)) as u64,
            other: donor as u32,
        };
        left[donor] -= sum - left[index];
        if left[donor] < sum {
            heavy.pop();
            light.push(donor);
        }
    }
    lots.into()
}
