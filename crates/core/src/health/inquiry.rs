//! The stall guard's own question, for when too little is under way to judge by.
//!
//! Few clients, each waiting for one answer before it asks again, are soon all at the frozen member. Then nobody else
//! answers anything, and nothing tells that member from a pool that is slow as a whole. So, once a request has waited
//! there for longer than is usual, the guard asks the member by a probe that only its process can answer, and others after
//! it. The member fails when two answers of others came, some time apart, and its own takes several times as long as theirs:
//! a pool that is slow as a whole is slow to everybody's question, and a process that is busy with a long poll
//! answers.
//!
//! The question counts as one more request that waits, and all else is as in [`stall`](super::stall).

use std::time::Duration;

use super::normal::{Counts, next_age, surprise};
use super::stall::{AGAIN, ENOUGH, Finding, LATE, LOOK_AGAIN, Signs, WAITING};
use crate::time::Instant;

/// A wait is worth a question when one of twice its age would be so surprising, in bits: one chance in 64.
const ODD: f64 = 6.0;

/// Members about whom is asked at a time: where there are more it is the pool.
pub(crate) const MOST: usize = 16;

/// The member has failed when its answer takes so many times as long as the slowest of the others'.
const MARGIN: u32 = 4;

/// What one member was asked, and how others did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inquiry {
    /// When the member was asked; `None` until its probe starts.
    asked: Option<Instant>,
    /// The first and the last answer of others.
    answers: Option<(Instant, Instant)>,
    /// How long the slowest of them took.
    slowest: Duration,
    /// When the next of the others is asked.
    next: Instant,
}

impl Inquiry {
    /// An inquiry about a member whose process was asked then, if it was.
    pub(crate) fn new(asked: Option<Instant>) -> Self {
        Self {
            asked,
            ..Self::default()
        }
    }

    /// Is the member still to be asked?
    pub(crate) fn wants_asking(&self) -> bool {
        self.asked.is_none()
    }

    /// The member was asked, unless it was before.
    pub(crate) fn ask(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
    }

    /// Has it sent something since? Then the question is answered.
    pub(crate) fn is_answered(&self, heard: Instant) -> bool {
        self.asked.is_some_and(|asked| heard >= asked)
    }

    /// Shall somebody else be asked now?
    pub(crate) fn calls_witness(&mut self, now: Instant) -> bool {
        let calls = !self.is_confirmed() && now >= self.next;
        if calls {
            self.next = now + AGAIN;
        }
        calls
    }

    /// Somebody else answered what he was asked then.
    pub(crate) fn testify(&mut self, started: Instant, now: Instant) {
        if self.asked.is_none_or(|asked| started < asked) {
            return;
        }
        self.slowest = self.slowest.max(now.saturating_since(started));
        let first = self.answers.map_or(now, |(first, _)| first);
        self.answers = Some((first, now));
    }

    /// For how long the member has not answered.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.asked
            .map_or(Duration::ZERO, |asked| now.saturating_since(asked))
    }

    /// Have others done so much better that only the member can be the reason?
    pub(crate) fn convinces(&self, now: Instant) -> bool {
        self.is_confirmed() && self.age(now) >= self.slowest.saturating_mul(MARGIN)
    }

    fn is_confirmed(&self) -> bool {
        self.answers
            .is_some_and(|(first, last)| last >= first + AGAIN)
    }
}

impl Signs {
    /// Judges with the guard's own question, that counts as one more request that waits. An `inquiry` begins when a
    /// wait is worth it and traffic does not tell; the process may be at work on a question that began at `probing`.
    pub(crate) fn inquire(
        &self,
        normal: (&Counts, &Counts),
        others_byte: Instant,
        probing: Option<Instant>,
        inquiry: &mut Option<Inquiry>,
        now: Instant,
    ) -> Finding {
        let answered = |inquiry: &mut Inquiry| inquiry.is_answered(self.heard);
        let Some((since, &oldest)) = self.silent_since().zip(self.sent.last()) else {
            *inquiry = None;
            return Finding::Calm;
        };
        inquiry.take_if(answered);
        let silence = now.saturating_since(since);
        let again = now + LOOK_AGAIN.max(silence / 4);
        let (own, pool) = normal;
        if let Some(inquiry) = inquiry {
            let age = inquiry.age(now);
            let bits = self.surprise(normal, now) + surprise(age, own, pool);
            if inquiry.convinces(now) && bits >= ENOUGH {
                return self.stalled(silence);
            }
            let next = next_age(age).map_or(Instant::NEVER, |next| now + (next - age));
            return Finding::Doubtful(again.min(next).min(self.next_surprise(now)));
        }
        let twice = self.age(oldest, now) * 2;
        if surprise(twice, own, pool) < ODD {
            let next = next_age(twice).map_or(Instant::NEVER, |age| since + age / 2);
            return Finding::Doubtful(next);
        }
        let told = self.sent.len() >= WAITING && others_byte > since && others_byte + LATE > now;
        if !told {
            let asked = probing.filter(|&began| began > self.heard);
            *inquiry = Some(Inquiry::new(asked));
        }
        Finding::Doubtful(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn a_member_fails_when_others_answered_twice_and_in_a_fourth_of_its_time() {
        // asked, answers of others as (asked, answered), now, has it failed
        let table: [(_, &[(u64, u64)], _, _); 8] = [
            (Some(100), &[(100, 101), (125, 126)], 126, true),
            (Some(100), &[(100, 101)], 9000, false),
            (Some(100), &[(100, 101), (100, 125)], 9000, false),
            (Some(100), &[(100, 140), (130, 170)], 259, false),
            (Some(100), &[(100, 140), (130, 170)], 260, true),
            (Some(100), &[(99, 101), (125, 126)], 9000, false),
            (Some(100), &[], 9000, false),
            (None, &[(100, 101), (125, 126)], 9000, false),
        ];
        for (asked, answers, now, failed) in table {
            let mut inquiry = Inquiry::new(asked.map(at));
            for &(started, answered) in answers {
                inquiry.testify(at(started), at(answered));
            }
            assert_eq!(inquiry.convinces(at(now)), failed, "{answers:?} at {now}");
        }
    }

    #[test]
    fn others_are_asked_until_two_answers_lie_apart() {
        let mut inquiry = Inquiry::new(None);
        assert!(inquiry.wants_asking());
        inquiry.ask(at(100));
        inquiry.ask(at(101));
        assert!(!inquiry.wants_asking());
        let calls = |inquiry: &mut Inquiry, ms| inquiry.calls_witness(at(ms));
        assert!(calls(&mut inquiry, 100) && !calls(&mut inquiry, 124) && calls(&mut inquiry, 125));
        inquiry.testify(at(125), at(126));
        assert!(calls(&mut inquiry, 150));
        inquiry.testify(at(150), at(151));
        assert!(!calls(&mut inquiry, 500));
    }

    #[test]
    fn whatever_the_member_sends_answers_the_question() {
        let inquiry = Inquiry::new(Some(at(100)));
        assert!(!inquiry.is_answered(at(99)) && inquiry.is_answered(at(100)));
        assert!(!Inquiry::new(None).is_answered(at(100)));
    }
}
