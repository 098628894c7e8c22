//! Random: any member, by weight, each pick for itself.
//!
//! Use it when many balancers that know nothing of each other share the same servers, and there are many requests: they
//! cannot fall into step, as round robin can. Do not use it for few requests or unequal ones: of `m` requests
//! over `n` members the busiest gets about `m/n + √(2m ln n / n)` (Raab and Steger, *Balls into bins*, 1998).
//!
//! A pick takes constant time: one draw from an [`Urn`].

use std::sync::Arc;

use super::urn::Urn;
use super::{Algorithm, Picker, Query, Trace};
use crate::pool::Member;

/// The algorithm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

struct Draw(Urn);

impl Algorithm for Random {
    fn build(&self, among: &[Arc<Member>], _: Option<&dyn Picker>) -> Box<dyn Picker> {
        Box::new(Draw(Urn::new(among)))
    }
}

impl Picker for Draw {
    fn pick(&self, query: &Query<'_>) -> Option<usize> {
        self.0.draw(query, None)
    }

    fn explain(&self, query: &Query<'_>) -> Trace {
        let choice = query.foretelling(|query| self.pick(query));
        Trace::of(&self.0.members, query, choice, "random: drawn by weight").by_lot(choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picker::testing::{
        basics, counts, shares_follow_slow_starts, shares_follow_weights,
    };
    use crate::pool::testing::members;

    #[test]
    fn a_fresh_member_counts_for_a_part_of_its_weight() {
        shares_follow_slow_starts(&Random, 0.02);
    }

    #[test]
    fn it_keeps_what_every_algorithm_promises() {
        basics(&Random);
    }

    #[test]
    fn everybody_is_drawn_as_often_as_the_weights_say() {
        shares_follow_weights(&Random, 0.03);
    }

    #[test]
    fn the_spread_over_equal_members_is_that_of_chance() {
        let counts = counts(&*Random.build(&members(10), None), 10, 100_000);
        // Five standard deviations of a binomial with n = 100,000 and p = 1/10.
        assert!(
            counts.iter().all(|count| count.abs_diff(10_000) < 475),
            "{counts:?}"
        );
    }
}
