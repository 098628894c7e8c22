//! Virtual time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use lb_core::time::{Instant, Timer};

use super::executor::Executor;

/// The clock of a simulation. It stands still while anything can be done.
#[derive(Clone)]
pub struct SimTimer(pub(super) Executor);

impl Timer for SimTimer {
    type Sleep = SimSleep;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> SimSleep {
        SimSleep {
            executor: self.0.clone(),
            deadline,
            armed: None,
        }
    }
}

/// The future of a virtual sleep. Dropping it cancels the wake-up.
pub struct SimSleep {
    executor: Executor,
    deadline: Instant,
    armed: Option<u64>,
}

impl SimSleep {
    fn disarm(&mut self) {
        if let Some(key) = self.armed.take() {
            self.executor.cancel(self.deadline, key);
        }
    }
}

impl Future for SimSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.disarm();
        if self.executor.now() >= self.deadline {
            return Poll::Ready(());
        }
        // A deadline that is switched off never comes: it would only keep a hung world going for 584 years.
        if self.deadline != Instant::NEVER {
            self.armed = Some(self.executor.wake_at(self.deadline, cx.waker().clone()));
        }
        Poll::Pending
    }
}

impl Drop for SimSleep {
    fn drop(&mut self) {
        self.disarm();
    }
}
