//! Least requests: the member with the fewest requests in flight for its weight.
//!
//! Use it when requests or servers are unequal: long requests, tunnels, downloads, or one server slower than the
//! others. Do not use it where several balancers share few servers under little load (each sees its own
//! requests alone, and picks at rest are a random choice), nor where a broken server answers quickly: who fails fast is never busy.
//!
//! In a pool of up to 32 all members are compared; ties, of which there are many at rest, are broken by a
//! draw by weight, so that nobody is preferred for standing first in the file. Larger pools compare two of them (see
//! [`P2c`](super::P2c)), so that a pick takes bounded time: balancers that all know the one least busy member would
//! run it over together (Mitzenmacher, *How useful is old information?*, 2000).

use std::sync::Arc;

use super::p2c::{InFlight, Load, Pair};
use super::{Algorithm, Picker, Query, Trace};
use crate::pool::Member;

/// The largest pool of which all members are compared.
const SCAN_MAX: usize = 32;

/// The algorithm.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastRequests;

struct Scan(Box<[Arc<Member>]>);

impl Algorithm for LeastRequests {
    fn build(&self, among: &[Arc<Member>], _: Option<&dyn Picker>) -> Box<dyn Picker> {
        if among.len() > SCAN_MAX {
            return Box::new(Pair::<InFlight>::new(among));
        }
        Box::new(Scan(among.into()))
    }
}

impl Picker for Scan {
    fn pick(&self, query: &Query<'_>) -> Option<usize> {
        // One reading of each: loads and shares move while we look.
        let mut seen = [(f64::INFINITY, 0); SCAN_MAX];
        let (mut least, mut tied) = (f64::INFINITY, 0);
        for ((load, pull), member) in seen.iter_mut().zip(&self.0) {
            if !query.allows(member) {
                continue;
            }
            *load = InFlight::of(member, query.now);
            *pull = member.pull(query.now);
            if *load < least {
                (least, tied) = (*load, 0);
            }
            if *load == least {
                tied += *pull;
            }
        }
        if least == f64::INFINITY {
            return None;
        }
        let mut lot = query.rng.below(tied);
        (0..self.0.len()).find(|&index| {
            let (load, pull) = seen[index];
            let drawn = load == least && lot < pull;
            if load == least && !drawn {
                lot -= pull;
            }
            drawn
        })
    }

    fn explain(&self, query: &Query<'_>) -> Trace {
        let choice = query.foretelling(|query| self.pick(query));
        let load = |member: &Arc<Member>| InFlight::of(member, query.now);
        let least = choice.map(|choice| load(&self.0[choice]));
        let tied = |member: &&Arc<Member>| query.allows(member) && Some(load(member)) == least;
        let lot = choice.filter(|_| self.0.iter().filter(tied).count() > 1);
        let reason = "least requests: the fewest in flight for its weight, ties by lot";
        Trace::of(&self.0, query, choice, reason)
            .scored(self.0.iter().map(load))
            .by_lot(lot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picker::testing::{
        Lane, balls_in_bins, basics, counts, shares_follow_slow_starts, shares_follow_weights,
        slow_share,
    };
    use crate::pool::testing::{members, weighted};

    #[test]
    fn a_fresh_member_counts_for_a_part_of_its_weight() {
        shares_follow_slow_starts(&LeastRequests, 0.02);
    }

    #[test]
    fn it_keeps_what_every_algorithm_promises() {
        basics(&LeastRequests);
    }

    #[test]
    fn at_rest_everybody_gets_what_the_weights_say() {
        shares_follow_weights(&LeastRequests, 0.03);
    }

    #[test]
    fn the_load_never_differs_by_more_than_one() {
        let all = members(7);
        for _ in 0..50 {
            balls_in_bins(&LeastRequests, &all, 3);
            let load = || all.iter().map(|member| member.in_flight());
            assert!(load().max().unwrap() - load().min().unwrap() <= 1);
        }
    }

    #[test]
    fn the_load_follows_the_weights() {
        let all = weighted(&[1, 2, 5]);
        balls_in_bins(&LeastRequests, &all, 80);
        let load: Vec<_> = all.iter().map(|member| member.in_flight()).collect();
        assert_eq!(load, [10, 20, 50]);
    }

    #[test]
    fn ties_are_broken_without_preference() {
        let all = members(4);
        all[1].admit();
        let counts = counts(&*LeastRequests.build(&all, None), 4, 3000);
        assert_eq!(counts[1], 0);
        for index in [0, 2, 3] {
            assert!(counts[index].abs_diff(1000) < 130, "{counts:?}");
        }
    }

    #[test]
    fn a_slow_member_gets_a_small_part_of_its_share() {
        let share = slow_share(&LeastRequests, Lane::Parallel);
        assert!(share <= 0.15, "{share}");
    }

    #[test]
    fn large_pools_are_not_scanned_and_stay_level() {
        let all = members(SCAN_MAX + 68);
        balls_in_bins(&LeastRequests, &all, 1000);
        let most = all.iter().map(|member| member.in_flight()).max();
        assert!(most <= Some(13), "{most:?}");
    }
}
