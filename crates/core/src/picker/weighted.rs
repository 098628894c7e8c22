//! Smooth weighted round robin: each member as often as its weight says, spread evenly over the round.
//!
//! Use it when servers differ in size and that is known. Do not use it to find out who is slow: weights do not learn.
//!
//! After any number of picks a member has had its share to less than one turn. That is the "quota" of Balinski and
//! Young (*The quota method of apportionment*, 1975), as fair as whole turns can be: the `j`th turn of a member
//! that is due every `p` turns must fall into `[⌊jp⌋, ⌈(j+1)p⌉)`, and giving each turn to the earliest end
//! among the windows that have begun meets all of them (Liu and Layland 1973; Baruah et al., *Proportionate progress*,
//! 1996). Members of one weight form a class that takes its turns together and deals them out in file order, which keeps the bound.
//!
//! The round is worked out when the picker is built, in O(turns · log classes), so that a pick is one addition and one
//! look-up, whatever the size of the pool. A round has as many turns as the weights have in sum after division by
//! what they have in common, and at most a million: above that weights are rounded, and whoever would get less than
//! a millionth gets a millionth.
//!
//! While a member is fresh it lets turns pass, evenly spread and in proportion to what its [share](Member::share) lacks.
//!
//! When the members or their weights change, the new round goes on at the same fraction at which the old one was.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::round_robin::{last_pick, next_in_file_order};
use super::{Picker, Query, Trace};
use crate::pool::Member;
use crate::pool::slow_start;

/// The most turns of a round, save one for each member.
const TURNS_MAX: u64 = 1 << 20;
/// How many turns one pick takes before it looks for anybody.
const TRIES: u64 = 16;
/// One whole round, as a fraction.
const WHOLE: u64 = 1 << 32;

/// Do the members differ in weight?
pub(super) fn is_uneven(among: &[Arc<Member>]) -> bool {
    among
        .windows(2)
        .any(|pair| pair[0].weight() != pair[1].weight())
}

/// A picker over `among`, who are somebody.
pub(super) fn build(among: &[Arc<Member>], before: Option<&dyn Picker>) -> Box<dyn Picker> {
    let weights: Vec<u64> = among.iter().map(|member| member.weight().into()).collect();
    let round = round(&weights);
    let last_before = before.and_then(last_pick);
    let rounds = before.and_then(|before| (before as &dyn Any).downcast_ref::<Rounds>());
    let start = match rounds {
        Some(rounds) => (rounds.place() * round.len() as u64 + WHOLE / 2) / WHOLE,
        None => {
            let next = next_in_file_order(among, last_before) as u32;
            round.iter().position(|&index| index == next).unwrap_or(0) as u64
        }
    };
    Box::new(Rounds {
        members: among.into(),
        place_before: rounds.map_or(start * WHOLE / round.len().max(1) as u64, Rounds::place),
        round: round.into(),
        start,
        turn: AtomicU64::new(start),
        last_before,
    })
}

/// Takes its turns out of a round that was worked out before.
pub(super) struct Rounds {
    members: Box<[Arc<Member>]>,
    /// Whose turn it is, by index among the members.
    round: Box<[u32]>,
    start: u64,
    turn: AtomicU64,
    /// How far the round before was, as a fraction of [`WHOLE`].
    place_before: u64,
    last_before: Option<u32>,
}

impl Rounds {
    fn at(&self, turn: u64) -> Option<usize> {
        let turn = turn.checked_rem(self.round.len() as u64)?;
        Some(self.round[turn as usize] as usize)
    }

    /// How far the round is. Without a pick it is where the one before was, so that many changes in a row lose nothing.
    fn place(&self) -> u64 {
        let (turn, length) = (self.turn.load(Ordering::Relaxed), self.round.len() as u64);
        if turn == self.start {
            return self.place_before;
        }
        (turn % length) * WHOLE / length
    }

    /// The pool index of the last pick.
    pub(super) fn last(&self) -> Option<u32> {
        let turn = self.turn.load(Ordering::Relaxed);
        if turn == self.start {
            return self.last_before;
        }
        let index = self.at(turn.wrapping_sub(1))?;
        Some(self.members[index].index())
    }

    /// Takes turns until one falls on a member that the query allows and that does not let it pass.
    fn choose(
        &self,
        mut take: impl FnMut(u64) -> u64,
        mut takes_turn: impl FnMut(usize, &Member) -> bool,
        query: &Query<'_>,
    ) -> Option<usize> {
        let tries = TRIES.min(self.round.len() as u64);
        let mut fresh = None;
        for step in 0..tries * slow_start::TURNS_MAX as u64 {
            if step >= tries && fresh.is_none() {
                break;
            }
            let Some(index) = self.at(take(step)) else {
                break;
            };
            let member = &self.members[index];
            if query.allows(member) {
                if takes_turn(index, member) {
                    return Some(index);
                }
                fresh.get_or_insert(index);
            }
        }
        fresh.or_else(|| {
            // Whoever has most of the turns is tried or on trial: the others share what is left by chance.
            let start = query.rng.below(self.members.len() as u64) as usize;
            query.first_allowed(&self.members, start)
        })
    }
}

impl Picker for Rounds {
    fn pick(&self, query: &Query<'_>) -> Option<usize> {
        self.choose(
            |_| self.turn.fetch_add(1, Ordering::Relaxed),
            |_, member| member.takes_turn(query.now),
            query,
        )
    }

    fn explain(&self, query: &Query<'_>) -> Trace {
        let turn = self.turn.load(Ordering::Relaxed);
        let mut foreseen = vec![0; self.members.len()];
        let choice = query.foretelling(|query| {
            self.choose(
                |step| turn.wrapping_add(step),
                |index, member| member.would_take_turn(query.now, &mut foreseen[index]),
                query,
            )
        });
        Trace::of(
            &self.members,
            query,
            choice,
            "weighted round robin: the next in the round",
        )
    }
}

/// Whose turn it is, for a whole round.
fn round(weights: &[u64]) -> Vec<u32> {
    let (weights, turns) = whole_turns(weights);
    // Heavy ones first: of two windows that end together theirs is the more urgent.
    let mut classes: BTreeMap<Reverse<u64>, Vec<u32>> = BTreeMap::new();
    for (index, weight) in (0u32..).zip(&weights) {
        classes.entry(Reverse(*weight)).or_default().push(index);
    }
    let classes: Vec<(u64, Vec<u32>)> = classes
        .into_iter()
        .map(|(Reverse(weight), members)| (weight * members.len() as u64, members))
        .collect();

    let window = |class: usize, j: u64| {
        let rate = classes[class].0;
        (j * turns / rate, ((j + 1) * turns).div_ceil(rate))
    };
    // (end of the window, class, which of its turns), and those whose window has not begun, by its beginning.
    let mut begun = BinaryHeap::new();
    let mut later = BinaryHeap::new();
    for class in 0..classes.len() {
        begun.push(Reverse((window(class, 0).1, class, 0)));
    }
    let mut round = Vec::with_capacity(turns as usize);
    for turn in 0..turns {
        while let Some(&Reverse((begin, class, j))) = later.peek()
            && begin <= turn
        {
            later.pop();
            begun.push(Reverse((window(class, j).1, class, j)));
        }
        let Reverse((_, class, j)) = begun
            .pop()
            .expect("the windows that have begun are more than the turns before");
        let members = &classes[class].1;
        round.push(members[(j % members.len() as u64) as usize]);
        later.push(Reverse((window(class, j + 1).0, class, j + 1)));
    }
    round
}

/// The weights as turns of one round, and their sum: without common divisor, and not too many.
fn whole_turns(weights: &[u64]) -> (Vec<u64>, u64) {
    let common = weights.iter().copied().fold(0, gcd).max(1);
    let sum = weights.iter().sum::<u64>() / common;
    let turns: Vec<u64> = weights
        .iter()
        .map(|weight| weight / common)
        .map(|weight| match sum {
            0..=TURNS_MAX => weight,
            _ => ((weight * TURNS_MAX + sum / 2) / sum).max(1),
        })
        .collect();
    let sum = turns.iter().sum();
    (turns, sum)
}

/// The greatest common divisor.
pub(super) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picker::testing::shares_follow_slow_starts;
    use crate::picker::{Algorithm, RoundRobin, Tried};
    use crate::pool::testing::{members, weighted};
    use crate::rng::Rng;
    use crate::time::Instant;

    fn picks(picker: &dyn Picker, tried: &Tried, count: usize) -> Vec<usize> {
        let rng = Rng::new(1);
        let query = Query::new(tried, Instant::ORIGIN, &rng);
        (0..count).map_while(|_| picker.pick(&query)).collect()
    }

    fn counts(picks: &[usize], members: usize) -> Vec<usize> {
        let of = |member| picks.iter().filter(|pick| **pick == member).count();
        (0..members).map(of).collect()
    }

    fn gcd_of(weights: &[u64]) -> u64 {
        weights.iter().copied().fold(0, gcd)
    }

    #[test]
    fn a_fresh_member_counts_for_a_part_of_its_weight() {
        shares_follow_slow_starts(&RoundRobin, 0.001);
    }

    #[test]
    fn a_heavy_member_comes_often_and_never_in_a_bunch() {
        let picker = RoundRobin.build(&weighted(&[2, 1, 1]), None);
        assert_eq!(picks(&*picker, &Tried::new(), 8), [0, 1, 0, 2, 0, 1, 0, 2]);
        let picker = RoundRobin.build(&weighted(&[5, 1, 1]), None);
        assert_eq!(picks(&*picker, &Tried::new(), 7), [0, 0, 1, 0, 0, 0, 2]);
    }

    #[test]
    fn equal_weights_are_plain_round_robin() {
        let picker = RoundRobin.build(&weighted(&[7, 7, 7]), None);
        assert_eq!(picks(&*picker, &Tried::new(), 4), [0, 1, 2, 0]);
    }

    #[test]
    fn nobody_is_ever_a_whole_turn_from_his_share() {
        let rng = Rng::new(11);
        for case in 0..300 {
            let members = 1 + rng.below(12) as usize;
            let most = [2, 5, 30, 1000][case % 4];
            let weights: Vec<u64> = (0..members).map(|_| 1 + rng.below(most)).collect();
            let round = round(&weights);
            let sum: u64 = weights.iter().sum();
            assert_eq!(round.len() as u64, sum / gcd_of(&weights));
            let mut had = vec![0; members];
            for (turns, member) in (1u64..).zip(&round) {
                had[*member as usize] += 1;
                for (had, weight) in had.iter().zip(&weights) {
                    let away = (had * sum).abs_diff(turns * weight);
                    assert!(away < sum, "{weights:?} after {turns}: {had} of {weight}");
                }
            }
        }
    }

    #[test]
    fn large_fleets_of_odd_weights_keep_their_shares_in_a_round_of_bounded_length() {
        let weights: Vec<u64> = (0..10_000).map(|index| 1 + index * 7919 % 1000).collect();
        let round = round(&weights);
        assert!(round.len() as u64 <= TURNS_MAX + 10_000);
        let mut had = vec![0u64; weights.len()];
        round.iter().for_each(|&index| had[index as usize] += 1);
        let sum: u64 = weights.iter().sum();
        for (had, weight) in had
            .iter()
            .zip(&weights)
            .filter(|(_, weight)| **weight > 100)
        {
            let ideal = (weight * round.len() as u64) as f64 / sum as f64;
            assert!(
                (*had as f64 / ideal - 1.0).abs() < 0.05,
                "{weight}: {had} of {ideal}"
            );
        }
        assert!(had.iter().all(|had| *had > 0));
    }

    #[test]
    fn a_reweighting_after_every_pick_starves_nobody() {
        let (a, b) = (weighted(&[3, 1, 1]), weighted(&[4, 2, 1]));
        let (mut picker, mut had) = (RoundRobin.build(&a, None), Vec::new());
        for round in 0..3500 {
            had.extend(picks(&*picker, &Tried::new(), 1));
            picker = RoundRobin.build([&b, &a][round % 2], Some(&*picker));
        }
        // Between 3/5 and 4/7, 1/5 and 2/7, 1/5 and 1/7.
        let counts = counts(&had, 3);
        let within = |index: usize, low, high| {
            let share = counts[index] as f64 / 3500.0;
            assert!((low..high).contains(&share), "{index}: {counts:?}");
        };
        within(0, 0.5, 0.67);
        within(1, 0.15, 0.32);
        within(2, 0.11, 0.26);
    }

    #[test]
    fn a_new_picker_goes_on_where_the_old_one_was() {
        let all = weighted(&[4, 2, 1]);
        let whole = picks(&*RoundRobin.build(&all, None), &Tried::new(), 14);
        for taken in 0..14 {
            let first = RoundRobin.build(&all, None);
            picks(&*first, &Tried::new(), taken);
            // One that nobody used in between changes nothing.
            let short = RoundRobin.build(&all[..2], Some(&*first));
            let again = RoundRobin.build(&all, Some(&*short));
            let rest = picks(&*again, &Tried::new(), 14 - taken);
            assert_eq!(rest, whole[taken..], "after {taken}");
        }
    }

    #[test]
    fn between_equal_and_unequal_weights_the_turn_goes_on_in_file_order() {
        let all = weighted(&[1, 1, 2]);
        let equal = RoundRobin.build(&all[..2], None);
        assert_eq!(picks(&*equal, &Tried::new(), 1), [0]);
        let unequal = RoundRobin.build(&all, Some(&*equal));
        assert_eq!(picks(&*unequal, &Tried::new(), 1), [1]);
        let equal = RoundRobin.build(&all[..2], Some(&*unequal));
        assert_eq!(picks(&*equal, &Tried::new(), 1), [0]);
    }

    #[test]
    fn the_tried_are_passed_over_however_heavy_they_are() {
        let all = weighted(&[1000, 1, 1]);
        let picker = RoundRobin.build(&all, None);
        let mut tried = Tried::new();
        tried.insert(&all[0]);
        let retries = counts(&picks(&*picker, &tried, 200), 3);
        assert!(
            retries[0] == 0 && retries[1] > 50 && retries[2] > 50,
            "{retries:?}"
        );
        tried.insert(&all[1]);
        assert_eq!(picks(&*picker, &tried, 1), [2]);
        tried.insert(&all[2]);
        assert!(picks(&*picker, &tried, 1).is_empty());
    }

    #[test]
    fn concurrent_pickers_keep_the_shares() {
        let picker = RoundRobin.build(&weighted(&[3, 2, 1]), None);
        let count = |picker: &dyn Picker| counts(&picks(picker, &Tried::new(), 600), 3);
        let sums = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| count(&*picker))).collect();
            let counts = threads.into_iter().map(|thread| thread.join().unwrap());
            counts.fold([0; 3], |sum, of| {
                [sum[0] + of[0], sum[1] + of[1], sum[2] + of[2]]
            })
        });
        assert_eq!(sums, [1200, 800, 400]);
    }

    #[test]
    fn an_explanation_names_the_next_pick_and_takes_no_turn() {
        let (all, rng, mut tried) = (weighted(&[1000, 1, 1]), Rng::new(5), Tried::new());
        let picker = RoundRobin.build(&all, None);
        tried.insert(&all[0]);
        let query = Query::new(&tried, Instant::ORIGIN, &rng);
        for _ in 0..20 {
            let trace = picker.explain(&query);
            assert_eq!(trace, picker.explain(&query));
            assert_eq!(picker.pick(&query), trace.choice);
        }
        assert!(is_uneven(&all) && !is_uneven(&members(3)) && !is_uneven(&[]));
    }
}
