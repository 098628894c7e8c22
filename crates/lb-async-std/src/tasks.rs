//! Threads, each with an executor of its own, and the tasks on them.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;

use async_executor::{LocalExecutor, Task};
use futures::FutureExt;
use futures::future::{Either, select};
use lb_engine::rt::{BoxFuture, Spawn, Threads};

/// Tasks that are run between two looks at the reactor.
const TURN: u32 = 16;

/// Tasks on the executor of the calling thread, and threads with an executor each.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStdTasks;

type Executor = Rc<LocalExecutor<'static>>;

thread_local! {
    /// The executor that runs on this thread.
    static CURRENT: RefCell<Option<Executor>> = const { RefCell::new(None) };
}

/// Runs `future`, and all that it spawns, until it ends, and leaves the reactor to other threads: to those that wait for
/// sockets all the time, or else to async-io's own. Whoever has nothing to do would hold the reactor for them, and hand over
/// each event.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    run_by(|executor| futures::executor::block_on(executor.run(future)))
}

/// The same, on a thread that turns the reactor itself while it waits.
///
/// async-std's own `block_on` is this one inside another executor, and starts the threads of a third: they would take
/// turns at the reactor with those that have something to do.
fn run_with_reactor<F: Future>(future: F) -> F::Output {
    run_by(|executor| async_io::block_on(turn_by_turn(executor, future)))
}

/// Runs the tasks of `executor` until `future` ends, and looks at the reactor between two turns of them: on a thread that
/// always has a task left to run, async-io's own thread would have to, and would hand over each event by itself.
async fn turn_by_turn<F: Future>(executor: &LocalExecutor<'static>, future: F) -> F::Output {
    let tasks = async {
        loop {
            executor.tick().await;
            let mut run = 1;
            while run < TURN && executor.try_tick() {
                run += 1;
            }
            async_std::task::yield_now().await;
        }
    };
    match select(pin!(future), pin!(tasks)).await {
        Either::Left((output, _)) => output,
        Either::Right((never, _)) => never,
    }
}

fn run_by<O>(block_on: impl FnOnce(&LocalExecutor<'static>) -> O) -> O {
    let executor = Executor::default();
    let before = CURRENT.replace(Some(executor.clone()));
    let output = block_on(&executor);
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
            .spawn(move || run_with_reactor(async { spawn(make()).await }))
            .map(drop)
    }
}
