//! Latency outliers: a member whose answers take many times as long to begin as its neighbours' do. Opt-in, because a
//! slow answer is an answer, and servers of different sizes may be in one pool on purpose.
//!
//! Medians over a window are compared, not means: a few long polls make nobody slow.

use std::time::Duration;

use super::normal::Counts;

/// Fewer answers than this in a window have no median worth the name.
const VOLUME_MIN: u32 = 20;

/// The medians of a member and of the others, where the member's is at least `factor` times theirs. Times of up to 25 ms are
/// not told apart, so that nobody is slow who is fast enough for anybody.
pub(crate) fn outlier(own: &Counts, others: &Counts, factor: u32) -> Option<(Duration, Duration)> {
    let own = own.median(VOLUME_MIN)?;
    let others = others.median(VOLUME_MIN)?;
    (own >= others.saturating_mul(factor)).then_some((own, others))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::normal::{Class, Times};

    /// So many answers of so many milliseconds each.
    type Answers<'a> = &'a [(u64, u32)];

    fn counts(answers: Answers<'_>) -> Counts {
        let times = Times::default();
        for &(ms, count) in answers {
            (0..count).for_each(|_| times.add(Class::of(Duration::from_millis(ms))));
        }
        times.counts()
    }

    #[test]
    fn the_table_of_outliers() {
        let ms = Duration::from_millis;
        let fast = [(5, 100)];
        let table: [(&str, Answers<'_>, Answers<'_>, _); 9] = [
            (
                "ten times as slow",
                &[(200, 50)],
                &[(30, 50)],
                Some((ms(250), ms(37) + ms(1) / 2)),
            ),
            ("as fast", &[(5, 50)], &fast, None),
            ("below what is told apart", &[(24, 50)], &[(1, 100)], None),
            ("a little slower", &[(60, 50)], &fast, None),
            (
                "slow against fast",
                &[(110, 50)],
                &fast,
                Some((ms(125), ms(25))),
            ),
            ("too few answers", &[(900, 19)], &fast, None),
            ("too few others", &[(900, 50)], &[(5, 19)], None),
            ("all are slow", &[(900, 50)], &[(900, 50)], None),
            ("some long polls", &[(30_000, 20), (5, 30)], &fast, None),
        ];
        for (name, own, others, expected) in table {
            assert_eq!(
                outlier(&counts(own), &counts(others), 5),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn an_answer_slower_than_all_that_is_told_apart_is_slow() {
        let slow = counts(&[(60_000, 30)]);
        assert!(outlier(&slow, &counts(&[(5, 30)]), 100).is_some());
    }
}
