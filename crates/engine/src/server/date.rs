//! The date of an answer, written once a second on each thread.

use std::cell::Cell;
use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;
use lb_core::time::WallClock as _;

use crate::http1::Date;
use crate::logging::SystemClock;

thread_local! {
    /// The second that was written last, and its text.
    static WRITTEN: Cell<(u64, Date)> = const { Cell::new((u64::MAX, [b' '; 29])) };
}

/// The date of now.
pub(super) fn now() -> Date {
    let now = SystemClock.since_unix_epoch().as_secs();
    let (second, date) = WRITTEN.get();
    if second == now {
        return date;
    }
    let date = written(now);
    WRITTEN.set((now, date));
    date
}

fn written(second: u64) -> Date {
    // HTTP has no date behind the year 9999.
    let second = second.min(253_402_300_799);
    let mut date = [b' '; 29];
    // It is as long as that, always.
    let _ = write!(
        &mut date[..],
        "{}",
        HttpDate::from(UNIX_EPOCH + Duration::from_secs(second))
    );
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_seconds_have_their_text() {
        for (second, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(written(second), text.as_bytes());
        }
    }

    #[test]
    fn the_date_is_the_one_of_today() {
        let text = now();
        let date = httpdate::parse_http_date(std::str::from_utf8(&text).unwrap()).unwrap();
        let age = SystemClock.since_unix_epoch() - date.duration_since(UNIX_EPOCH).unwrap();
        assert!(age < Duration::from_secs(10));
    }
}
