//! A clock for tests: it moves when it is told to.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lb_core::time::{Instant, Timer};

/// A clock that a test moves.
#[derive(Clone, Default)]
pub(crate) struct HandTimer(Arc<Mutex<(Duration, Vec<Waker>)>>);

impl HandTimer {
    pub(crate) fn advance(&self, by: Duration) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 += by;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

pub(crate) struct HandSleep(HandTimer, Instant);

impl Future for HandSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.0.lock().unwrap();
        if Instant::from_origin(state.0) >= self.1 {
            return Poll::Ready(());
        }
        state.1.push(cx.waker().clone());
        Poll::Pending
    }
}

impl Timer for HandTimer {
    type Sleep = HandSleep;

    fn now(&self) -> Instant {
        Instant::from_origin(self.0.lock().unwrap().0)
    }

    fn sleep_until(&self, deadline: Instant) -> HandSleep {
        HandSleep(self.clone(), deadline)
    }
}
