//! Our [`Timer`] in the shape that hyper wants.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use hyper::rt::Sleep;
use lb_core::time::{Instant, Timer};

/// hyper counts in `std` instants: one is taken when this value is made and every other is computed from it, so a
/// simulated clock stays in charge.
#[derive(Clone, Debug)]
pub struct HyperTimer<C> {
    timer: C,
    std_origin: StdInstant,
    origin: Instant,
}

impl<C: Timer> HyperTimer<C> {
    /// Ties the two clocks together at this moment.
    pub fn new(timer: C) -> Self {
        Self {
            origin: timer.now(),
            std_origin: StdInstant::now(),
            timer,
        }
    }

    fn ours(&self, deadline: StdInstant) -> C::Sleep {
        let ahead = deadline.saturating_duration_since(self.std_origin);
        self.timer.sleep_until(self.origin + ahead)
    }
}

impl<C: Timer> hyper::rt::Timer for HyperTimer<C> {
    fn sleep(&self, duration: std::time::Duration) -> Pin<Box<dyn Sleep>> {
        let deadline = self.timer.now() + duration;
        Box::pin(Asleep::new(self.timer.sleep_until(deadline)))
    }

    fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Asleep::new(self.ours(deadline)))
    }

    fn now(&self) -> StdInstant {
        self.std_origin + self.timer.now().saturating_since(self.origin)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: StdInstant) {
        match sleep.as_mut().downcast_mut_pin::<Asleep<C::Sleep>>() {
            Some(asleep) => asleep.get_mut().reset(self.ours(new_deadline)),
            None => *sleep = hyper::rt::Timer::sleep_until(self, new_deadline),
        }
    }
}

/// hyper wants its sleeps `Sync`; a mutex that is never locked makes ours so.
struct Asleep<S>(Mutex<Pin<Box<S>>>);

impl<S: Future<Output = ()>> Asleep<S> {
    fn new(sleep: S) -> Self {
        Self(Mutex::new(Box::pin(sleep)))
    }

    fn reset(&mut self, sleep: S) {
        self.inner().set(sleep);
    }

    fn inner(&mut self) -> Pin<&mut S> {
        let inner = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.as_mut()
    }
}

impl<S: Future<Output = ()>> Future for Asleep<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().inner().poll(cx)
    }
}

impl<S: Future<Output = ()> + Send + 'static> Sleep for Asleep<S> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use hyper::rt::Timer as _;

    use super::HyperTimer;
    use crate::hand::HandTimer;

    #[test]
    fn hypers_time_is_ours_and_stands_still_with_it() {
        let ours = HandTimer::default();
        ours.advance(Duration::from_secs(100));
        let hypers = HyperTimer::new(ours.clone());
        let start = hypers.now();
        assert_eq!(hypers.now(), start);
        ours.advance(Duration::from_secs(7));
        assert_eq!(hypers.now(), start + Duration::from_secs(7));
    }

    #[test]
    fn a_sleep_ends_at_its_deadline_and_can_be_moved() {
        let ours = HandTimer::default();
        ours.advance(Duration::from_secs(100));
        let hypers = HyperTimer::new(ours.clone());
        let mut after = hypers.sleep(Duration::from_secs(2));
        let mut until = hypers.sleep_until(hypers.now() + Duration::from_secs(2));
        let mut moved = hypers.sleep_until(hypers.now() + Duration::from_secs(2));
        hypers.reset(&mut moved, hypers.now() + Duration::from_secs(3));
        ours.advance(Duration::from_millis(1999));
        assert!(after.as_mut().now_or_never().is_none());
        assert!(until.as_mut().now_or_never().is_none());
        ours.advance(Duration::from_millis(1));
        assert!(after.as_mut().now_or_never().is_some());
        assert!(until.as_mut().now_or_never().is_some());
        assert!(moved.as_mut().now_or_never().is_none());
        ours.advance(Duration::from_secs(1));
        assert!(moved.as_mut().now_or_never().is_some());
    }
}
