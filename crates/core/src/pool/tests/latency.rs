//! What leases tell about a member's time to its first byte.

use std::time::Duration;

use http::StatusCode;

use crate::config::settings::{Balance, Health, PoolSettings};
use crate::error::Cause;
use crate::picker::Tried;
use crate::pool::testing::{backends, pool_with};
use crate::pool::{Lease, Outcome};
use crate::rng::Rng;
use crate::time::Instant;

fn at(ms: u64) -> Instant {
    Instant::from_origin(Duration::from_millis(ms))
}

/// The mean in milliseconds after what `happens` to a lease of the only member, picked at 1000.
fn after(happens: impl FnOnce(Lease)) -> Option<u64> {
    let settings = PoolSettings {
        balance: Balance::PeakEwma,
        health: Health::Off,
        ..PoolSettings::new("app", backends(1))
    };
    let pool = pool_with(&settings, &std::sync::Arc::default());
    let lease = pool
        .pick(&mut Tried::new(), &Rng::new(1), at(1000))
        .unwrap();
    let member = std::sync::Arc::clone(lease.member());
    happens(lease);
    member
        .latency(at(1000))
        .map(|nanos| (nanos / 1e6).round() as u64)
}

#[test]
fn the_time_to_the_first_byte_counts_from_the_end_of_the_request() {
    let ok = Outcome::Answered(StatusCode::OK);
    let at_once = after(|mut lease| {
        lease.byte(at(1030));
        lease.byte(at(1900));
        lease.finish(ok, at(2000));
    });
    assert_eq!(at_once, Some(30));
    let upload = after(|mut lease| {
        lease.sending();
        lease.sent(at(5000));
        lease.byte(at(5040));
    });
    assert_eq!(upload, Some(40));
    let no_body = after(|lease| lease.finish(ok, at(1020)));
    assert_eq!(no_body, Some(20));
}

#[test]
fn an_answer_that_overtakes_its_request_and_a_client_that_leaves_tell_nothing() {
    let early = after(|mut lease| {
        lease.sending();
        lease.byte(at(1005));
    });
    assert_eq!((early, after(drop)), (None, None));
}

#[test]
fn who_fails_quickly_does_not_look_fast() {
    let reset = after(|lease| lease.finish(Outcome::Failed(Cause::Closed), at(1001)));
    assert_eq!(reset, Some(1000));
    let timeout = after(|lease| lease.finish(Outcome::Failed(Cause::TimedOut), at(4000)));
    assert_eq!(timeout, Some(3000));
}
