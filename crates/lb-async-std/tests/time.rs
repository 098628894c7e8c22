//! What the clock promises beyond what async-io does by itself.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use lb_async_std::AsyncStd;
use lb_core::time::{Instant, Timer};
use lb_engine::rt::Runtime;

#[test]
fn a_sleep_whose_deadline_has_passed_is_ready_at_its_first_poll() {
    let runtime = AsyncStd::new();
    let timer = runtime.timer().clone();
    let ready = runtime.block_on(async move {
        timer
            .sleep_until(Instant::ORIGIN + Duration::from_millis(5))
            .await;
        for micros in [0, 1, 10, 100, 500, 999, 1500] {
            let passed = timer.now().since_origin() - Duration::from_micros(micros);
            let mut sleep = pin!(timer.sleep_until(Instant::from_origin(passed)));
            let ready = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_ready())).await;
            assert!(ready, "{micros} microseconds late");
        }
    });
    ready.unwrap();
}

#[test]
fn a_sleep_is_over_at_its_deadline_and_not_before() {
    let runtime = AsyncStd::new();
    let timer = runtime.timer().clone();
    let slept = runtime.block_on(async move {
        for micros in [1, 50, 700, 1300, 2900] {
            let deadline = timer.now() + Duration::from_micros(micros);
            timer.sleep_until(deadline).await;
            assert!(timer.now() >= deadline);
        }
    });
    slept.unwrap();
}
