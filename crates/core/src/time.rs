//! Time as the core sees it: a count of nanoseconds, and the [`Timer`] that a runtime provides.
//!
//! Nothing in this crate reads a clock. Drivers ask their [`Timer`] once per step and hand the
//! answer down, so a parameter called `now` is a promise.
//!
//! ```
//! use lb_core::time::Instant;
//! use std::time::Duration;
//!
//! let start = Instant::ORIGIN;
//! let later = start + Duration::from_secs(2);
//! assert_eq!(later.saturating_since(start), Duration::from_secs(2));
//! assert_eq!(start.saturating_since(later), Duration::ZERO);
//! ```

use std::future::Future;
use std::ops::Add;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};

/// A point in monotonic time: nanoseconds since an arbitrary origin that all parts of one balancer share.
///
/// It reaches 584 years past its origin; additions stop there instead of overflowing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin itself.
    pub const ORIGIN: Self = Self(0);
    /// Later than anything that happens; a deadline that is switched off.
    pub const NEVER: Self = Self(u64::MAX);

    /// The point `elapsed` after the origin.
    pub fn from_origin(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How far this point is from the origin.
    pub fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// The time from `earlier` to this point, or zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds since the origin: what fits an atomic.
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// The reverse of [`as_nanos`](Self::as_nanos).
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Monotonic time and sleep, provided by a runtime.
///
/// An implementation
/// * MUST never let [`now`](Timer::now) go backwards, also not across threads;
/// * MUST NOT wake before the deadline: once a sleep is over, `now()` is at or past it;
/// * MUST make a sleep whose deadline has passed ready at its first poll;
/// * MUST let a sleep be dropped at any time, with no effect but that nothing wakes;
/// * MUST give all clones the same origin.
///
/// The conformance suite tests each line.
pub trait Timer: Clone + Send + Sync + 'static {
    /// The future of [`sleep_until`](Timer::sleep_until). Dropping it cancels the wake-up.
    type Sleep: Future<Output = ()> + Send + 'static;

    /// The present.
    fn now(&self) -> Instant;

    /// Completes when `deadline` is reached.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;
}

/// The time of day, which may jump. Only logs and `Date` read it.
pub trait WallClock: Send + Sync + 'static {
    /// Time since 1970-01-01T00:00:00Z.
    fn since_unix_epoch(&self) -> Duration;
}

/// A future did not finish before its deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("deadline elapsed")
    }
}

impl std::error::Error for Elapsed {}

/// Runs `future` until `deadline`. The future is polled first, so one that is ready wins.
///
/// Dropping the returned future drops both the inner one and the timer.
///
/// # Errors
/// [`Elapsed`] if the deadline came first; the inner future is dropped then.
pub async fn timeout<C: Timer, F: Future>(
    timer: &C,
    deadline: Instant,
    future: F,
) -> Result<F::Output, Elapsed> {
    let sleep = pin!(timer.sleep_until(deadline));
    match select(pin!(future), sleep).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(((), _)) => Err(Elapsed),
    }
}
