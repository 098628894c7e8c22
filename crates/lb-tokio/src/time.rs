//! tokio's clock and timer wheel.

use std::future::{Ready, ready};

use futures::future::Either;
use lb_core::time::{Instant, Timer};
use tokio::time::{Sleep, sleep_until};

/// tokio's monotonic time, counted from the moment this value was made; clones share that origin.
#[derive(Clone, Debug)]
pub struct TokioTimer {
    origin: tokio::time::Instant,
}

impl TokioTimer {
    /// A timer whose origin is now.
    pub fn new() -> Self {
        Self {
            origin: tokio::time::Instant::now(),
        }
    }
}

impl Default for TokioTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for TokioTimer {
    // tokio rounds a deadline up to its next tick of a millisecond, also one that has passed.
    type Sleep = Either<Ready<()>, Sleep>;

    fn now(&self) -> Instant {
        Instant::from_origin(self.origin.elapsed())
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        if deadline <= self.now() {
            return Either::Left(ready(()));
        }
        Either::Right(match self.origin.checked_add(deadline.since_origin()) {
            Some(deadline) => sleep_until(deadline),
            // Past the end of the platform's clock: as good as never.
            None => tokio::time::sleep(std::time::Duration::MAX),
        })
    }
}
