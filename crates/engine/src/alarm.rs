//! All the sleeps of a worker over one sleep of its runtime.
//!
//! Every request waits with a deadline, and hardly any deadline is ever reached. A runtime's own timers are made to be
//! reached: a new one that is earlier than the others makes the reactor look up at once, by a system call, and again
//! when it looks. Here a sleep is an entry in a list, gone with the request, and the runtime hears of the earliest
//! alone, and only when there is none before it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use lb_core::time::{Instant, Timer};

/// A [`Timer`] whose sleeps end only while [`run`](Self::run) is driven, beside them on the same executor. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Alarm<C>(Arc<Inner<C>>);

#[derive(Debug)]
struct Inner<C> {
    timer: C,
    list: Mutex<List>,
}

#[derive(Debug)]
struct List {
    /// Who sleeps until when; the number tells those apart that have a deadline in common.
    sleeping: BTreeMap<(Instant, u64), Waker>,
    numbered: u64,
    /// When the driver wakes by itself: not later than the earliest deadline, or it is woken.
    armed: Instant,
    driver: Option<Waker>,
}

impl<C: Timer> Alarm<C> {
    /// A list with nobody on it.
    pub(crate) fn new(timer: C) -> Self {
        Self(Arc::new(Inner {
            timer,
            list: Mutex::new(List {
                sleeping: BTreeMap::new(),
                numbered: 0,
                armed: Instant::NEVER,
                driver: None,
            }),
        }))
    }

    /// Wakes those whose time has come, until dropped.
    pub(crate) async fn run(&self) -> Infallible {
        let timer = &self.0.timer;
        let mut sleep = pin!(None::<C::Sleep>);
        poll_fn(|cx| {
            loop {
                if let Some(earlier) = self.arm(cx.waker()) {
                    sleep.set(Some(timer.sleep_until(earlier)));
                }
                let Some(running) = sleep.as_mut().as_pin_mut() else {
                    return Poll::Pending;
                };
                ready!(running.poll(cx));
                sleep.set(None);
                self.ring(timer.now());
            }
        })
        .await
    }

    /// The earliest deadline, if the driver does not wake by then.
    fn arm(&self, driver: &Waker) -> Option<Instant> {
        let mut list = self.list();
        list.driver = Some(driver.clone());
        let (&(earliest, _), _) = list.sleeping.first_key_value()?;
        (earliest < list.armed).then(|| {
            list.armed = earliest;
            earliest
        })
    }

    fn ring(&self, now: Instant) {
        let due = {
            let mut list = self.list();
            list.armed = Instant::NEVER;
            let later = list.sleeping.split_off(&(now, u64::MAX));
            mem::replace(&mut list.sleeping, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// Puts somebody on the list and returns the number.
    fn enter(&self, deadline: Instant, waker: &Waker) -> u64 {
        let (number, driver) = {
            let mut list = self.list();
            list.numbered += 1;
            let number = list.numbered;
            list.sleeping.insert((deadline, number), waker.clone());
            let early = deadline < list.armed;
            (number, list.driver.take_if(|_| early))
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        number
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // Nothing is left half done in there by a panic: entries are only put and taken.
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Timer> Timer for Alarm<C> {
    type Sleep = Sleep<C>;

    fn now(&self) -> Instant {
        self.0.timer.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep<C> {
        Sleep {
            alarm: self.clone(),
            deadline,
            state: State::New,
        }
    }
}

/// A sleep on the list of an [`Alarm`]; dropping it takes it off.
#[derive(Debug)]
pub(crate) struct Sleep<C: Timer> {
    alarm: Alarm<C>,
    deadline: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Listed(u64),
    Over,
}

impl<C: Timer> Future for Sleep<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.state {
            State::New if self.alarm.now() < self.deadline => {
                self.state = State::Listed(self.alarm.enter(self.deadline, cx.waker()));
                return Poll::Pending;
            }
            State::Listed(number) => {
                let mut list = self.alarm.list();
                if let Some(waker) = list.sleeping.get_mut(&(self.deadline, number)) {
                    waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
            }
            State::New | State::Over => {}
        }
        self.state = State::Over;
        Poll::Ready(())
    }
}

impl<C: Timer> Drop for Sleep<C> {
    fn drop(&mut self) {
        if let State::Listed(number) = self.state {
            let gone = self.alarm.list().sleeping.remove(&(self.deadline, number));
            // Outside the lock: a waker may be the last owner of a task.
            drop(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::FutureExt as _;
    use futures::task::{ArcWake, waker};

    use super::*;
    use crate::hand::HandTimer;

    /// A task that counts how often it was woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl ArcWake for Task {
        fn wake_by_ref(task: &Arc<Self>) {
            task.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn poll<F: Future>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
            future.poll(&mut Context::from_waker(&waker(self.clone())))
        }

        fn woken(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    fn at(ms: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn a_sleep_ends_at_its_deadline_and_one_whose_deadline_has_passed_at_once() {
        let timer = HandTimer::default();
        let alarm = Alarm::new(timer.clone());
        let (driver, task) = (Arc::<Task>::default(), Arc::<Task>::default());
        let mut run = Box::pin(alarm.run());
        assert!(driver.poll(run.as_mut()).is_pending());
        assert!(alarm.sleep_until(at(0)).now_or_never().is_some());

        let mut sleep = pin!(alarm.sleep_until(at(100)));
        assert!(task.poll(sleep.as_mut()).is_pending());
        assert_eq!(driver.woken(), 1);
        for (ms, over) in [(99, 0), (1, 1)] {
            assert!(driver.poll(run.as_mut()).is_pending());
            timer.advance(Duration::from_millis(ms));
            assert!(driver.poll(run.as_mut()).is_pending());
            assert_eq!(task.woken(), over);
            assert_eq!(task.poll(sleep.as_mut()).is_ready(), over == 1);
        }
        assert!(task.poll(sleep).is_ready());
    }

    #[test]
    fn the_driver_is_woken_only_by_who_is_earlier_than_all_others() {
        let timer = HandTimer::default();
        let alarm = Alarm::new(timer.clone());
        let (driver, task) = (Arc::<Task>::default(), Arc::<Task>::default());
        let mut run = Box::pin(alarm.run());
        assert!(driver.poll(run.as_mut()).is_pending());
        let mut sleeps = Vec::new();
        for (ms, wakes) in [(100, 1), (100, 0), (200, 0), (50, 1), (60, 0)] {
            let mut sleep = Box::pin(alarm.sleep_until(at(ms)));
            assert!(task.poll(sleep.as_mut()).is_pending());
            assert_eq!(driver.woken(), wakes, "{ms}");
            assert!(driver.poll(run.as_mut()).is_pending());
            sleeps.push(sleep);
        }
        // Those with one deadline in common end together, and each once.
        timer.advance(Duration::from_millis(100));
        assert!(driver.poll(run.as_mut()).is_pending());
        assert_eq!(task.woken(), 4);
        let over = sleeps
            .iter_mut()
            .map(|sleep| task.poll(sleep.as_mut()).is_ready());
        assert_eq!(over.collect::<Vec<_>>(), [true, true, false, true, true]);
    }

    #[test]
    fn nobody_is_woken_for_a_sleep_that_was_given_up() {
        let timer = HandTimer::default();
        let alarm = Alarm::new(timer.clone());
        let (driver, task) = (Arc::<Task>::default(), Arc::<Task>::default());
        let mut run = Box::pin(alarm.run());
        let mut sleep = Box::pin(alarm.sleep_until(at(10)));
        assert!(task.poll(sleep.as_mut()).is_pending());
        drop(sleep);
        assert!(driver.poll(run.as_mut()).is_pending());
        timer.advance(Duration::from_millis(10));
        assert!(driver.poll(run.as_mut()).is_pending());
        assert_eq!(task.woken(), 0);
        assert!(alarm.list().sleeping.is_empty());
    }
}
