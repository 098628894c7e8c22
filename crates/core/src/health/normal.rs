//! What is normal for a member: how long it and its neighbours take to their first byte.
//!
//! Counts of answers by how slow they were say how surprising it is that a request has waited so long. Nothing is
//! judged here; that is [`stall`](super::stall)'s.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Ages, in milliseconds, at which a wait becomes more surprising. Below the first, none is.
const AGES_MS: [u64; LEVELS] = [
    100, 150, 200, 300, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000, 20_000,
    30_000,
];
const LEVELS: usize = 16;
/// What counts as the age of all that is older.
const SLOWEST_MS: u64 = 60_000;
/// A wait counts as slower than an answer only when it is so many times as long.
const MARGIN: u32 = 4;
/// A wait of this length is surprising where nothing is known, too.
const UNKNOWN: Duration = Duration::from_secs(1);
/// Answers of the pool, and of the member, from which on something is known.
const KNOWN_POOL: u32 = 100;
const KNOWN_OWN: u32 = 20;
/// Past so many answers all counts are halved, so that what is old fades.
const FADE: u32 = 8192;
/// No wait is more surprising than this, in bits: one request alone proves nothing.
const BITS_MAX: f64 = 10.0;

/// How surprising a wait of this age may be; zero is not at all.
fn level(age: Duration) -> usize {
    AGES_MS
        .iter()
        .take_while(|&&ms| Duration::from_millis(ms) <= age)
        .count()
}

/// When a wait that is `age` old becomes more surprising, counted from its beginning.
pub(crate) fn next_age(age: Duration) -> Option<Duration> {
    AGES_MS.get(level(age)).map(|&ms| Duration::from_millis(ms))
}

/// A class of answers: those that make waits of the levels up to its own unsurprising.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Class(usize);

impl Class {
    pub(crate) fn of(first_byte: Duration) -> Self {
        Self(level(first_byte.saturating_mul(MARGIN)))
    }
}

/// The answers of one member, counted by class. Counting costs one relaxed addition.
#[derive(Debug, Default)]
pub(crate) struct Times([AtomicU32; LEVELS + 1]);

impl Times {
    pub(crate) fn add(&self, class: Class) {
        if let Some(count) = self.0.get(class.0) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted as `from` turned out slower.
    pub(crate) fn recount(&self, from: Class, to: Class) {
        self.lessen(from, 1);
        self.add(to);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts(self.0.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Halves all counts once they are large; says whether it did.
    pub(crate) fn fade(&self) -> bool {
        let counts = self.counts();
        let large = counts.total() >= FADE;
        if large {
            for (class, count) in counts.0.into_iter().enumerate() {
                self.lessen(Class(class), count / 2);
            }
        }
        large
    }

    fn lessen(&self, class: Class, by: u32) {
        if let Some(count) = self.0.get(class.0) {
            let less = |count: u32| Some(count.saturating_sub(by));
            // The closure never refuses.
            let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

/// Counts of answers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u32; LEVELS + 1]);

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// So long took so many of a hundred answers at most, rounded up to what is told apart: 25 ms, 38 ms, 50 ms and so
    /// on; `None` while too little is known, or beyond the last of these.
    pub(crate) fn percentile(&self, percent: u32) -> Option<Duration> {
        let class = self
            .class_at(percent)
            .filter(|_| self.total() >= KNOWN_POOL)?;
        let ms = AGES_MS.get(class)?;
        Some(Duration::from_millis(*ms) / MARGIN)
    }

    /// So long took half of the answers at most, rounded up to what is told apart; `None` below so many answers.
    pub(crate) fn median(&self, answers_min: u32) -> Option<Duration> {
        let class = self.class_at(50).filter(|_| self.total() >= answers_min)?;
        let ms = AGES_MS.get(class).unwrap_or(&SLOWEST_MS);
        Some(Duration::from_millis(*ms) / MARGIN)
    }

    /// The class of the answer that so many of a hundred are not slower than.
    fn class_at(&self, percent: u32) -> Option<usize> {
        let total = u64::from(self.total());
        let mut below: u64 = 0;
        self.0.iter().position(|&count| {
            below += u64::from(count);
            below * 100 >= total * u64::from(percent)
        })
    }

    /// What came after `before`.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        for (mine, earlier) in self.0.iter_mut().zip(before.0) {
            *mine = mine.saturating_sub(earlier);
        }
        self
    }

    /// As [`Times::fade`] leaves them.
    pub(crate) fn fade(&mut self) {
        self.0.iter_mut().for_each(|count| *count -= *count / 2);
    }

    fn total(&self) -> u32 {
        self.0
            .iter()
            .fold(0, |sum: u32, &count| sum.saturating_add(count))
    }

    /// The share of answers so slow that a wait of this level is nothing new.
    fn share(&self, level: usize) -> f64 {
        let slow: f64 = self
            .0
            .iter()
            .skip(level)
            .map(|&count| f64::from(count))
            .sum();
        slow / f64::from(self.total().max(KNOWN_OWN))
    }
}

/// How surprising it is that a request to a member has waited for so long, in bits: ten say that fewer than one in a
/// thousand does. `own` are the member's answers, `pool` everybody's.
pub(crate) fn surprise(age: Duration, own: &Counts, pool: &Counts) -> f64 {
    let level = level(age);
    if level == 0 {
        return 0.0;
    }
    let mut share = own.share(level).max(pool.share(level));
    if age < UNKNOWN {
        if pool.total() < KNOWN_POOL || own.total() < KNOWN_OWN {
            return 0.0;
        }
        // What never happened in so many may happen in the next.
        share = share.max(1.0 / f64::from(pool.total()));
    }
    (-share.log2()).clamp(0.0, BITS_MAX)
}

/// How long one request may test a member: as long as most answers take, with the margin, and a second at most.
pub(crate) fn patience(own: &Counts, pool: &Counts) -> Duration {
    const MOST: f64 = 6.0;
    AGES_MS
        .iter()
        .map(|&ms| Duration::from_millis(ms))
        .find(|&age| age >= UNKNOWN || surprise(age, own, pool) >= MOST)
        .unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn counts(answers: &[(u64, u32)]) -> Counts {
        let times = Times::default();
        for &(first_byte, count) in answers {
            (0..count).for_each(|_| times.add(Class::of(ms(first_byte))));
        }
        times.counts()
    }

    #[test]
    fn a_percentile_is_rounded_up_to_what_is_told_apart() {
        let times = Times::default();
        let add = |count: u32, ms: u64| {
            (0..count).for_each(|_| times.add(Class::of(Duration::from_millis(ms))));
        };
        add(KNOWN_POOL - 1, 5);
        assert_eq!(times.counts().percentile(50), None, "too little is known");
        add(1, 26);
        let at = |percent| {
            times
                .counts()
                .percentile(percent)
                .map(|time| time.as_micros())
        };
        assert_eq!((at(99), at(50)), (Some(25_000), Some(25_000)));
        add(10, 26);
        // 99 of 110 are fast.
        assert_eq!((at(90), at(91)), (Some(25_000), Some(37_500)));
        add(110, 60_000);
        assert_eq!((at(50), at(51)), (Some(37_500), None));
    }

    #[test]
    fn the_table_of_surprise() {
        let fast = counts(&[(5, 2000)]);
        let few = counts(&[(5, 150)]);
        let polls = counts(&[(5, 800), (30_000, 200)]);
        let slow = counts(&[(400, 1000)]);
        let nothing = Counts::default();
        // what the member did, what the pool did, the age of a wait, bits at least and at most
        let table = [
            ("fast, below the floor", fast, fast, 99, 0.0, 0.0),
            ("fast, at the floor", fast, fast, 100, 10.0, 10.0),
            ("few answers say less", few, few, 100, 7.0, 7.5),
            ("one in five is a poll", polls, polls, 100, 2.3, 2.4),
            ("and stays one", polls, polls, 29_000, 2.3, 2.4),
            ("slow is normal", slow, slow, 1_000, 0.0, 0.0),
            ("four times slower is not", slow, slow, 2_000, 10.0, 10.0),
            ("a slow member among fast ones", slow, fast, 1_000, 0.0, 0.0),
            ("a fast one among slow ones", fast, slow, 1_000, 0.0, 0.0),
            ("nothing known", nothing, nothing, 999, 0.0, 0.0),
            (
                "nothing known for a second",
                nothing,
                nothing,
                1_000,
                10.0,
                10.0,
            ),
            ("nothing known of the member", nothing, fast, 999, 0.0, 0.0),
        ];
        for (name, own, pool, age, least, most) in table {
            let bits = surprise(ms(age), &own, &pool);
            assert!((least..=most).contains(&bits), "{name}: {bits}");
        }
    }

    #[test]
    fn a_wait_is_held_against_answers_a_fourth_as_long() {
        for (first_byte, level) in [(0, 0), (24, 0), (25, 1), (249, 6), (250, 7), (60_000, 16)] {
            assert_eq!(Class::of(ms(first_byte)), Class(level), "{first_byte} ms");
        }
    }

    #[test]
    fn the_next_age_is_the_next_that_can_surprise_more() {
        assert_eq!(next_age(ms(0)), Some(ms(100)));
        assert_eq!(next_age(ms(100)), Some(ms(150)));
        assert_eq!(next_age(ms(30_000)), None);
    }

    #[test]
    fn a_trial_has_the_time_that_answers_take_and_a_second_at_most() {
        let table = [
            (counts(&[(5, 2000)]), 100),
            (counts(&[(100, 2000)]), 500),
            (counts(&[(5, 800), (30_000, 200)]), 1_000),
            (Counts::default(), 1_000),
        ];
        for (answers, expected) in table {
            assert_eq!(patience(&answers, &answers), ms(expected));
        }
    }

    #[test]
    fn what_is_old_fades_and_what_was_miscounted_moves() {
        let times = Times::default();
        (0..FADE - 1).for_each(|_| times.add(Class(0)));
        times.fade();
        assert_eq!(times.counts().total(), FADE - 1);
        times.add(Class(3));
        times.recount(Class(3), Class(5));
        times.recount(Class(9), Class(5));
        let counts = times.counts();
        assert_eq!([counts.0[3], counts.0[5], counts.0[9]], [0, 2, 0]);
        times.fade();
        assert_eq!((times.counts().0[0], times.counts().0[5]), (FADE / 2, 1));
    }

    #[test]
    fn counts_of_members_add_up() {
        let mut sum = counts(&[(5, 3)]);
        sum.add(&counts(&[(5, 1), (500, 2)]));
        assert_eq!(sum, counts(&[(5, 4), (500, 2)]));
    }
}
