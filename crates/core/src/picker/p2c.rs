//! Power of two choices: of two members drawn at random the less loaded one.
//!
//! Use it when servers or requests are unequal, with any number of servers and of balancers. Do not use it where the order
//! must be exact, or for a handful of requests: at rest it is a random choice.
//!
//! The two are different members, drawn by weight *without* replacement: a member that were its own rival would win
//! half of the draws of two members whatever its load. The load is relative to the weight, so that weights
//! hold at rest (by the draw) and at full load (by the comparison). The busiest member has `ln ln n / ln 2 + O(1)` above the
//! mean (Azar, Broder, Karlin, Upfal, *Balanced allocations*, 1994; Mitzenmacher, *The power of two choices in
//! randomized load balancing*, 2001) instead of random's `ln n / ln ln n`.
//!
//! A pick takes constant time: two draws from an [`Urn`] and two readings of the load. What the load is, is a [`Load`]:
//! here [`InFlight`]; [`PeakEwma`](super::PeakEwma) is another.

use std::marker::PhantomData;
use std::sync::Arc;

use super::urn::Urn;
use super::{Algorithm, Picker, Query, Trace};
use crate::pool::Member;
use crate::time::Instant;

/// How busy a member is. Reading it changes nothing; what fades with time fades in the reading.
pub trait Load: Send + Sync + 'static {
    /// Why the chosen one of two was chosen.
    const REASON: &'static str;

    /// The load relative to the member's weight; smaller is better.
    fn of(member: &Member, now: Instant) -> f64;
}

/// The requests in flight.
#[derive(Clone, Copy, Debug)]
pub struct InFlight;

impl Load for InFlight {
    const REASON: &'static str = "two choices: the fewer requests in flight for its weight";

    fn of(member: &Member, now: Instant) -> f64 {
        f64::from(member.in_flight()) / weight(member, now)
    }
}

/// The weight that counts at `now`: less than the configured one while the member is fresh.
pub(super) fn weight(member: &Member, now: Instant) -> f64 {
    member.pull(now) as f64 / f64::from(Member::SHARE_FULL)
}

/// The algorithm, over a measure of load.
#[derive(Clone, Copy, Debug)]
pub struct P2c<L>(PhantomData<L>);

impl<L> Default for P2c<L> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<L: Load> Algorithm for P2c<L> {
    fn build(&self, among: &[Arc<Member>], _: Option<&dyn Picker>) -> Box<dyn Picker> {
        Box::new(Pair::<L>::new(among))
    }
}

/// The picker.
pub(super) struct Pair<L> {
    urn: Urn,
    load: PhantomData<L>,
}

impl<L: Load> Pair<L> {
    pub(super) fn new(among: &[Arc<Member>]) -> Self {
        Self {
            urn: Urn::new(among),
            load: PhantomData,
        }
    }
}

impl<L: Load> Picker for Pair<L> {
    fn pick(&self, query: &Query<'_>) -> Option<usize> {
        let first = self.urn.draw(query, None)?;
        let Some(second) = self.urn.draw(query, Some(first)) else {
            return Some(first);
        };
        let load = |index: usize| L::of(&self.urn.members[index], query.now);
        // At a tie the first: it was drawn by weight alone.
        Some(if load(second) < load(first) {
            second
        } else {
            first
        })
    }

    fn explain(&self, query: &Query<'_>) -> Trace {
        let choice = query.foretelling(|query| self.pick(query));
        let drawn = query.foretelling(|query| {
            let first = self.urn.draw(query, None);
            let second = first.and_then(|_| self.urn.draw(query, first));
            [first, second]
        });
        let members = &self.urn.members;
        Trace::of(members, query, choice, L::REASON)
            .scored(members.iter().map(|member| L::of(member, query.now)))
            .by_lot(drawn.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picker::Tried;
    use crate::picker::testing::{
        Lane, balls_in_bins, basics, counts, shares_follow_slow_starts, shares_follow_weights,
        slow_share,
    };
    use crate::pool::testing::{members, weighted};
    use crate::rng::Rng;

    const P2C: P2c<InFlight> = P2c(PhantomData);

    #[test]
    fn a_fresh_member_counts_for_a_part_of_its_weight() {
        shares_follow_slow_starts(&P2C, 0.02);
    }

    #[test]
    fn it_keeps_what_every_algorithm_promises() {
        basics(&P2C);
    }

    #[test]
    fn at_rest_everybody_gets_what_the_weights_say() {
        shares_follow_weights(&P2C, 0.03);
    }

    #[test]
    fn of_two_the_busier_one_gets_nothing() {
        let all = members(2);
        all[0].admit();
        let picker = P2C.build(&all, None);
        assert_eq!(counts(&*picker, 2, 1000), [0, 1000]);
        all[1].admit();
        all[1].admit();
        assert_eq!(counts(&*picker, 2, 1000), [1000, 0]);
    }

    #[test]
    fn a_member_of_twice_the_weight_carries_twice_the_load() {
        let all = weighted(&[1, 2]);
        balls_in_bins(&P2C, &all, 3000);
        assert!(
            all[0].in_flight().abs_diff(1000) <= 2,
            "{}",
            all[0].in_flight()
        );
    }

    #[test]
    fn the_busiest_of_a_thousand_is_hardly_above_the_mean() {
        let all = members(1000);
        balls_in_bins(&P2C, &all, 10_000);
        let most = all.iter().map(|member| member.in_flight()).max();
        assert!(most <= Some(14), "{most:?}");
    }

    #[test]
    fn a_slow_member_gets_a_small_part_of_its_share() {
        let share = slow_share(&P2C, Lane::Parallel);
        assert!(share <= 0.15, "{share}");
    }

    #[test]
    fn a_retry_of_two_goes_to_the_other_however_busy() {
        let (all, rng, mut tried) = (members(2), Rng::new(1), Tried::new());
        let picker = P2C.build(&all, None);
        tried.insert(&all[0]);
        (0..9).for_each(|_| {
            all[1].admit();
        });
        let query = Query::new(&tried, Instant::ORIGIN, &rng);
        assert!((0..100).all(|_| picker.pick(&query) == Some(1)));
    }
}
