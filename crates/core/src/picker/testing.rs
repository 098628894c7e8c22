//! What the tests of several algorithms ask.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{Algorithm, Picker, Query, Standing, Tried, digest};
use crate::pool::testing::{members, weighted};
use crate::pool::{Member, Outcome};
use crate::rng::Rng;
use crate::time::Instant;

/// How often each of `members` is picked, with a new key each time.
pub(super) fn counts(picker: &dyn Picker, members: usize, picks: usize) -> Vec<usize> {
    counts_at(picker, members, picks, Instant::ORIGIN)
}

pub(super) fn counts_at(
    picker: &dyn Picker,
    members: usize,
    picks: usize,
    now: Instant,
) -> Vec<usize> {
    let (rng, tried, mut counts) = (Rng::new(5), Tried::new(), vec![0; members]);
    for pick in 0..picks {
        let query = Query::new(&tried, now, &rng).with_key(Some(key(pick)));
        counts[picker.pick(&query).unwrap()] += 1;
    }
    counts
}

/// The digest of a client's name.
pub(super) fn key(client: usize) -> u64 {
    digest(format!("client-{client}").as_bytes())
}

/// What every algorithm promises: one member, none, tried ones, no preference for a place, many threads at once, and an
/// explanation that foretells the pick and changes nothing.
pub(super) fn basics(algorithm: &dyn Algorithm) {
    let (rng, fresh) = (Rng::new(1), Tried::new());
    fn query<'a>(tried: &'a Tried, key: Option<u64>, rng: &'a Rng) -> Query<'a> {
        Query::new(tried, Instant::ORIGIN, rng).with_key(key)
    }

    let nobody = algorithm.build(&[], None);
    assert_eq!(nobody.pick(&query(&fresh, Some(1), &rng)), None);
    assert_eq!(nobody.pick(&query(&fresh, None, &rng)), None);
    assert_eq!(nobody.explain(&query(&fresh, Some(1), &rng)).choice, None);
    let one = algorithm.build(&members(1), Some(&*nobody));
    assert!((0..10).all(|key| one.pick(&query(&fresh, Some(key), &rng)) == Some(0)));

    for all in [members(5), weighted(&[9, 1, 1, 400, 2]), members(200)] {
        let picker = algorithm.build(&all, Some(&*one));
        for round in 0..50 {
            let mut tried = Tried::new();
            let mut had = Vec::new();
            let key = (round % 2 == 0).then(|| key(round));
            while let Some(choice) = picker.pick(&query(&tried, key, &rng)) {
                assert!(!had.contains(&choice), "picked again");
                tried.insert(&all[choice]);
                had.push(choice);
                if had.len() == Tried::CAPACITY {
                    break; // One more would be forgotten.
                }
            }
            assert_eq!(
                had.len(),
                all.len().min(Tried::CAPACITY),
                "somebody was left"
            );
            let trace = picker.explain(&query(&tried, key, &rng));
            assert_eq!(trace.candidates.len(), all.len());
            assert_eq!(trace.candidates[had[0]].standing, Standing::Tried);
        }
        for client in 0..50 {
            let mut tried = Tried::new();
            tried.insert(&all[client % 5]);
            let query = query(&tried, (client % 3 > 0).then(|| key(client)), &rng);
            let trace = picker.explain(&query);
            assert_eq!(trace, picker.explain(&query));
            assert_eq!(trace.choice, picker.pick(&query), "{trace}");
            assert!(trace.choice.is_some() && !trace.reason.is_empty());
        }
    }
    concurrently(algorithm);
}

/// Four threads pick, begin and end at once: nobody who is tried is picked, and everything ends.
fn concurrently(algorithm: &dyn Algorithm) {
    let all = weighted(&[1, 2, 3, 1, 1]);
    let picker = algorithm.build(&all, None);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (all, picker) = (&all, &picker);
            scope.spawn(move || {
                let (rng, mut tried) = (Rng::new(thread), Tried::new());
                tried.insert(&all[thread as usize]);
                for client in 0..1000 {
                    let now = Instant::from_nanos(client * 1_000_000);
                    let query = Query::new(&tried, now, &rng).with_key(Some(key(client as usize)));
                    let choice = picker.pick(&query).unwrap();
                    assert_ne!(choice, thread as usize);
                    all[choice].admit();
                    all[choice].note_latency(Duration::from_millis(1), now);
                    all[choice].end(Outcome::Answered(StatusCode::OK));
                }
            });
        }
    });
    assert!(all.iter().all(|member| member.in_flight() == 0));
}

/// With nothing in flight each member is picked by its weight, to within `off` of all picks.
pub(super) fn shares_follow_weights(algorithm: &dyn Algorithm, off: f64) {
    for weights in [[1, 1, 1, 1], [1, 2, 3, 4], [1, 1, 1, 17]] {
        let counts = counts(&*algorithm.build(&weighted(&weights), None), 4, 20_000);
        let sum = f64::from(weights.iter().sum::<u32>());
        for (count, weight) in counts.iter().zip(weights) {
            let away = *count as f64 / 20_000.0 - f64::from(weight) / sum;
            assert!(away.abs() < off, "{weights:?}: {counts:?}");
        }
    }
}

/// With nothing in flight a member that came back halfway through its slow start counts for half of its weight, and for
/// all of it afterwards.
pub(super) fn shares_follow_slow_starts(algorithm: &dyn Algorithm, off: f64) {
    let at = |secs| Instant::from_origin(Duration::from_secs(secs));
    for (weights, expected) in [
        ([1, 1, 1], [0.2, 0.4, 0.4]),
        ([6, 1, 2], [0.5, 1.0 / 6.0, 1.0 / 3.0]),
    ] {
        let all: Vec<_> = weighted(&weights)
            .into_iter()
            .map(|member| Member::new(member.index(), member.backend().clone()))
            .map(|member| Arc::new(member.slowly(Some(Duration::from_secs(10)))))
            .collect();
        let picker = algorithm.build(&all, None);
        let sum = f64::from(weights.iter().sum::<u32>());
        all[0].start_slowly(at(100));
        let whole = weights.map(|weight| f64::from(weight) / sum);
        for (now, expected) in [(105, expected), (110, whole)] {
            let counts = counts_at(&*picker, 3, 20_000, at(now));
            for (count, share) in counts.iter().zip(expected) {
                let away = *count as f64 / 20_000.0 - share;
                assert!(away.abs() < off, "{weights:?} at {now}: {counts:?}");
            }
        }
        // Everybody fresh: nobody is ahead of anybody, and picks still come.
        all.iter().for_each(|member| member.start_slowly(at(200)));
        let counts = counts_at(&*picker, 3, 20_000, at(200));
        for (count, share) in counts.iter().zip(whole) {
            let away = *count as f64 / 20_000.0 - share;
            assert!(away.abs() < off, "{weights:?} all fresh: {counts:?}");
        }
    }
}

/// `count` requests that do not end.
pub(super) fn balls_in_bins(algorithm: &dyn Algorithm, all: &[Arc<Member>], count: usize) {
    let (rng, tried, picker) = (Rng::new(9), Tried::new(), algorithm.build(all, None));
    for client in 0..count {
        let query = Query::new(&tried, Instant::ORIGIN, &rng).with_key(Some(key(client)));
        all[picker.pick(&query).unwrap()].admit();
    }
}

/// How a simulated server works.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Lane {
    /// All requests at once, each in the same time.
    Parallel,
    /// One after the other.
    Single,
}

/// When, in microseconds; and the request that ends, as its member and beginning, or `None` for one that begins.
type Event = (u64, Option<(usize, u64)>);

/// Ten servers, one of them ten times slower; its picks as a part of the fair tenth, once things have settled.
///
/// In parallel lanes a hundred clients ask again as soon as they are answered. In single ones requests come in every 2 ms,
/// to servers that need 10 ms.
pub(super) fn slow_share(algorithm: &dyn Algorithm, lane: Lane) -> f64 {
    const SLOW: usize = 4;
    let (all, rng, tried) = (members(10), Rng::new(3), Tried::new());
    let picker = algorithm.build(&all, None);
    let mut free_at = [0u64; 10];
    let mut events: BinaryHeap<Reverse<Event>> = BinaryHeap::new();
    let clients = if lane == Lane::Parallel { 100 } else { 1 };
    for client in 0..clients {
        events.push(Reverse((client * 100, None)));
    }
    let (mut picks, mut slow) = (0, 0);
    while picks < 40_000 {
        let Reverse((micros, event)) = events.pop().unwrap();
        let now = Instant::from_nanos(micros * 1000);
        if let Some((member, since)) = event {
            let member = &all[member];
            member.stop_waiting();
            member.heard(now);
            member.note_latency(Duration::from_micros(micros - since), now);
            member.end(Outcome::Answered(StatusCode::OK));
            if lane == Lane::Single {
                continue;
            }
        }
        let choice = picker.pick(&Query::new(&tried, now, &rng)).unwrap();
        all[choice].admit();
        all[choice].wait(now);
        let takes = if choice == SLOW { 100_000 } else { 10_000 };
        let ends = match lane {
            Lane::Parallel => micros + takes,
            Lane::Single => free_at[choice].max(micros) + takes,
        };
        free_at[choice] = ends;
        events.push(Reverse((ends, Some((choice, micros)))));
        if lane == Lane::Single {
            events.push(Reverse((micros + 2000, None)));
        }
        picks += 1;
        slow += u32::from(picks > 10_000 && choice == SLOW);
    }
    f64::from(slow) / 3000.0
}
