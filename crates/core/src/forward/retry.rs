//! May a failed attempt be followed by another one?
//!
//! It reads what an error says about delivery, never its text. Whether there is somebody left to ask is the pick's
//! business, how many retries the whole pool may spend is [`budget`](super::budget)'s.

use std::time::Duration;

use http::Method;

use super::headers::{Asked, Shape};
use super::replay;
use crate::decision::Obstacle;
use crate::error::Delivered;
use crate::rng::Rng;

const BACK_OFF_MIN: Duration = Duration::from_millis(25);
const BACK_OFF_MAX: Duration = Duration::from_millis(250);

/// What decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    /// May the backend have seen the request?
    pub(super) delivered: Delivered,
    /// The fault lies with the client or this machine: elsewhere it would be the same.
    pub(super) ours: bool,
    /// The time that the client may be kept waiting is spent.
    pub(super) timed_out: bool,
    /// The unsent request is at hand.
    pub(super) returned: bool,
    /// Why it cannot be repeated once it may have been seen; `None`: it can.
    pub(super) obstacle: Option<Obstacle>,
    /// Retries made so far.
    pub(super) retries: u32,
    /// Retries allowed.
    pub(super) retries_max: u32,
}

/// What may be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Nothing, for this reason: the client is told.
    Stop(Obstacle),
    /// Send the returned request elsewhere. It is not charged: an attempt that delivered nothing puts no load on
    /// anybody, and a dead server must not cost a request.
    Elsewhere,
    /// Send it again, if there is budget.
    Again,
}

/// The rule.
pub(super) fn next(failed: &Failed) -> Next {
    if failed.ours {
        return Next::Stop(Obstacle::Ours);
    }
    if failed.retries >= failed.retries_max {
        return Next::Stop(match failed.retries_max {
            0 => Obstacle::RetriesOff,
            _ => Obstacle::RetriesSpent,
        });
    }
    match (failed.delivered, failed.obstacle) {
        (Delivered::No, _) if failed.returned => Next::Elsewhere,
        (Delivered::Yes, _) => Next::Stop(Obstacle::Answered),
        (_, Some(obstacle)) => Next::Stop(obstacle),
        (_, None) if failed.timed_out => Next::Stop(Obstacle::TimedOut),
        (_, None) => Next::Again,
    }
}

/// Why a request cannot be repeated once its server may have seen it; `None`: it can.
///
/// RFC 9110 §9.2.2: a proxy must not repeat a request that is not idempotent. An upgrade is not repeated, either: its
/// backend may already speak another protocol.
pub(super) fn obstacle(retries_max: u32, method: &Method, asked: Asked) -> Option<Obstacle> {
    match asked.shape {
        _ if retries_max == 0 => Some(Obstacle::RetriesOff),
        _ if !method.is_idempotent() => Some(Obstacle::Method),
        _ if asked.upgrade => Some(Obstacle::Upgrade),
        Shape::Exact(length) if length > replay::BYTES_MAX as u64 => Some(Obstacle::BodySize),
        _ => None,
    }
}

/// How long to wait before a retry that can only go where one failed: a random time below a bound that doubles, so
/// that many who failed together spread over it.
pub(super) fn back_off(retries: u32, rng: &Rng) -> Duration {
    let doublings = retries.saturating_sub(1).min(10);
    let bound = (BACK_OFF_MIN * (1 << doublings)).min(BACK_OFF_MAX);
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.below(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_below_a_bound_that_doubles() {
        let rng = Rng::new(3);
        for (retries, bound) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (4_000, 250)] {
            let mut drawn: Vec<_> = (0..1000).map(|_| back_off(retries, &rng)).collect();
            drawn.sort();
            let bound = Duration::from_millis(bound);
            assert!(drawn[0] < bound / 20, "{retries}: as short as nothing");
            assert!(
                (bound * 2 / 5..bound * 3 / 5).contains(&drawn[500]),
                "{retries}"
            );
            assert!((bound * 19 / 20..bound).contains(&drawn[999]), "{retries}");
        }
    }

    const FAILED: Failed = Failed {
        delivered: Delivered::Maybe,
        ours: false,
        timed_out: false,
        returned: false,
        obstacle: None,
        retries: 0,
        retries_max: 2,
    };

    #[test]
    fn the_table_of_retries() {
        let unsent = Failed {
            delivered: Delivered::No,
            returned: true,
            obstacle: Some(Obstacle::Method),
            ..FAILED
        };
        let table = [
            ("an idempotent request after a reset", FAILED, Next::Again),
            (
                "its second retry",
                Failed {
                    retries: 1,
                    ..FAILED
                },
                Next::Again,
            ),
            (
                "its third",
                Failed {
                    retries: 2,
                    ..FAILED
                },
                Next::Stop(Obstacle::RetriesSpent),
            ),
            (
                "a POST after a reset",
                Failed {
                    obstacle: Some(Obstacle::Method),
                    ..FAILED
                },
                Next::Stop(Obstacle::Method),
            ),
            (
                "a timeout after delivery",
                Failed {
                    timed_out: true,
                    ..FAILED
                },
                Next::Stop(Obstacle::TimedOut),
            ),
            (
                "an answer was seen",
                Failed {
                    delivered: Delivered::Yes,
                    ..FAILED
                },
                Next::Stop(Obstacle::Answered),
            ),
            (
                "the client's fault",
                Failed {
                    ours: true,
                    ..FAILED
                },
                Next::Stop(Obstacle::Ours),
            ),
            ("a refused POST", unsent, Next::Elsewhere),
            (
                "a connect timeout",
                Failed {
                    timed_out: true,
                    ..unsent
                },
                Next::Elsewhere,
            ),
            (
                "no descriptor left",
                Failed {
                    ours: true,
                    ..unsent
                },
                Next::Stop(Obstacle::Ours),
            ),
            (
                "a refused POST too often",
                Failed {
                    retries: 2,
                    ..unsent
                },
                Next::Stop(Obstacle::RetriesSpent),
            ),
            (
                "unsent but lost",
                Failed {
                    returned: false,
                    ..unsent
                },
                Next::Stop(Obstacle::Method),
            ),
            (
                "unsent, lost, but known",
                Failed {
                    returned: false,
                    obstacle: None,
                    ..unsent
                },
                Next::Again,
            ),
            (
                "retries are off",
                Failed {
                    retries_max: 0,
                    ..unsent
                },
                Next::Stop(Obstacle::RetriesOff),
            ),
        ];
        for (name, failed, expected) in table {
            assert_eq!(next(&failed), expected, "{name}");
        }
    }
}
