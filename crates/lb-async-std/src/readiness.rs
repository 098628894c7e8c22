//! What is known about one direction of a socket, so that the system is asked only when there is something to ask.
//!
//! The engine polls a socket whenever a task runs, mostly for another reason, and an adapter that tries each time tries
//! in vain eight times of ten. Here whoever waits already is left waiting without a try, and there is one rule:
//!
//! *`Pending` is returned only when the reactor was asked after the last try to report this direction, has not
//! reported it since, and will wake the task that polls.* A report is always followed by a try, and a [`glance`] is a
//! try too: who looks at a kept connection wants to know how it is now, and reports may be under way.
//!
//! Asking the reactor after a try misses nothing that came in between, because it reports what is there and not what
//! changes (async-io arms its selector anew each time). Its own answer "ready" is not relied upon: async-io compares
//! the numbers of its rounds, says so late, and not at all when the event came in the round in which it was asked.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;
use lb_engine::rt::glance;

/// One direction of one socket.
#[derive(Debug)]
pub(crate) struct Readiness {
    state: State,
    reports: Arc<Reports>,
    /// What the reactor wakes.
    reporter: Waker,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// The socket may have something: try it.
    Untried,
    /// The last try took all there was, and the reactor has not been asked since.
    Drained,
    /// The reactor was asked since the last try.
    Watched,
}

/// What an operation on the socket did.
#[derive(Debug)]
pub(crate) enum Tried<T> {
    /// It may be worth another try.
    Done(T),
    /// It gave, or took, less than was asked for: there is no more for now.
    Short(T),
}

/// Where the reactor's reports arrive.
#[derive(Debug, Default)]
struct Reports {
    /// There was one that was not followed by a try yet.
    new: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Reports {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.new.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Readiness {
    /// A direction that is worth a try at once.
    pub(crate) fn untried() -> Self {
        Self::new(State::Untried)
    }

    /// A direction that has nothing yet.
    pub(crate) fn drained() -> Self {
        Self::new(State::Drained)
    }

    fn new(state: State) -> Self {
        let reports = Arc::<Reports>::default();
        Self {
            state,
            reporter: Waker::from(reports.clone()),
            reports,
        }
    }

    /// Tries `operation` when there may be something; else, or when it would block, waits by `watch`, which is the
    /// reactor's poll for this direction.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
        mut operation: impl FnMut() -> io::Result<Tried<T>>,
    ) -> Poll<io::Result<T>> {
        if cx.waker().will_wake(glance()) {
            self.state = State::Untried;
        }
        loop {
            if self.state == State::Untried {
                match operation() {
                    Ok(Tried::Done(value)) => return Poll::Ready(Ok(value)),
                    Ok(Tried::Short(value)) => {
                        self.state = State::Drained;
                        return Poll::Ready(Ok(value));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.state = State::Drained;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            // In this order: a report that comes after this look finds this waker.
            self.reports.task.register(cx.waker());
            if self.reports.new.swap(false, Ordering::AcqRel) {
                self.state = State::Untried;
                continue;
            }
            if self.state == State::Drained {
                // "Ready" is about an event before the last try, and asking again makes the reactor watch.
                while let Poll::Ready(result) = watch(&mut Context::from_waker(&self.reporter)) {
                    result?;
                }
                self.state = State::Watched;
            }
            return Poll::Pending;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use super::*;

    /// A socket of numbers and a reactor that says what it is told to.
    #[derive(Default)]
    struct Fake {
        socket: RefCell<VecDeque<u8>>,
        tries: Cell<usize>,
        /// What the reactor answers first; then it watches.
        says_ready: Cell<bool>,
        watching: RefCell<Option<Waker>>,
    }

    impl Fake {
        fn poll(&self, readiness: &mut Readiness, waker: &Waker) -> Poll<u8> {
            let operation = || {
                self.tries.set(self.tries.get() + 1);
                let value = self.socket.borrow_mut().pop_front();
                let value = value.ok_or(io::ErrorKind::WouldBlock)?;
                Ok(Tried::Short(value))
            };
            let watch = |cx: &mut Context<'_>| {
                if self.says_ready.take() {
                    return Poll::Ready(Ok(()));
                }
                self.watching.replace(Some(cx.waker().clone()));
                Poll::Pending
            };
            let polled = readiness.poll(&mut Context::from_waker(waker), watch, operation);
            polled.map(|value| value.expect("no error"))
        }

        fn tries(&self) -> usize {
            self.tries.take()
        }

        fn report(&self) {
            self.watching.take().expect("it is asked to watch").wake();
        }
    }

    /// A task that notes that it was woken.
    #[derive(Default)]
    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn task() -> (Arc<Task>, Waker) {
        let task = Arc::<Task>::default();
        (task.clone(), task.into())
    }

    #[test]
    fn a_report_wakes_who_waits_and_is_followed_by_a_try_whatever_the_reactor_says_then() {
        let (fake, mut reading, (task, waker)) = (Fake::default(), Readiness::drained(), task());
        assert_eq!(fake.poll(&mut reading, &waker), Poll::Pending);
        fake.socket.borrow_mut().push_back(1);
        fake.report();
        assert!(task.0.load(Ordering::SeqCst));
        assert_eq!(fake.poll(&mut reading, &waker), Poll::Ready(1));
    }

    #[test]
    fn who_waits_is_not_made_to_try_again_before_a_report() {
        let (fake, mut reading, (_, waker)) = (Fake::default(), Readiness::untried(), task());
        assert_eq!(fake.poll(&mut reading, &waker), Poll::Pending);
        assert_eq!(fake.tries(), 1);
        for _ in 0..3 {
            assert_eq!(fake.poll(&mut reading, &waker), Poll::Pending);
        }
        assert_eq!(fake.tries(), 0);
    }

    #[test]
    fn after_a_short_result_the_reactor_is_asked_first() {
        let (fake, mut reading, (_, waker)) = (Fake::default(), Readiness::untried(), task());
        fake.socket.borrow_mut().push_back(1);
        assert_eq!(fake.poll(&mut reading, &waker), Poll::Ready(1));
        assert_eq!(fake.poll(&mut reading, &waker), Poll::Pending);
        assert_eq!(fake.tries(), 1);
        assert!(fake.watching.borrow().is_some());
    }

    #[test]
    fn nobody_waits_for_a_reactor_that_does_not_watch() {
        let (fake, mut reading, (_, waker)) = (Fake::default(), Readiness::untried(), task());
        fake.says_ready.set(true);
        assert_eq!(fake.poll(&mut reading, &waker), Poll::Pending);
        assert!(fake.watching.borrow().is_some());
    }

    #[test]
    fn a_glance_sees_what_is_there_and_not_what_was_reported() {
        let (fake, mut reading, (_, waker)) = (Fake::default(), Readiness::drained(), task());
        assert_eq!(fake.poll(&mut reading, &waker), Poll::Pending);
        for value in 0..3 {
            assert_eq!(fake.poll(&mut reading, glance()), Poll::Pending);
            fake.socket.borrow_mut().push_back(value);
            assert_eq!(fake.poll(&mut reading, glance()), Poll::Ready(value));
        }
    }

    #[test]
    fn it_is_who_polled_last_that_is_woken() {
        let (fake, mut reading) = (Fake::default(), Readiness::drained());
        let ((first, before), (second, after)) = (task(), task());
        for waker in [&before, glance(), &after] {
            assert_eq!(fake.poll(&mut reading, waker), Poll::Pending);
        }
        fake.report();
        assert!(!first.0.load(Ordering::SeqCst));
        assert!(second.0.load(Ordering::SeqCst));
    }

    #[test]
    fn a_report_in_vain_costs_one_try() {
        let (fake, mut reading, (_, waker)) = (Fake::default(), Readiness::drained(), task());
        assert_eq!(fake.poll(&mut reading, &waker), Poll::Pending);
        fake.report();
        fake.says_ready.set(true);
        assert_eq!(fake.poll(&mut reading, &waker), Poll::Pending);
        assert_eq!(fake.tries(), 1);
        assert!(fake.watching.borrow().is_some());
    }
}
