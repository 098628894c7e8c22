//! A server's habit of closing kept connections: learned from when it closes them, and from what it says.
//!
//! A request that is sent on a connection just as its server closes it is lost, and one that may not be repeated fails.
//! Node.js closes after 5 seconds without a request, Apache after as many and after a hundred requests; who keeps connections
//! for longer meets that race again and again. So once a server has closed a few connections alike, or said in
//! `Keep-Alive` when it will, we close ours before.

use std::time::Duration;

use http::HeaderValue;
use lb_core::time::Instant;

/// Closes in a row that must be alike to be a habit. A server that restarts closes connections of all ages.
const ALIKE: u32 = 3;
/// How much of the time that a server allows is used: the rest is for what is under way.
const SHARE: f64 = 0.8;
/// A connection that is closed sooner was not closed for resting.
const REST_MIN: Duration = Duration::from_secs(1);
/// How far two times may lie apart and be alike, beside a quarter: idle connections are looked at about every second.
const SLACK: Duration = Duration::from_millis(1500);
/// After that long a habit must be shown again: the server may have been given another configuration.
const MEMORY: Duration = Duration::from_secs(600);

/// What is known about one server.
#[derive(Debug, Default)]
pub(super) struct Habit {
    /// How long it lets a connection rest, as far as it was seen.
    rest: Learned<Duration>,
    /// How many requests it takes on one connection.
    requests: Learned<u32>,
}

/// A value that was seen a few times in a row.
#[derive(Debug)]
struct Learned<T> {
    /// The smallest of the last ones, and how many were alike.
    seen: Option<(T, u32)>,
    known: Option<(T, Instant)>,
}

impl<T> Default for Learned<T> {
    fn default() -> Self {
        Self {
            seen: None,
            known: None,
        }
    }
}

impl<T: Copy + Ord> Learned<T> {
    fn see(&mut self, value: T, alike: impl Fn(T, T) -> bool, now: Instant) {
        let (least, count) = match self.seen {
            Some((least, count)) if alike(least, value) => (least.min(value), count + 1),
            _ => (value, 1),
        };
        self.seen = Some((least, count));
        if count >= ALIKE {
            self.known = Some((least, now + MEMORY));
        }
    }

    fn get(&self, now: Instant) -> Option<T> {
        self.known
            .filter(|(_, until)| now < *until)
            .map(|(value, _)| value)
    }
}

impl Habit {
    /// The server closed a connection that had served `requests` and then rested, at least so long and perhaps for a look
    /// longer.
    pub(super) fn closed(&mut self, requests: u32, rested: Duration, now: Instant) {
        if rested < REST_MIN {
            self.requests.see(requests, |a, b| a == b, now);
        } else {
            let alike = |a: Duration, b: Duration| a.abs_diff(b) <= SLACK.max(a / 4);
            self.rest.see(rested, alike, now);
        }
    }

    /// How long a connection may rest, if that is known.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        self.rest.get(now).map(|rest| rest.mul_f64(SHARE))
    }

    /// How many requests a connection may serve, if that is known.
    pub(super) fn requests(&self, now: Instant) -> Option<u32> {
        self.requests.get(now)
    }

    /// Is there nothing to remember?
    pub(super) fn is_unknown(&self) -> bool {
        self.rest.seen.is_none() && self.requests.seen.is_none()
    }
}

/// How long a server says that it lets a connection rest: `Keep-Alive: timeout=5` (RFC 2068 §19.7.1.1; no later standard
/// took it up, and many servers send it).
pub(super) fn stated(keep_alive: &HeaderValue) -> Option<Duration> {
    let text = keep_alive.to_str().ok()?;
    let seconds = text.split(',').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("timeout")
            .then(|| value.trim().parse::<u32>().ok())?
    })?;
    Some(Duration::from_secs(seconds.into()).mul_f64(SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    fn after(closes: &[(u32, u64)]) -> Habit {
        let mut habit = Habit::default();
        for (requests, ms) in closes {
            habit.closed(*requests, Duration::from_millis(*ms), at(1));
        }
        habit
    }

    #[test]
    fn three_closes_after_the_same_rest_are_a_habit_and_we_are_earlier() {
        let rest = |closes: &[u64]| {
            let closes: Vec<_> = closes.iter().map(|ms| (7, *ms)).collect();
            after(&closes).rest(at(1)).map(|rest| rest.as_millis())
        };
        assert_eq!(rest(&[4_100, 5_000]), None);
        assert_eq!(rest(&[4_900, 4_100, 5_000]), Some(3_280));
        assert_eq!(rest(&[60_000, 71_000, 62_000]), Some(48_000));
        assert_eq!(rest(&[5_000, 5_000, 20_000, 5_000, 5_000]), None);
        assert_eq!(rest(&[100, 100, 100, 100]), None, "not for resting");
    }

    #[test]
    fn three_closes_after_the_same_number_of_requests_are_a_habit() {
        let requests = |closes: &[(u32, u64)]| after(closes).requests(at(1));
        assert_eq!(requests(&[(100, 10), (100, 0)]), None);
        assert_eq!(requests(&[(100, 10), (100, 0), (100, 900)]), Some(100));
        assert_eq!(requests(&[(100, 10), (99, 0), (100, 900)]), None);
        assert_eq!(requests(&[(100, 5_000), (100, 5_000), (100, 5_000)]), None);
    }

    #[test]
    fn a_restart_closes_connections_of_all_ages_and_teaches_nothing() {
        let habit = after(&[(3, 200), (18, 12_000), (1, 4_000), (40, 29_000), (7, 8_000)]);
        assert_eq!(habit.rest(at(1)), None);
        assert_eq!(habit.requests(at(1)), None);
        assert!(!habit.is_unknown());
    }

    #[test]
    fn a_habit_is_forgotten_unless_it_is_shown_again() {
        let mut habit = after(&[(1, 5_000); 3]);
        assert!(habit.rest(at(600)).is_some());
        assert!(habit.rest(at(601)).is_none());
        habit.closed(1, Duration::from_secs(5), at(700));
        assert_eq!(habit.rest(at(701)), Some(Duration::from_secs(4)));
    }

    #[test]
    fn a_server_may_say_how_long_it_waits() {
        let table = [
            ("timeout=5", Some(4_000)),
            ("timeout=5, max=100", Some(4_000)),
            ("max=100, Timeout = 60", Some(48_000)),
            ("timeout=0", Some(0)),
            ("max=100", None),
            ("timeout=-1", None),
            ("timeout=99999999999999", None),
            ("timeout", None),
            ("", None),
        ];
        for (text, ms) in table {
            let said = stated(&HeaderValue::from_static(text));
            assert_eq!(said, ms.map(Duration::from_millis), "{text}");
        }
    }
}
