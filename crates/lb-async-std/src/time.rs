//! The clock, and the timers of async-std's reactor.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use lb_core::time::{Instant, Timer};

/// Monotonic time, counted from the moment this value was made; clones share that origin.
#[derive(Clone, Debug)]
pub struct AsyncStdTimer {
    origin: StdInstant,
}

impl AsyncStdTimer {
    /// A timer whose origin is now.
    pub fn new() -> Self {
        Self {
            origin: StdInstant::now(),
        }
    }
}

impl Default for AsyncStdTimer {
    fn default() -> Self {
        Self::new()
    }
}

/// A running sleep.
#[derive(Debug)]
pub struct AsyncStdSleep(async_io::Timer);

impl Timer for AsyncStdTimer {
    type Sleep = AsyncStdSleep;

    fn now(&self) -> Instant {
        Instant::from_origin(self.origin.elapsed())
    }

    fn sleep_until(&self, deadline: Instant) -> AsyncStdSleep {
        let deadline = self.origin.checked_add(deadline.since_origin());
        // Past the end of the platform's clock: as good as never.
        AsyncStdSleep(deadline.map_or_else(async_io::Timer::never, async_io::Timer::at))
    }
}

impl Future for AsyncStdSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}
