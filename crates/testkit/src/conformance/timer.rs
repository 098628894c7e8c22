//! The obligations of [`Timer`].

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::channel::oneshot;
use lb_core::time::{Instant, Timer};
use lb_engine::rt::{BoxFuture, Runtime, Threads as _};

use super::{SETTLE, case, sleep};

/// Checks every obligation of [`Timer`].
///
/// # Panics
/// When one is not met.
pub fn timer<R: Runtime>(runtime: &R, block_on: &dyn Fn(BoxFuture<'static, ()>)) {
    macro_rules! cases {
        ($($name:ident),* $(,)?) => {
            $(case(stringify!($name), runtime, block_on, $name(runtime.clone()));)*
        };
    }
    cases![
        now_never_goes_backwards_also_not_across_threads,
        a_sleep_never_ends_before_its_deadline,
        a_sleep_whose_deadline_has_passed_is_ready_at_its_first_poll,
        a_dropped_sleep_wakes_nobody_and_disturbs_no_other,
        the_last_waker_is_the_one_that_is_woken,
        clones_have_the_same_origin,
        a_deadline_that_is_switched_off_never_comes,
    ];
}

async fn now_never_goes_backwards_also_not_across_threads<R: Runtime>(runtime: R) {
    let latest = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for _ in 0..2 {
        let (done, result) = oneshot::channel();
        let (timer, latest) = (runtime.timer().clone(), latest.clone());
        let look = async move {
            let mut backwards = 0;
            for _ in 0..5_000 {
                let before = latest.load(Ordering::SeqCst);
                let now = timer.now().as_nanos();
                backwards += u32::from(now < before);
                latest.fetch_max(now, Ordering::SeqCst);
            }
            // Whoever started it may have given up.
            let _ = done.send(backwards);
        };
        runtime
            .threads()
            .start("clock", move || Box::pin(look))
            .expect("a thread starts");
        threads.push(result);
    }
    for thread in threads {
        let backwards = thread.await.expect("the thread ends its future");
        assert_eq!(
            backwards, 0,
            "now() MUST never go backwards, also not across threads"
        );
    }
}

async fn a_sleep_never_ends_before_its_deadline<R: Runtime>(runtime: R) {
    let timer = runtime.timer();
    for micros in [1, 300, 999, 1_000, 1_001, 2_500, 10_000] {
        let start = timer.now();
        let deadline = start + Duration::from_micros(micros);
        timer.sleep_until(deadline).await;
        let now = timer.now();
        assert!(
            now >= deadline,
            "a sleep of {micros} µs MUST NOT be over after {:?}",
            now.saturating_since(start)
        );
        assert!(
            now.saturating_since(deadline) < Duration::from_secs(5),
            "a sleep of {micros} µs was over {:?} too late",
            now.saturating_since(deadline)
        );
    }
}

async fn a_sleep_whose_deadline_has_passed_is_ready_at_its_first_poll<R: Runtime>(runtime: R) {
    sleep(&runtime, Duration::from_millis(2)).await;
    let timer = runtime.timer();
    for deadline in [Instant::ORIGIN, timer.now()] {
        let polled = poll_once(pin!(timer.sleep_until(deadline)), Waker::noop());
        assert!(
            polled.is_ready(),
            "a sleep whose deadline has passed MUST be ready at its first poll"
        );
    }
}

async fn a_dropped_sleep_wakes_nobody_and_disturbs_no_other<R: Runtime>(runtime: R) {
    let timer = runtime.timer();
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let soon = timer.now() + Duration::from_millis(5);
    let polled = Box::pin(timer.sleep_until(soon));
    let never_polled = timer.sleep_until(soon);
    let mut other = Box::pin(timer.sleep_until(soon));
    let mut polled = polled;
    assert!(poll_once(polled.as_mut(), &waker).is_pending());
    drop(polled);
    drop(never_polled);
    let kept = Arc::new(Count::default());
    assert!(poll_once(other.as_mut(), &Waker::from(kept.clone())).is_pending());
    sleep(&runtime, SETTLE).await;
    assert_eq!(count.get(), 0, "a dropped sleep MUST wake nobody");
    assert!(
        kept.get() > 0,
        "a sleep MUST wake although another was dropped"
    );
    assert!(poll_once(other.as_mut(), Waker::noop()).is_ready());
}

async fn the_last_waker_is_the_one_that_is_woken<R: Runtime>(runtime: R) {
    let timer = runtime.timer();
    let last = Arc::new(Count::default());
    let mut sleeping = Box::pin(timer.sleep_until(timer.now() + Duration::from_millis(5)));
    assert!(poll_once(sleeping.as_mut(), Waker::noop()).is_pending());
    assert!(poll_once(sleeping.as_mut(), &Waker::from(last.clone())).is_pending());
    sleep(&runtime, SETTLE).await;
    assert!(last.get() > 0, "the waker of the last poll MUST be woken");
}

async fn clones_have_the_same_origin<R: Runtime>(runtime: R) {
    let timer = runtime.timer();
    let clone = timer.clone();
    sleep(&runtime, Duration::from_millis(2)).await;
    let (before, middle, after) = (timer.now(), clone.now(), timer.now());
    assert!(
        before <= middle && middle <= after,
        "all clones MUST have the same origin: {before:?}, {middle:?}, {after:?}"
    );
    let clone = runtime.clone();
    assert!(
        clone.timer().now() >= after,
        "so must the clones of the runtime"
    );
}

async fn a_deadline_that_is_switched_off_never_comes<R: Runtime>(runtime: R) {
    let mut never = Box::pin(runtime.timer().sleep_until(Instant::NEVER));
    assert!(poll_once(never.as_mut(), Waker::noop()).is_pending());
    sleep(&runtime, SETTLE).await;
    assert!(
        poll_once(never.as_mut(), Waker::noop()).is_pending(),
        "Instant::NEVER MUST not come"
    );
}

fn poll_once(sleep: std::pin::Pin<&mut impl Future<Output = ()>>, waker: &Waker) -> Poll<()> {
    sleep.poll(&mut Context::from_waker(waker))
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
