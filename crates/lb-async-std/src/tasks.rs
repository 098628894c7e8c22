//! Threads, each with an executor of its own, and the tasks on them.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use async_executor::{LocalExecutor, Task};
use futures::FutureExt;
use lb_engine::rt::{BoxFuture, Spawn, Threads};

/// Tasks on the executor of the calling thread, and threads with an executor each.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStdTasks;

type Executor = Rc<LocalExecutor<'static>>;

thread_local! {
    /// The executor that runs on this thread.
    static CURRENT: RefCell<Option<Executor>> = const { RefCell::new(None) };
}

/// Runs `future`, and all that it spawns, until it ends.
///
/// async-std's own `block_on` is this one inside another executor, and starts the threads of a third: they would take
/// turns at the reactor with those that have something to do.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let executor = Executor::default();
    let before = CURRENT.replace(Some(executor.clone()));
    let output = async_io::block_on(executor.run(future));
    CURRENT.set(before);
    output
}

impl Spawn for AsyncStdTasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // The executor would hand a panic on to whoever runs it, and that is the whole worker.
        let task = AssertUnwindSafe(task).catch_unwind().map(|result| {
            if result.is_err() {
                // The panic hook has printed where; without anybody to read it, nothing is left to do.
                let _ = writeln!(io::stderr(), "a task ended by a panic");
            }
        });
        spawn(task).detach();
    }
}

fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> Task<T> {
    CURRENT.with_borrow(|current| {
        let executor = current
            .as_ref()
            .expect("tasks are spawned by futures that AsyncStd runs");
        executor.spawn(task)
    })
}

impl Threads for AsyncStdTasks {
    fn start(
        &self,
        name: &str,
        make: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> io::Result<()> {
        std::thread::Builder::new()
            .name(name.to_owned())
            // As a task: what `run` is given is polled whenever any task wakes, and a worker polls its listeners then.
            .spawn(move || run(async { spawn(make()).await }))
            .map(drop)
    }
}
