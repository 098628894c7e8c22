//! The obligations of [`Spawn`](lb_engine::rt::Spawn) and [`Threads`](lb_engine::rt::Threads).

use futures::channel::oneshot;
use lb_engine::rt::{BoxFuture, Runtime, Spawn as _, Threads as _};

use super::case;

/// Checks every obligation of `Spawn` and `Threads`.
///
/// One case lets a task panic on purpose: the message of that panic on standard error is no failure.
///
/// # Panics
/// When one is not met.
pub fn tasks<R: Runtime>(runtime: &R, block_on: &dyn Fn(BoxFuture<'static, ()>)) {
    macro_rules! cases {
        ($($name:ident),* $(,)?) => {
            $(case(stringify!($name), runtime, block_on, $name(runtime.clone()));)*
        };
    }
    cases![
        a_spawned_task_runs_beside_its_parent,
        a_panic_ends_its_task_alone,
        a_thread_drives_its_future_and_what_that_spawns,
    ];
}

async fn a_spawned_task_runs_beside_its_parent<R: Runtime>(runtime: R) {
    let (ask, asked) = oneshot::channel::<()>();
    let (answer, answered) = oneshot::channel();
    runtime.spawn().spawn(async move {
        asked.await.expect("the parent asks");
        let _ = answer.send(5);
    });
    ask.send(()).expect("the task runs");
    assert_eq!(answered.await, Ok(5));
}

async fn a_panic_ends_its_task_alone<R: Runtime>(runtime: R) {
    let (start, started) = oneshot::channel::<()>();
    let (held, dropped) = oneshot::channel::<()>();
    runtime.spawn().spawn(async move {
        let _held = held;
        started.await.expect("the parent starts it");
        panic!("on purpose: a panic ends its task alone");
    });
    start.send(()).expect("the task runs");
    assert!(
        dropped.await.is_err(),
        "what a task owns is dropped when it panics"
    );
    a_spawned_task_runs_beside_its_parent(runtime).await;
}

async fn a_thread_drives_its_future_and_what_that_spawns<R: Runtime>(runtime: R) {
    let (answer, answered) = oneshot::channel();
    let inside = runtime.clone();
    let started = runtime.threads().start("conformance", move || {
        Box::pin(async move {
            let (child, said) = oneshot::channel();
            inside.spawn().spawn(async move {
                let _ = child.send(7);
            });
            let _ = answer.send(said.await);
        })
    });
    started.expect("a thread starts");
    assert_eq!(answered.await.expect("the thread answers"), Ok(7));
}
