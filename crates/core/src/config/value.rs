//! Durations, sizes and shares: text to value and back.

use std::fmt::Write as _;
use std::time::Duration;

/// The units of a duration, longest first.
const DURATIONS: [(&str, u128); 4] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
];
/// The units of a size, largest first.
const SIZES: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// What to say about the units of a duration.
pub(super) const DURATION_UNITS: &str = "the units are ms, s, m and h";
/// What to say about the units of a size.
pub(super) const SIZE_UNITS: &str = "the units are B, KiB, MiB and GiB";

/// Why a text is no duration or size.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A number and nothing else.
    NoUnit,
    /// A number and something else.
    Unit(String),
    /// No number.
    NoNumber,
    /// More than can be counted.
    TooLarge,
}

/// Reads `2s`, `500ms`, `1.5h` or `1m30s`: the forms that Go's parser takes, too, with the units of this program.
pub(super) fn duration(text: &str) -> Result<Duration, Unreadable> {
    let mut nanos: u128 = 0;
    let mut rest = text.trim();
    loop {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after.trim_start(), |c| !c.is_ascii_digit() && c != '.');
        let unit = unit.trim();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') {
            return Err(Unreadable::NoNumber);
        }
        let Some((_, per_unit)) = DURATIONS.iter().find(|(name, _)| *name == unit) else {
            return Err(match unit {
                "" => Unreadable::NoUnit,
                _ => Unreadable::Unit(unit.to_owned()),
            });
        };
        // Digits beyond nanoseconds say nothing.
        let fraction = fraction.get(..fraction.len().min(9)).unwrap_or_default();
        let whole: u64 = whole.parse().map_err(|_| Unreadable::TooLarge)?;
        let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
        let parts: u128 = format!("0{fraction}").parse().unwrap_or(0);
        nanos += u128::from(whole) * per_unit + parts * per_unit / scale;
        if nanos > u128::from(u64::MAX) {
            return Err(Unreadable::TooLarge);
        }
        rest = after;
        if rest.is_empty() {
            let nanos = u64::try_from(nanos).map_err(|_| Unreadable::TooLarge)?;
            return Ok(Duration::from_nanos(nanos));
        }
    }
}

/// Reads `16KiB`.
pub(super) fn size(text: &str) -> Result<u64, Unreadable> {
    let (number, unit) = split(text.trim(), |c| c.is_ascii_digit());
    let unit = unit.trim();
    if number.is_empty() {
        return Err(Unreadable::NoNumber);
    }
    let Some((_, per_unit)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        return Err(match unit {
            "" => Unreadable::NoUnit,
            _ => Unreadable::Unit(unit.to_owned()),
        });
    };
    let number: u64 = number.parse().map_err(|_| Unreadable::TooLarge)?;
    number.checked_mul(*per_unit).ok_or(Unreadable::TooLarge)
}

/// Reads `20%`.
pub(super) fn percent(text: &str) -> Option<u32> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.parse().unwrap_or(u32::MAX))
}

/// `number` if it is a share of one.
pub(super) fn share(number: f64) -> Option<f64> {
    (0.0..=1.0).contains(&number).then_some(number)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// The shortest text that [`duration`] reads as `value`, to the microsecond.
pub(super) fn show_duration(value: Duration) -> String {
    let mut nanos = value.as_nanos();
    let mut text = String::new();
    for (unit, per_unit) in &DURATIONS[..3] {
        let count = nanos / per_unit;
        if count > 0 {
            nanos -= count * per_unit;
            let _ = write!(text, "{count}{unit}");
        }
    }
    if nanos > 0 {
        // Milliseconds take the fraction.
        let millis = format!("{}.{:03}", nanos / 1_000_000, nanos / 1_000 % 1_000);
        let _ = write!(
            text,
            "{}ms",
            millis.trim_end_matches('0').trim_end_matches('.')
        );
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// The text that [`size`] reads as `value`.
pub(super) fn show_size(value: u64) -> String {
    let fits = |(_, per_unit): &&(&str, u64)| value >= *per_unit && value.is_multiple_of(*per_unit);
    let (unit, per_unit) = SIZES.iter().find(fits).unwrap_or(&("B", 1));
    format!("{}{unit}", value / per_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in [
            ("2s", 2_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("0.25s", 250),
            (" 2 s ", 2_000),
            ("0ms", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        for (text, why) in [
            ("2", Unreadable::NoUnit),
            ("1m30", Unreadable::NoUnit),
            ("2d", Unreadable::Unit("d".into())),
            ("2 sec", Unreadable::Unit("sec".into())),
            ("2S", Unreadable::Unit("S".into())),
            ("2s-", Unreadable::Unit("s-".into())),
            ("", Unreadable::NoNumber),
            ("s", Unreadable::NoNumber),
            ("-2s", Unreadable::NoNumber),
            ("1..5s", Unreadable::NoNumber),
            (".s", Unreadable::NoNumber),
            ("99999999999999999999s", Unreadable::TooLarge),
            ("9999999999999h", Unreadable::TooLarge),
        ] {
            assert_eq!(duration(text), Err(why), "{text}");
        }
    }

    #[test]
    fn sizes_are_numbers_with_binary_units() {
        for (text, bytes) in [
            ("0B", 0),
            ("16KiB", 16_384),
            ("2 MiB", 2 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, why) in [
            ("16", Unreadable::NoUnit),
            ("16KB", Unreadable::Unit("KB".into())),
            ("1.5MiB", Unreadable::Unit(".5MiB".into())),
            ("KiB", Unreadable::NoNumber),
            ("99999999999GiB", Unreadable::TooLarge),
            ("99999999999999999999B", Unreadable::TooLarge),
        ] {
            assert_eq!(size(text), Err(why), "{text}");
        }
    }

    #[test]
    fn percentages_are_whole() {
        for (text, value) in [
            ("20%", Some(20)),
            ("0 %", Some(0)),
            ("99999999999%", Some(u32::MAX)),
            ("20", None),
            ("%", None),
            ("-1%", None),
            ("1.5%", None),
        ] {
            assert_eq!(percent(text), value, "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in [
            "2s", "200ms", "1m30s", "1h", "24h", "1.5ms", "0s", "1h0.25ms",
        ] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["16KiB", "1025B", "1GiB", "3MiB", "0B"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
    }
}
