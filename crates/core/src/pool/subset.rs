//! Which members of a large fleet one of many balancers uses.
//!
//! Where a thousand balancers each keep connections to, and probe, ten thousand servers, most of both do nothing. So each uses
//! a subset (Beyer et al., *Site Reliability Engineering*, 2016, chapter 20). All compute the same table from
//! the servers' names and addresses and take their own row, so nobody has to talk to anybody. In the table
//!
//! * every balancer has exactly as many members as it shall have;
//! * every member has as many balancers as any other, ± 1;
//! * little moves when a member or a balancer comes or goes, because both choose each other by rendezvous: each pair has
//!   a number (Thaler and Ravishankar, 1998), and from the lowest on the pairs are made whose two sides still have room. That is the one
//!   stable matching of Gale and Shapley (*College admissions and the stability of marriage*, 1962) for such numbers, in which a
//!   change on one side sets off a short chain of others. The deterministic subsets of the book, shuffled rounds, are even as
//!   well, but a member that comes or goes shuffles them all.
//!
//! Computing it takes about as many steps as there are pairs, once for each set of servers.

use std::num::NonZeroU32;

use crate::backend::Backend;
use crate::picker::{identity, mix};

/// Pairs that are sorted at a time, about.
const BATCH: usize = 1 << 20;

/// How a fleet is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subset {
    /// Servers for each balancer.
    pub size: NonZeroU32,
    /// Which balancer this is, from zero on and below `of`; one beyond has the backups alone.
    pub balancer: u32,
    /// Of how many.
    pub of: NonZeroU32,
}

impl Subset {
    /// The servers of `fleet` that this balancer uses, in their order, and all backups. Where there are no more than
    /// `size`, that is everybody.
    ///
    /// ```
    /// use lb_core::backend::{Address, Backend};
    /// use lb_core::pool::Subset;
    ///
    /// let fleet: Vec<_> = (1..=100)
    ///     .map(|port| Backend::new(Address { host: "192.0.2.1".into(), port }))
    ///     .collect();
    /// let subset = Subset { size: 20.try_into()?, balancer: 3, of: 10.try_into()? };
    /// assert_eq!(subset.among(&fleet).len(), 20);
    /// # Ok::<_, std::num::TryFromIntError>(())
    /// ```
    pub fn among(&self, fleet: &[Backend]) -> Vec<Backend> {
        let shared: Vec<usize> = (0..fleet.len()).filter(|&at| !fleet[at].backup).collect();
        let identities: Vec<u64> = shared.iter().map(|&at| identity(&fleet[at])).collect();
        let size = self.size.get() as usize;
        if identities.len() <= size {
            return fleet.to_vec();
        }
        let table = Table::new(&identities, size, self.of.get() as usize).matched(BATCH);
        let own = table.rows.get(self.balancer as usize);
        let mut used: Vec<bool> = fleet.iter().map(|server| server.backup).collect();
        for &member in own.into_iter().flatten() {
            used[shared[member]] = true;
        }
        let all = fleet.iter().zip(used);
        all.filter(|(_, used)| *used)
            .map(|(server, _)| server.clone())
            .collect()
    }
}

/// Who uses whom.
struct Table<'a> {
    identities: &'a [u64],
    size: usize,
    /// The members of each balancer, as indexes.
    rows: Vec<Vec<usize>>,
    /// How many more balancers each member takes.
    room: Vec<usize>,
}

impl<'a> Table<'a> {
    /// `size` is below the number of members.
    fn new(identities: &'a [u64], size: usize, balancers: usize) -> Self {
        let (members, places) = (identities.len(), size * balancers);
        let mut room = vec![places / members; members];
        // Whoever takes one more is the same whatever the order.
        let mut order: Vec<usize> = (0..members).collect();
        order.sort_unstable_by_key(|&member| (mix(identities[member]), identities[member]));
        order
            .iter()
            .take(places % members)
            .for_each(|&member| room[member] += 1);
        Self {
            identities,
            size,
            rows: vec![Vec::with_capacity(size); balancers],
            room,
        }
    }

    /// The same with everybody in his place; `batch` is how many pairs are looked at together.
    fn matched(mut self, batch: usize) -> Self {
        self.match_up(batch);
        self.fill_up();
        self
    }

    fn number(&self, balancer: usize, member: usize) -> u64 {
        mix(self.identities[member] ^ mix(balancer as u64))
    }

    /// Makes the pairs, from the lowest number on. They are looked at in batches of a range of numbers each, because all of
    /// them at a time would fill the memory.
    fn match_up(&mut self, batch: usize) {
        let pairs = self.rows.len() * self.identities.len();
        let batches = (pairs / batch + 1).next_power_of_two() as u64;
        let shift = 64 - batches.trailing_zeros();
        let mut batch = Vec::new();
        for number in 0..batches {
            let open = |&member: &usize| self.room[member] > 0;
            let members: Vec<usize> = (0..self.room.len()).filter(open).collect();
            for balancer in 0..self.rows.len() {
                if self.rows[balancer].len() == self.size {
                    continue;
                }
                let pair = |&member: &usize| (self.number(balancer, member), balancer, member);
                let is_in =
                    |pair: &(u64, usize, usize)| pair.0.checked_shr(shift).unwrap_or(0) == number;
                batch.extend(members.iter().map(pair).filter(is_in));
            }
            batch.sort_unstable();
            for (_, balancer, member) in batch.drain(..) {
                if self.rows[balancer].len() < self.size && self.room[member] > 0 {
                    self.rows[balancer].push(member);
                    self.room[member] -= 1;
                }
            }
        }
    }

    /// Gives everybody the last ones. Who lacks a member has all that have room already, so another balancer takes such
    /// a one and hands over one of its own: it has more than who lacks some, so it has one for it.
    fn fill_up(&mut self) {
        for balancer in 0..self.rows.len() {
            while self.rows[balancer].len() < self.size {
                let Some(open) = self.room.iter().position(|&room| room > 0) else {
                    return;
                };
                let lacks = |&other: &usize| !self.rows[other].contains(&open);
                let wishes = |&other: &usize| (self.number(other, open), other);
                let other = (0..self.rows.len()).filter(lacks).min_by_key(wishes);
                let Some(other) = other else { return };
                let own = &self.rows[balancer];
                let handed = (0..self.rows[other].len())
                    .filter(|&at| !own.contains(&self.rows[other][at]))
                    .min_by_key(|&at| self.number(balancer, self.rows[other][at]));
                let Some(handed) = handed else { return };
                let member = std::mem::replace(&mut self.rows[other][handed], open);
                self.rows[balancer].push(member);
                self.room[open] -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pool::testing::backends;
    use crate::rng::Rng;

    fn fleet(size: u64) -> Vec<u64> {
        (0..size).map(|member| mix(member * 31)).collect()
    }

    /// The identities that each balancer uses.
    fn rows(fleet: &[u64], size: usize, balancers: usize) -> Vec<BTreeSet<u64>> {
        let table = Table::new(fleet, size, balancers).matched(BATCH);
        let row = |row: &Vec<usize>| row.iter().map(|&member| fleet[member]).collect();
        table.rows.iter().map(row).collect()
    }

    /// Fleet, size, balancers.
    const SHAPES: [(u64, usize, usize); 8] = [
        (20, 5, 10),
        (100, 20, 10),
        (100, 20, 50),
        (101, 13, 17),
        (300, 30, 100),
        (50, 10, 200),
        (1000, 20, 50),
        (7, 6, 5),
    ];

    fn moved(before: &[BTreeSet<u64>], after: &[BTreeSet<u64>]) -> usize {
        let gone =
            |(before, after): (&BTreeSet<u64>, &BTreeSet<u64>)| after.difference(before).count();
        before.iter().zip(after).map(gone).sum()
    }

    #[test]
    fn each_balancer_has_its_number_and_each_member_as_many_as_any_other() {
        let rng = Rng::new(3);
        let drawn = (0..200).map(|_| {
            let members = 2 + rng.below(60);
            let size = 1 + rng.below(members - 1);
            (members, size as usize, 1 + rng.below(40) as usize)
        });
        for (members, size, balancers) in drawn.chain(SHAPES) {
            let fleet = fleet(members);
            let rows = rows(&fleet, size, balancers);
            assert!(rows.iter().all(|row| row.len() == size));
            let used = |member: &u64| rows.iter().filter(|row| row.contains(member)).count();
            let counts: Vec<usize> = fleet.iter().map(used).collect();
            let (least, most) = (counts.iter().min(), counts.iter().max());
            let spread = most.zip(least).map(|(most, least)| most - least);
            assert!(
                spread <= Some(1),
                "{members} {size} {balancers}: {counts:?}"
            );
        }
    }

    #[test]
    fn little_moves_when_a_member_comes_or_goes() {
        for (members, size, balancers) in SHAPES {
            let all = fleet(members);
            let before = rows(&all, size, balancers);
            let per_member = (size * balancers).div_ceil(all.len());
            let mut sum = 0;
            for gone in 0..5 {
                let mut rest = all.clone();
                rest.remove(gone * all.len() / 5);
                if rest.len() > size {
                    // What leaves moves back when it comes.
                    sum += moved(&before, &rows(&rest, size, balancers));
                }
            }
            // At the least those move that used it.
            let most = 4 * per_member + 8;
            assert!(sum <= 5 * most, "{members} {size} {balancers}: {sum} / 5");
        }
    }

    #[test]
    fn little_moves_when_a_balancer_comes_or_goes() {
        for (members, size, balancers) in SHAPES {
            let all = fleet(members);
            let before = rows(&all, size, balancers);
            let after = rows(&all, size, balancers + 1);
            let moved = moved(&before, &after[..balancers]);
            // As many as the new one takes over, a few times.
            assert!(moved <= 4 * size, "{members} {size} {balancers}: {moved}");
        }
    }

    #[test]
    fn the_order_of_the_fleet_does_not_matter() {
        for (members, size, balancers) in SHAPES {
            let all = fleet(members);
            let mut other = all.clone();
            other.reverse();
            other.rotate_left(2);
            assert_eq!(rows(&all, size, balancers), rows(&other, size, balancers));
        }
    }

    #[test]
    fn batches_change_nothing() {
        let (all, size, balancers) = (fleet(300), 40, 70);
        let whole = Table::new(&all, size, balancers).matched(usize::MAX - 1);
        for batch in [100, 1_000, 10_000] {
            let table = Table::new(&all, size, balancers).matched(batch);
            assert_eq!(table.rows, whole.rows);
        }
    }

    #[test]
    fn servers_keep_their_order_backups_stay_and_a_small_fleet_is_used_whole() {
        let mut fleet = backends(30);
        fleet[7].backup = true;
        let subset = |size: u32, balancer| Subset {
            size: NonZeroU32::new(size).unwrap(),
            balancer,
            of: NonZeroU32::new(4).unwrap(),
        };
        let mut all = BTreeSet::new();
        for balancer in 0..4 {
            let used = subset(8, balancer).among(&fleet);
            assert_eq!(used.len(), 9);
            let place = |server: &Backend| fleet.iter().position(|other| other == server);
            assert!(used.is_sorted_by_key(place) && used.contains(&fleet[7]));
            all.extend(used.into_iter().map(|server| server.name));
        }
        assert_eq!(all.len(), 30, "nobody is left out");
        assert_eq!(subset(29, 3).among(&fleet), fleet);
    }
}
