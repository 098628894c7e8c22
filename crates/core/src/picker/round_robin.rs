//! Round robin: each member in turn, in file order.
//!
//! The order is exact: one turn serves all workers and connections. Use it when servers and requests are alike.
//! Do not use it when they are not: a slow server gets as many requests as a fast one. Members of unequal weights take
//! turns by a smooth schedule (see `weighted`).
//!
//! A pick takes one addition, whatever the size of the pool. While a member is fresh it lets turns pass, evenly
//! spread and in proportion to what its [share](Member::share) lacks; the others stay in order.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::weighted::{self, Rounds};
use super::{Algorithm, Picker, Query, Trace};
use crate::pool::Member;
use crate::pool::slow_start::TURNS_MAX;

/// The algorithm; its picker holds the turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

impl Algorithm for RoundRobin {
    fn build(&self, among: &[Arc<Member>], before: Option<&dyn Picker>) -> Box<dyn Picker> {
        if weighted::is_uneven(among) {
            return weighted::build(among, before);
        }
        // The turn is shared with the picker before: somebody may pick there until this one is published, and whoever that was
        // must not be picked again at once.
        let (turn, begun, last_before) = match before.and_then(turns) {
            Some(before) => {
                let begun = before.turn.load(Ordering::Relaxed);
                (Arc::clone(&before.turn), begun, before.last_at(begun))
            }
            None => (Arc::default(), 0, before.and_then(last_pick)),
        };
        Box::new(Turn {
            members: among.into(),
            start: next_in_file_order(among, last_before) as u64,
            turn,
            begun,
            last_before,
        })
    }
}

/// A picker like this one.
fn turns(picker: &dyn Picker) -> Option<&Turn> {
    let picker: &dyn Any = picker;
    picker.downcast_ref::<Turn>()
}

/// The pool index of the last pick by rounds, whatever the weights were.
pub(super) fn last_pick(before: &dyn Picker) -> Option<u32> {
    match turns(before) {
        Some(before) => before.last_at(before.turn.load(Ordering::Relaxed)),
        None => {
            let before: &dyn Any = before;
            before.downcast_ref::<Rounds>().and_then(Rounds::last)
        }
    }
}

/// The next in file order after the last one picked, whether that one is still here or not.
pub(super) fn next_in_file_order(among: &[Arc<Member>], last: Option<u32>) -> usize {
    last.and_then(|last| among.iter().position(|member| member.index() > last))
        .unwrap_or(0)
}

struct Turn {
    members: Box<[Arc<Member>]>,
    /// Who has the first turn.
    start: u64,
    turn: Arc<AtomicU64>,
    /// The turn when this picker was built.
    begun: u64,
    /// The pool index of the last pick before this picker was built.
    last_before: Option<u32>,
}

impl Turn {
    /// Where a turn falls, and who sits there.
    fn at(&self, turn: u64) -> Option<(usize, &Arc<Member>)> {
        let taken = turn.wrapping_sub(self.begun);
        let index = taken
            .wrapping_add(self.start)
            .checked_rem(self.members.len() as u64)? as usize;
        Some((index, self.members.get(index)?))
    }

    /// The pool index of the last pick before this turn.
    fn last_at(&self, turn: u64) -> Option<u32> {
        if turn == self.begun {
            return self.last_before;
        }
        self.at(turn.wrapping_sub(1))
            .map(|(_, member)| member.index())
    }

    /// Takes turns until one falls on a member that the query allows and that does not let it pass.
    fn choose(
        &self,
        mut take: impl FnMut() -> u64,
        mut takes_turn: impl FnMut(usize, &Member) -> bool,
        query: &Query<'_>,
    ) -> Option<usize> {
        let (mut last, mut fresh) = (0, false);
        let round = self.members.len();
        for turn in 0..round * TURNS_MAX {
            if turn >= round && !fresh {
                break;
            }
            last = take();
            let (index, member) = self.at(last)?;
            if query.allows(member) {
                if takes_turn(index, member) {
                    return Some(index);
                }
                fresh = true;
            }
        }
        // Others may have taken the turns between ours: look from here rather than take more.
        self.ahead(last, query)
    }

    /// The first member from `turn` on that the query allows, without taking a turn.
    fn ahead(&self, turn: u64, query: &Query<'_>) -> Option<usize> {
        (0..self.members.len() as u64)
            .filter_map(|step| self.at(turn.wrapping_add(step)))
            .find(|(_, member)| query.allows(member))
            .map(|(index, _)| index)
    }
}

impl Picker for Turn {
    fn pick(&self, query: &Query<'_>) -> Option<usize> {
        self.choose(
            || self.turn.fetch_add(1, Ordering::Relaxed),
            |_, member| member.takes_turn(query.now),
            query,
        )
    }

    fn explain(&self, query: &Query<'_>) -> Trace {
        let mut turns = self.turn.load(Ordering::Relaxed)..;
        let mut foreseen = vec![0; self.members.len()];
        let choice = self.choose(
            || turns.next().unwrap_or_default(),
            |index, member| member.would_take_turn(query.now, &mut foreseen[index]),
            query,
        );
        Trace::of(
            &self.members,
            query,
            choice,
            "round robin: the next in turn",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::picker::{Standing, Tried};
    use crate::pool::testing::members;
    use crate::rng::Rng;
    use crate::time::Instant;

    fn picks(picker: &dyn Picker, tried: &Tried, count: usize) -> Vec<Option<usize>> {
        let rng = Rng::new(1);
        let query = Query::new(tried, Instant::ORIGIN, &rng);
        (0..count).map(|_| picker.pick(&query)).collect()
    }

    fn build(among: &[Arc<Member>], before: Option<&dyn Picker>) -> Box<dyn Picker> {
        RoundRobin.build(among, before)
    }

    #[test]
    fn three_members_take_turns_in_file_order() {
        let picker = build(&members(3), None);
        let order = picks(&*picker, &Tried::new(), 6);
        assert_eq!(order, [0, 1, 2, 0, 1, 2].map(Some));
    }

    #[test]
    fn one_member_gets_everything_and_none_gets_nothing() {
        let fresh = Tried::new();
        assert_eq!(picks(&*build(&members(1), None), &fresh, 2), [Some(0); 2]);
        assert_eq!(picks(&*build(&[], None), &fresh, 2), [None; 2]);
    }

    #[test]
    fn after_a_change_comes_the_next_in_file_order_after_the_last_pick() {
        let all = members(4);
        // (picks before, who is eligible afterwards, names of the next picks)
        let table: [(usize, &[usize], [&str; 3]); 6] = [
            (1, &[1, 2, 3], ["m1", "m2", "m3"]),
            (2, &[0, 2, 3], ["m2", "m3", "m0"]),
            (4, &[0, 1, 2], ["m0", "m1", "m2"]),
            (3, &[0, 1], ["m0", "m1", "m0"]),
            (2, &[0, 1], ["m0", "m1", "m0"]),
            (0, &[1, 2, 3], ["m1", "m2", "m3"]),
        ];
        for (before, eligible, expected) in table {
            let old = build(&all, None);
            picks(&*old, &Tried::new(), before);
            let among: Vec<_> = eligible.iter().map(|&at| Arc::clone(&all[at])).collect();
            let new = build(&among, Some(&*old));
            let names: Vec<_> = picks(&*new, &Tried::new(), 3)
                .into_iter()
                .map(|index| among[index.unwrap()].name().to_string())
                .collect();
            assert_eq!(names, expected, "after {before} picks, {eligible:?}");
        }
    }

    #[test]
    fn a_pick_while_the_next_picker_is_built_counts_there() {
        let all = members(3);
        let old = build(&all, None);
        assert_eq!(picks(&*old, &Tried::new(), 1), [Some(0)]);
        let new = build(&all[1..], Some(&*old));
        // By somebody who has found the first one dead, and the new picker not there yet.
        assert_eq!(picks(&*old, &Tried::new(), 1), [Some(1)]);
        let next: Vec<_> = picks(&*new, &Tried::new(), 3)
            .into_iter()
            .map(|index| all[1..][index.unwrap()].name().to_string())
            .collect();
        assert_eq!(next, ["m2", "m1", "m2"]);
    }

    #[test]
    fn the_turn_survives_a_time_without_anybody() {
        let all = members(3);
        let first = build(&all, None);
        picks(&*first, &Tried::new(), 2);
        let nobody = build(&[], Some(&*first));
        picks(&*nobody, &Tried::new(), 5);
        let again = build(&all, Some(&*nobody));
        assert_eq!(picks(&*again, &Tried::new(), 1), [Some(2)]);
    }

    #[test]
    fn a_retry_takes_a_turn_and_avoids_the_tried() {
        let all = members(3);
        let picker = build(&all, None);
        let mut tried = Tried::new();
        assert_eq!(picks(&*picker, &tried, 1), [Some(0)]);
        tried.insert(&all[0]);
        tried.insert(&all[1]);
        assert_eq!(picks(&*picker, &tried, 1), [Some(2)]);
        assert_eq!(picks(&*picker, &Tried::new(), 1), [Some(0)]);
        tried.insert(&all[2]);
        assert_eq!(picks(&*picker, &tried, 1), [None]);
    }

    #[test]
    fn a_member_whose_trial_is_taken_is_passed_over() {
        let all = members(3);
        all[1].offer_trial();
        let picker = build(&all, None);
        assert_eq!(picks(&*picker, &Tried::new(), 2), [Some(0), Some(1)]);
        assert_eq!(all[1].admit(), Some(true));
        let order = picks(&*picker, &Tried::new(), 4);
        assert_eq!(order, [2, 0, 2, 0].map(Some));
    }

    #[test]
    fn eight_threads_share_the_turns_evenly() {
        let all = members(3);
        let picker = build(&all, None);
        let counts: [AtomicU64; 3] = Default::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for pick in picks(&*picker, &Tried::new(), 1001) {
                        counts[pick.unwrap()].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let counts = counts.map(AtomicU64::into_inner);
        assert_eq!(counts.iter().sum::<u64>(), 8 * 1001);
        let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
        assert!(spread <= 1, "{counts:?}");
    }

    #[test]
    fn racing_retries_never_land_on_a_tried_member() {
        let all = members(3);
        let picker = build(&all, None);
        std::thread::scope(|scope| {
            for left in 0..6 {
                let (all, picker) = (&all, &picker);
                scope.spawn(move || {
                    let left = left % 3;
                    let mut tried = Tried::new();
                    for other in (0..3).filter(|other| *other != left) {
                        tried.insert(&all[other]);
                    }
                    assert!(
                        picks(&**picker, &tried, 2000)
                            .iter()
                            .all(|pick| *pick == Some(left))
                    );
                });
            }
        });
    }

    #[test]
    fn a_retry_whose_turns_all_fall_on_the_tried_takes_the_next_that_is_left() {
        let all = members(3);
        let (mut tried, rng) = (Tried::new(), Rng::new(1));
        tried.insert(&all[0]);
        let picker = Turn {
            members: all.into(),
            start: 0,
            turn: Arc::default(),
            begun: 0,
            last_before: None,
        };
        // Others take two turns between any two of ours.
        let mut turns = [0, 3, 6].into_iter();
        let take = || turns.next().expect("one turn for each member");
        let query = Query::new(&tried, Instant::ORIGIN, &rng);
        assert_eq!(picker.choose(take, |_, _| true, &query), Some(1));
    }

    /// Which members get the next picks at a time, each pick as it was foreseen.
    fn order(picker: &dyn Picker, ms: u64, count: usize) -> String {
        let (tried, rng) = (Tried::new(), Rng::new(1));
        let now = Instant::ORIGIN + Duration::from_millis(ms);
        let query = Query::new(&tried, now, &rng);
        let mut order = String::new();
        for _ in 0..count {
            let foreseen = picker.explain(&query).choice;
            let index = picker.pick(&query);
            assert_eq!(index, foreseen);
            order.push_str(&index.unwrap().to_string());
        }
        order
    }

    fn slow(count: u32) -> Vec<Arc<Member>> {
        let backends = crate::pool::testing::backends(count as usize);
        let member = |(index, backend)| Member::new(index, backend).slowly(Some(WINDOW));
        let members = (0..count).zip(backends).map(member);
        members.map(Arc::new).collect()
    }

    const WINDOW: Duration = Duration::from_secs(10);

    #[test]
    fn a_fresh_member_lets_turns_pass_in_proportion_and_the_others_stay_in_order() {
        let all = slow(3);
        let picker = build(&all, None);
        assert_eq!(order(&*picker, 900, 4), "0120");
        all[1].start_slowly(Instant::ORIGIN + Duration::from_secs(1));
        // Its first turn at once, then one of ten, of four, of two, and all of them.
        assert_eq!(order(&*picker, 1000, 17), format!("1{}", "20".repeat(8)));
        let start = || all[1].start_slowly(Instant::ORIGIN + Duration::from_secs(1));
        start();
        assert_eq!(order(&*picker, 3500, 18), "120202020".repeat(2));
        start();
        assert_eq!(order(&*picker, 6000, 10), "12020".repeat(2));
        assert_eq!(order(&*picker, 11_000, 6), "120120");
    }

    #[test]
    fn where_all_are_fresh_they_take_exact_turns() {
        let all = slow(3);
        let picker = build(&all, None);
        for member in &all {
            member.start_slowly(Instant::ORIGIN + Duration::from_secs(1));
        }
        for ms in [1000, 2000, 3500, 9000, 11_000] {
            let order = order(&*picker, ms, 12);
            assert!("012".repeat(5).contains(&order), "at {ms}: {order}");
        }
    }

    #[test]
    fn a_retry_finds_a_fresh_member_too_when_it_is_the_only_one_left() {
        let all = slow(3);
        let picker = build(&all, None);
        all[1].start_slowly(Instant::ORIGIN + Duration::from_secs(1));
        let (mut tried, rng) = (Tried::new(), Rng::new(1));
        tried.insert(&all[0]);
        tried.insert(&all[2]);
        let now = Instant::ORIGIN + Duration::from_secs(1);
        let query = Query::new(&tried, now, &rng);
        assert!((0..50).all(|_| picker.pick(&query) == Some(1)));
    }

    #[test]
    fn an_explanation_names_the_next_pick_and_takes_no_turn() {
        let all = members(3);
        let picker = build(&all, None);
        let rng = Rng::new(1);
        let mut tried = Tried::new();
        tried.insert(&all[0]);
        let query = Query::new(&tried, Instant::ORIGIN, &rng);
        let trace = picker.explain(&query);
        assert_eq!(trace, picker.explain(&query));
        assert_eq!(trace.choice, Some(1));
        assert_eq!(trace.candidates[0].standing, Standing::Tried);
        assert_eq!(
            trace.to_string(),
            "m0 (tried), *m1, m2, round robin: the next in turn"
        );
        assert_eq!(picker.pick(&query), Some(1));
    }
}
