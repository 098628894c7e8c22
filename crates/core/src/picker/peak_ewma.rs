//! Peak EWMA: of two members drawn at random the one that promises the earlier answer.
//!
//! The load is what the next request would wait: the mean time to the first byte, which jumps to a slow answer at once and
//! comes down over ten seconds, times the requests in flight and the new one (Finagle's `PeakEwma`, over [`P2c`]'s two
//! choices). Where a request has waited longer than the mean without a byte, that wait counts: a
//! member that hangs is avoided before it answers.
//!
//! Use it when servers differ in speed and that changes: other zones, noisy neighbours, garbage collection. Do not use it when
//! answers differ in time by what is asked (long polls beside small files): then it measures the luck of the draw. And who
//! fails quickly looks fast; therefore a failed attempt counts as an answer after one second.
//!
//! A member of which nothing is known gets one request, and the next when that is answered. The mean fades, so that a
//! slow member is asked again. A pick takes constant time.

use crate::pool::Member;
use crate::time::Instant;

use super::p2c::{Load, weight};

/// The measure: use it as [`P2c<PeakEwma>`](super::P2c).
#[derive(Clone, Copy, Debug)]
pub struct PeakEwma;

/// More than any answer takes, in nanoseconds: for a member that was asked and has never answered.
const UNKNOWN: f64 = 1e15;

impl Load for PeakEwma {
    const REASON: &'static str = "peak ewma: of two the one that promises the earlier answer";

    fn of(member: &Member, now: Instant) -> f64 {
        let in_flight = f64::from(member.in_flight());
        let cost = match member.latency(now) {
            Some(mean) => mean.max(member.silence(now).as_nanos() as f64) * (in_flight + 1.0),
            None if in_flight > 0.0 => UNKNOWN + in_flight,
            None => 0.0,
        };
        cost / weight(member, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::picker::testing::{
        Lane, basics, counts_at, shares_follow_slow_starts, shares_follow_weights, slow_share,
    };
    use crate::picker::{Algorithm, P2c};
    use crate::pool::testing::members;

    fn peak_ewma() -> P2c<PeakEwma> {
        P2c::default()
    }

    fn at(ms: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn a_fresh_member_counts_for_a_part_of_its_weight() {
        shares_follow_slow_starts(&peak_ewma(), 0.02);
    }

    #[test]
    fn it_keeps_what_every_algorithm_promises() {
        basics(&peak_ewma());
    }

    #[test]
    fn before_anything_is_known_everybody_gets_what_the_weights_say() {
        shares_follow_weights(&peak_ewma(), 0.03);
    }

    #[test]
    fn a_slow_member_gets_a_small_part_of_its_share() {
        for lane in [Lane::Parallel, Lane::Single] {
            let share = slow_share(&peak_ewma(), lane);
            assert!(share <= 0.15, "{lane:?}: {share}");
        }
    }

    #[test]
    fn of_two_the_slower_one_is_avoided_until_its_past_has_faded() {
        let all = members(2);
        all[0].note_latency(Duration::from_millis(400), at(0));
        all[1].note_latency(Duration::from_millis(20), at(0));
        let picker = peak_ewma().build(&all, None);
        assert_eq!(counts_at(&*picker, 2, 100, at(1000)), [0, 100]);
        // Only the one that is asked keeps its mean fresh.
        all[1].note_latency(Duration::from_millis(20), at(60_000));
        assert_eq!(counts_at(&*picker, 2, 100, at(60_000)), [100, 0]);
    }

    #[test]
    fn a_member_that_hangs_is_avoided_before_it_answers() {
        let all = members(2);
        for member in &all {
            member.note_latency(Duration::from_millis(20), at(0));
        }
        let picker = peak_ewma().build(&all, None);
        all[0].admit();
        all[0].wait(at(1000));
        (0..5).for_each(|_| {
            all[1].admit();
        });
        // One request against five: the idle one, until its one request has waited for longer than the others would.
        assert_eq!(counts_at(&*picker, 2, 50, at(1010)), [50, 0]);
        assert_eq!(counts_at(&*picker, 2, 50, at(1070)), [0, 50]);
    }

    #[test]
    fn a_stranger_gets_one_request_and_then_has_to_answer() {
        let all = members(2);
        all[1].note_latency(Duration::from_millis(900), at(0));
        let picker = peak_ewma().build(&all, None);
        assert_eq!(counts_at(&*picker, 2, 10, at(0)), [10, 0]);
        all[0].admit();
        assert_eq!(counts_at(&*picker, 2, 10, at(0)), [0, 10]);
    }
}
