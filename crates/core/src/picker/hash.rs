//! Hash on a key: requests with the same key go to the same member, as long as it is there.
//!
//! Use it where a server knows something about a key that the others do not: a cache, a session, a shard. Do not use it to
//! spread load: a popular key is as heavy as it is, and clients behind one address are one client. When a member leaves, its
//! keys go elsewhere and come back with it; what it knew about them may be out of date by then.
//!
//! Three rings place the keys:
//!
//! | ring | a pick costs | memory, build | shares | when one of n leaves |
//! |---|---|---|---|---|
//! | [`rendezvous`](super::rendezvous) | O(n) | nothing | exact but for chance | only its keys move |
//! | [`ketama`](super::ketama) | O(1) expected | 160 points each, a sort | ± 8 % | only its keys move |
//! | [`maglev`](super::maglev) | O(1) | a table of 4,099 to 262,147 places | ± 1 % | its keys, and as many again at most (up to 200 members) |
//!
//! Everything is computed from the name, the address and the weight of the members, sorted by digest: balancers with the same
//! members decide alike, whatever order the members stand in.
//!
//! **Bounded load** (Mirrokni, Thorup, Zadimoghaddam, *Consistent hashing with bounded loads*, 2018): with `max-load = c` a
//! member takes a request only while it has fewer than `c` times its share of the requests in flight (this one included), so at
//! most `⌈c · share⌉`; others go to the next in the key's order that has room. Requests at members that are not eligible
//! count, too, until they end, and picks at the very same time may be one too many each. It is off unless asked for: under
//! little load the bound is one request, and then a second one with the same key goes elsewhere.
//!
//! A request without the key (no such header, cookie or parameter, or an empty one) is balanced by two choices, so that such
//! requests do not all meet at one member. A retry goes to the next in the key's order.

use std::sync::Arc;

use super::ketama::{self, Ketama};
use super::maglev::{self, Maglev};
use super::p2c::{InFlight, Pair};
use super::rendezvous::Rendezvous;
use super::{Algorithm, Picker, Query, Standing, Trace, digest, weighted};
use crate::backend::Backend;
use crate::config::settings::{HashBalance, HashRing};
use crate::pool::Member;

/// An order of the members for each key.
pub(super) trait Ring: Send + Sync + 'static {
    /// Why the first in the order is the first.
    const REASON: &'static str;

    /// The first in the order of `key` that `fits`. `None` when there is none, or none within a bounded number of steps.
    fn first(&self, key: u64, fits: impl Fn(usize) -> bool) -> Option<usize>;
}

/// The algorithm.
#[derive(Clone, Debug)]
pub struct Hash {
    ring: HashRing,
    max_load: Option<f64>,
    points_per_weight: f64,
    table: u64,
}

impl Hash {
    /// A hash over `servers`, all that are configured: sizes follow from them, and not from who is eligible, so that one that
    /// leaves does not resize what the others are in.
    pub fn new(by: &HashBalance, servers: &[Backend]) -> Self {
        let weights = || servers.iter().map(|server| u64::from(server.weight.get()));
        let common = weights().fold(0, weighted::gcd).max(1);
        let sum = weights().sum::<u64>().max(1);
        Self {
            ring: by.ring,
            max_load: by
                .max_load_percent
                .map(|percent| f64::from(percent) / 100.0),
            points_per_weight: ketama::points_per_weight(common, sum),
            table: maglev::size(servers.len() as u64, sum / common),
        }
    }

    fn over<R: Ring>(&self, ring: R, among: &[Arc<Member>]) -> Box<dyn Picker> {
        Box::new(Hashed {
            members: among.into(),
            ring,
            bound: self.max_load.map(|times| Bound {
                per_weight: times / among.iter().map(|m| f64::from(m.weight())).sum::<f64>(),
            }),
            keyless: Pair::new(among),
        })
    }
}

impl Algorithm for Hash {
    fn build(&self, among: &[Arc<Member>], _: Option<&dyn Picker>) -> Box<dyn Picker> {
        match self.ring {
            HashRing::Rendezvous => self.over(Rendezvous::new(among), among),
            HashRing::Ketama => self.over(Ketama::new(among, self.points_per_weight), among),
            HashRing::Maglev => self.over(Maglev::new(among, self.table), among),
        }
    }
}

/// How the load is bounded: a member of weight one takes `per_weight` of all requests in flight.
struct Bound {
    per_weight: f64,
}

impl Bound {
    /// The requests in flight, the new one included.
    fn requests(members: &[Arc<Member>]) -> f64 {
        let in_flight = match members.first().and_then(|member| member.crowd()) {
            Some(all) => all,
            None => members.iter().map(|member| member.in_flight()).sum(),
        };
        f64::from(in_flight) + 1.0
    }

    /// May `member` have one more? For whole numbers, below the bound is below the bound rounded up.
    fn has_room(&self, member: &Member, requests: f64) -> bool {
        f64::from(member.in_flight()) < self.per_weight * f64::from(member.weight()) * requests
    }
}

struct Hashed<R> {
    members: Box<[Arc<Member>]>,
    ring: R,
    bound: Option<Bound>,
    keyless: Pair<InFlight>,
}

impl<R: Ring> Hashed<R> {
    fn choose(&self, key: u64, query: &Query<'_>) -> Option<usize> {
        let allowed = |index: usize| query.allows(&self.members[index]);
        if let Some(bound) = &self.bound {
            let requests = Bound::requests(&self.members);
            let fits =
                |index: usize| allowed(index) && bound.has_room(&self.members[index], requests);
            if let Some(choice) = self.first(key, fits) {
                return Some(choice);
            }
        }
        // Without a bound; or all that have room are tried, and a full member is better than none.
        self.first(key, allowed)
    }

    fn first(&self, key: u64, fits: impl Fn(usize) -> bool) -> Option<usize> {
        self.ring.first(key, &fits).or_else(|| {
            let count = self.members.len();
            let start = key.checked_rem(count as u64)? as usize;
            (start..count).chain(0..start).find(|&index| fits(index))
        })
    }
}

impl<R: Ring> Picker for Hashed<R> {
    fn pick(&self, query: &Query<'_>) -> Option<usize> {
        match query.key {
            Some(key) => self.choose(key, query),
            None => self.keyless.pick(query),
        }
    }

    fn explain(&self, query: &Query<'_>) -> Trace {
        if query.key.is_none() {
            return Trace {
                reason: "hash: the request has no key, so two choices",
                ..self.keyless.explain(query)
            };
        }
        let mut trace = Trace::of(&self.members, query, self.pick(query), R::REASON);
        if let Some(bound) = &self.bound {
            let requests = Bound::requests(&self.members);
            for (candidate, member) in trace.candidates.iter_mut().zip(&self.members) {
                if candidate.standing == Standing::Free && !bound.has_room(member, requests) {
                    candidate.standing = Standing::Full;
                }
            }
        }
        trace
    }
}

/// What a server is to every balancer.
pub(crate) fn identity(backend: &Backend) -> u64 {
    digest::mix(
        digest(backend.name.as_bytes())
            ^ digest(backend.address.to_string().as_bytes()).rotate_left(1),
    )
}

/// The members' indexes with their identities, in the order of these: the same for everybody.
pub(super) fn by_identity(among: &[Arc<Member>]) -> Vec<(u64, u32)> {
    let mut sorted: Vec<(u64, u32)> = among
        .iter()
        .map(|member| identity(member.backend()))
        .zip(0..)
        .collect();
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::HashKey;
    use crate::picker::Tried;
    use crate::picker::testing::{basics, counts, key, shares_follow_weights};
    use crate::pool::testing::{backends, members, weighted};
    use crate::rng::Rng;
    use crate::time::Instant;

    const RINGS: [HashRing; 3] = [HashRing::Rendezvous, HashRing::Ketama, HashRing::Maglev];

    fn hash(ring: HashRing, max_load_percent: Option<u32>, all: &[Arc<Member>]) -> Hash {
        let by = HashBalance {
            key: HashKey::Client,
            ring,
            max_load_percent,
        };
        let servers: Vec<_> = all.iter().map(|member| member.backend().clone()).collect();
        Hash::new(&by, &servers)
    }

    /// The names of those whom `keys` clients get.
    fn owners(hash: &Hash, among: &[Arc<Member>], keys: usize) -> Vec<Arc<str>> {
        let (rng, tried, picker) = (Rng::new(1), Tried::new(), hash.build(among, None));
        let owner = |client| {
            let query = Query::new(&tried, Instant::ORIGIN, &rng).with_key(Some(key(client)));
            Arc::clone(among[picker.pick(&query).unwrap()].name())
        };
        (0..keys).map(owner).collect()
    }

    #[test]
    fn it_keeps_what_every_algorithm_promises() {
        for ring in RINGS {
            for max_load in [None, Some(100), Some(125)] {
                basics(&hash(ring, max_load, &members(5)));
            }
        }
    }

    #[test]
    fn shares_are_those_of_the_weights() {
        for ring in RINGS {
            shares_follow_weights(&hash(ring, None, &members(4)), 0.05);
            shares_follow_weights(&hash(ring, None, &weighted(&[1, 1, 1, 17])), 0.05);
        }
    }

    #[test]
    fn nobody_of_many_gets_much_more_than_his_share() {
        for (ring, most) in [
            (HashRing::Rendezvous, 1.15),
            (HashRing::Ketama, 1.35),
            (HashRing::Maglev, 1.15),
        ] {
            let all = members(50);
            let counts = counts(&*hash(ring, None, &all).build(&all, None), 50, 50_000);
            let busiest = *counts.iter().max().unwrap() as f64 / 1000.0;
            let idlest = *counts.iter().min().unwrap() as f64 / 1000.0;
            assert!(
                busiest < most && idlest > 2.0 - most,
                "{ring:?}: {idlest} to {busiest}"
            );
        }
    }

    #[test]
    fn the_order_of_the_members_does_not_matter() {
        for ring in RINGS {
            for all in [members(20), weighted(&[5, 1, 3, 3, 1, 9])] {
                let mut other = all.clone();
                other.reverse();
                other.rotate_left(3);
                let (one, two) = (hash(ring, None, &all), hash(ring, None, &other));
                assert_eq!(
                    owners(&one, &all, 2000),
                    owners(&two, &other, 2000),
                    "{ring:?}"
                );
            }
        }
    }

    #[test]
    fn decisions_never_change_between_versions() {
        let all = members(5);
        let known = RINGS.map(|ring| {
            let owners = owners(&hash(ring, None, &all), &all, 12);
            owners.iter().map(|name| &name[1..]).collect::<String>()
        });
        assert_eq!(known, ["004131221012", "024033203001", "214402202001"]);
    }

    #[test]
    fn when_one_leaves_only_its_keys_move_and_they_spread_over_all() {
        for ring in [HashRing::Rendezvous, HashRing::Ketama] {
            for all in [members(10), weighted(&[3, 1, 1, 2, 5, 1, 1, 1, 2, 1])] {
                let hash = hash(ring, None, &all);
                let before = owners(&hash, &all, 5000);
                for gone in [0, 4, 9] {
                    let mut rest = all.clone();
                    let gone = rest.remove(gone);
                    let after = owners(&hash, &rest, 5000);
                    let pairs = || before.iter().zip(&after);
                    assert!(pairs().all(|(old, new)| old == gone.name() || old == new));
                    for heir in &rest {
                        let inherits = |(old, new): &(&Arc<str>, &Arc<str>)| {
                            *old == gone.name() && *new == heir.name()
                        };
                        assert!(pairs().any(|pair| inherits(&pair)), "{ring:?} {heir:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn with_maglev_at_most_two_nths_of_the_keys_move() {
        for count in [3, 10, 40, 100, 200] {
            let all = members(count);
            let hash = hash(HashRing::Maglev, None, &all);
            let before = owners(&hash, &all, 20_000);
            for gone in [0, count / 2, count - 1] {
                let mut rest = all.clone();
                rest.remove(gone);
                let after = owners(&hash, &rest, 20_000);
                let moved = before
                    .iter()
                    .zip(&after)
                    .filter(|(old, new)| old != new)
                    .count();
                assert!(moved <= 2 * 20_000 / count, "{count}: {moved} of 20000");
            }
        }
    }

    #[test]
    fn a_retry_of_a_key_goes_where_the_key_would_go_without_the_member() {
        let (all, rng) = (members(8), Rng::new(1));
        for ring in [HashRing::Rendezvous, HashRing::Ketama] {
            let hash = hash(ring, None, &all);
            let whole = hash.build(&all, None);
            for client in 0..200 {
                let mut tried = Tried::new();
                let ask = |picker: &dyn Picker, tried: &Tried| {
                    let query = Query::new(tried, Instant::ORIGIN, &rng);
                    picker.pick(&query.with_key(Some(key(client)))).unwrap()
                };
                let first = ask(&*whole, &tried);
                tried.insert(&all[first]);
                let mut rest = all.clone();
                rest.remove(first);
                let heir = &rest[ask(&*hash.build(&rest, None), &Tried::new())];
                assert_eq!(all[ask(&*whole, &tried)].name(), heir.name());
            }
        }
    }

    #[test]
    fn no_load_is_ever_above_its_bound_even_with_one_key_for_all() {
        for ring in RINGS {
            for (percent, weights) in [
                (125, [1, 1, 1, 1, 1, 1, 1]),
                (100, [1, 1, 1, 1, 1, 1, 1]),
                (150, [1, 2, 3, 4, 5, 1, 4]),
            ] {
                let (all, rng, tried) = (weighted(&weights), Rng::new(1), Tried::new());
                let picker = hash(ring, Some(percent), &all).build(&all, None);
                let sum = f64::from(weights.iter().sum::<u32>());
                for requests in 1..500 {
                    let client = if requests % 3 == 0 { requests } else { 7 };
                    let query = Query::new(&tried, Instant::ORIGIN, &rng);
                    let choice = picker.pick(&query.with_key(Some(key(client)))).unwrap();
                    all[choice].admit();
                    let share = requests as f64 * f64::from(weights[choice]) / sum;
                    let bound = (share * f64::from(percent) / 100.0 - 1e-9).ceil();
                    let load = f64::from(all[choice].in_flight());
                    assert!(load <= bound, "{ring:?} {percent}: {load} of {bound}");
                }
            }
        }
    }

    #[test]
    fn with_room_the_bound_changes_nothing() {
        let all = members(10);
        for ring in RINGS {
            let bounded = owners(&hash(ring, Some(125), &all), &all, 1000);
            assert_eq!(bounded, owners(&hash(ring, None, &all), &all, 1000));
        }
    }

    #[test]
    fn requests_without_a_key_go_to_the_less_loaded() {
        let (all, rng, tried) = (members(2), Rng::new(1), Tried::new());
        all[0].admit();
        for ring in RINGS {
            let picker = hash(ring, None, &all).build(&all, None);
            let query = Query::new(&tried, Instant::ORIGIN, &rng);
            assert!((0..50).all(|_| picker.pick(&query) == Some(1)));
        }
    }

    #[test]
    fn an_explanation_shows_who_is_full() {
        let (all, rng, tried) = (members(3), Rng::new(1), Tried::new());
        let picker = hash(HashRing::Ketama, Some(125), &all).build(&all, None);
        let query = Query::new(&tried, Instant::ORIGIN, &rng).with_key(Some(key(1)));
        let first = picker.pick(&query).unwrap();
        all[first].admit();
        let trace = picker.explain(&query);
        assert_eq!(trace.candidates[first].standing, Standing::Full);
        assert_ne!(trace.choice, Some(first));
    }

    #[test]
    fn name_and_address_make_the_identity_and_the_weight_does_not() {
        let of = |backend: Backend| identity(&backend);
        let [one, two]: [Backend; 2] = backends(2).try_into().unwrap();
        let heavy = Backend {
            weight: 9.try_into().unwrap(),
            ..one.clone()
        };
        let renamed = Backend {
            name: "x".into(),
            ..one.clone()
        };
        let moved = Backend {
            address: two.address,
            ..one.clone()
        };
        assert_eq!(of(one.clone()), of(heavy));
        assert_ne!(of(one.clone()), of(renamed));
        assert_ne!(of(one), of(moved));
    }
}
