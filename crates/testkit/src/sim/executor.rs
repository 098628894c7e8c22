//! The executor: one thread that polls a ready task drawn from the seed, until nothing is ready; then the clock jumps
//! to the next timer.
//!
//! Tasks belong to a *thread* (what one [`Threads::start`](lb_engine::rt::Threads::start) began) and a *process*.
//! A thread that ends takes its tasks along, as a real single-threaded executor does. A process can be killed, and
//! it can be frozen: its tasks are not polled, while the network goes on for it, as the kernel does for a stopped process.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use lb_core::rng::Rng;
use lb_core::time::Instant;
use lb_engine::rt::BoxFuture;

use super::trace::Trace;

/// Polls at one instant after which the run counts as caught in a loop.
const POLLS_PER_INSTANT_MAX: u64 = 500_000;

/// What nobody else uses while it is locked; a panic elsewhere leaves it as it was.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ProcessId(u64);

/// Whose task it is.
#[derive(Clone, Copy, Debug)]
struct Owner {
    process: ProcessId,
    thread: u64,
}

/// A handle to the executor of one simulation.
#[derive(Clone)]
pub(super) struct Executor(Arc<Inner>);

struct Inner {
    ready: Arc<Ready>,
    tasks: Mutex<Tasks>,
    timers: Mutex<Timers>,
    now: AtomicU64,
    schedule: Rng,
    trace: Trace,
    panics: Mutex<Vec<String>>,
}

/// The tasks that want to be polled.
type Ready = Mutex<Vec<u64>>;

struct Tasks {
    all: BTreeMap<u64, Task>,
    /// Processes that are not polled, each with its tasks that became ready meanwhile.
    frozen: BTreeMap<ProcessId, Vec<u64>>,
    dead_threads: BTreeSet<u64>,
    dead_processes: BTreeSet<ProcessId>,
    /// Whose task is being polled.
    current: Owner,
    next: u64,
}

struct Task {
    owner: Owner,
    /// `None` while it is being polled.
    future: Option<BoxFuture<'static, ()>>,
    waker: Arc<TaskWaker>,
}

struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.ready).push(self.id);
        }
    }
}

#[derive(Default)]
struct Timers {
    due: BTreeMap<(Instant, u64), Due>,
    next: u64,
}

/// What a moment brings.
enum Due {
    Wake(Waker),
    Run(Box<dyn FnOnce() + Send>),
}

/// The task that [`Executor::block_on`] was called with, and everything that is no process of its own.
const MAIN: Owner = Owner {
    process: ProcessId(0),
    thread: 0,
};

impl Executor {
    pub(super) fn new(schedule: Rng) -> Self {
        Self(Arc::new(Inner {
            ready: Arc::default(),
            tasks: Mutex::new(Tasks {
                all: BTreeMap::new(),
                frozen: BTreeMap::new(),
                dead_threads: BTreeSet::new(),
                dead_processes: BTreeSet::new(),
                current: MAIN,
                next: 1,
            }),
            timers: Mutex::default(),
            now: AtomicU64::new(0),
            schedule,
            trace: Trace::new(),
            panics: Mutex::default(),
        }))
    }

    pub(super) fn now(&self) -> Instant {
        Instant::from_nanos(self.0.now.load(Ordering::Relaxed))
    }

    pub(super) fn trace(&self) -> &Trace {
        &self.0.trace
    }

    /// Adds an event to the trace, at the present moment.
    pub(super) fn record(&self, event: &str, numbers: &[u64]) {
        self.0.trace.record(event, self.now(), numbers);
    }

    /// The panics of tasks since the last call.
    pub(super) fn take_panics(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0.panics))
    }

    /// Adds a task to the thread whose task is being polled.
    pub(super) fn spawn(&self, future: BoxFuture<'static, ()>) {
        let owner = lock(&self.0.tasks).current;
        self.add(owner, future);
    }

    /// Starts a thread in the process whose task is being polled.
    pub(super) fn start_thread(
        &self,
        make: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) {
        let process = lock(&self.0.tasks).current.process;
        self.start(process, make);
    }

    /// Starts a process.
    pub(super) fn start_process(
        &self,
        make: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> ProcessId {
        let process = {
            let mut tasks = lock(&self.0.tasks);
            tasks.next += 1;
            ProcessId(tasks.next)
        };
        self.start(process, make);
        process
    }

    fn start(
        &self,
        process: ProcessId,
        make: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) {
        let thread = {
            let mut tasks = lock(&self.0.tasks);
            tasks.next += 1;
            tasks.next
        };
        let executor = self.clone();
        let main = Box::pin(async move {
            // Also when it panics: the thread is over.
            let _end = EndOfThread { executor, thread };
            make().await;
        });
        self.add(Owner { process, thread }, main);
    }

    fn add(&self, owner: Owner, future: BoxFuture<'static, ()>) {
        let mut tasks = lock(&self.0.tasks);
        if tasks.is_dead(owner) {
            drop(tasks);
            drop(future);
            return;
        }
        tasks.next += 1;
        let waker = Arc::new(TaskWaker {
            id: tasks.next,
            queued: AtomicBool::new(false),
            ready: self.0.ready.clone(),
        });
        let id = waker.id;
        waker.wake_by_ref();
        tasks.all.insert(
            id,
            Task {
                owner,
                future: Some(future),
                waker,
            },
        );
    }

    /// Ends a process: its tasks are dropped where they stand.
    pub(super) fn kill(&self, process: ProcessId) {
        let mut tasks = lock(&self.0.tasks);
        tasks.dead_processes.insert(process);
        tasks.frozen.remove(&process);
        let gone = tasks.remove(|owner| owner.process == process);
        drop(tasks);
        drop(gone);
    }

    /// Stops polling a process.
    pub(super) fn freeze(&self, process: ProcessId) {
        lock(&self.0.tasks).frozen.entry(process).or_default();
    }

    /// Polls a process again.
    pub(super) fn thaw(&self, process: ProcessId) {
        let waiting = lock(&self.0.tasks).frozen.remove(&process);
        lock(&self.0.ready).extend(waiting.unwrap_or_default());
    }

    /// Runs `action` at `due`, on nobody's behalf.
    pub(super) fn run_at(&self, due: Instant, action: impl FnOnce() + Send + 'static) {
        self.at(due, Due::Run(Box::new(action)));
    }

    /// Wakes `waker` at `due`; the key cancels it.
    pub(super) fn wake_at(&self, due: Instant, waker: Waker) -> u64 {
        self.at(due, Due::Wake(waker))
    }

    fn at(&self, due: Instant, what: Due) -> u64 {
        let mut timers = lock(&self.0.timers);
        timers.next += 1;
        let key = timers.next;
        timers.due.insert((due, key), what);
        key
    }

    /// Takes back a wake-up.
    pub(super) fn cancel(&self, due: Instant, key: u64) {
        let gone = lock(&self.0.timers).due.remove(&(due, key));
        drop(gone);
    }

    /// Timers that are armed.
    pub(super) fn timers(&self) -> usize {
        lock(&self.0.timers).due.len()
    }

    /// Runs everything until `main` is over. What else still runs stays where it is, for the next call.
    ///
    /// # Panics
    /// With `main`; and when nothing can ever happen again, or time does not move on.
    pub(super) fn block_on<F: Future>(&self, main: F) -> F::Output {
        let mut main = std::pin::pin!(main);
        let waker = Arc::new(TaskWaker {
            id: 0,
            queued: AtomicBool::new(false),
            ready: self.0.ready.clone(),
        });
        waker.wake_by_ref();
        let (mut instant, mut polls) = (self.now(), 0u64);
        loop {
            let Some(id) = self.next_ready() else {
                assert!(
                    self.advance(),
                    "nothing is ready and no timer is armed at {:?}: the simulation hangs",
                    self.now()
                );
                continue;
            };
            if self.now() != instant {
                (instant, polls) = (self.now(), 0);
            }
            polls += 1;
            assert!(
                polls < POLLS_PER_INSTANT_MAX,
                "{polls} polls at {instant:?}: the simulation is caught in a loop"
            );
            if id != 0 {
                self.poll(id);
                continue;
            }
            self.record("poll", &[0]);
            waker.queued.store(false, Ordering::Relaxed);
            let std_waker = Waker::from(waker.clone());
            if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&std_waker)) {
                // A wake-up that is left over must not be taken for the next main task's.
                lock(&self.0.ready).retain(|id| *id != 0);
                return output;
            }
        }
    }

    /// Draws one of the ready tasks.
    fn next_ready(&self) -> Option<u64> {
        let mut ready = lock(&self.0.ready);
        if ready.is_empty() {
            return None;
        }
        let drawn = self.0.schedule.below(ready.len() as u64) as usize;
        Some(ready.swap_remove(drawn))
    }

    fn poll(&self, id: u64) {
        let Some((owner, mut future, waker)) = self.take(id) else {
            return;
        };
        self.record("poll", &[id]);
        waker.queued.store(false, Ordering::Relaxed);
        let std_waker = Waker::from(waker);
        let mut context = Context::from_waker(&std_waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        let mut tasks = lock(&self.0.tasks);
        tasks.current = MAIN;
        let keep = matches!(polled, Ok(Poll::Pending)) && !tasks.is_dead(owner);
        if keep {
            if let Some(task) = tasks.all.get_mut(&id) {
                task.future = Some(future);
            }
            return;
        }
        let gone = tasks.all.remove(&id);
        drop(tasks);
        drop(gone);
        self.drop_future(future);
        if let Err(panic) = polled {
            self.panicked(id, &*panic);
        }
    }

    /// A destructor may panic, too: that ends this task alone.
    fn drop_future(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
            self.panicked(0, &*panic);
        }
    }

    fn panicked(&self, id: u64, panic: &(dyn Any + Send)) {
        let text = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        self.record("panic", &[id]);
        lock(&self.0.panics).push(format!("{text} (at {:?})", self.now().since_origin()));
    }

    /// Takes a task's future out for a poll; `None` if it is gone or frozen.
    fn take(&self, id: u64) -> Option<(Owner, BoxFuture<'static, ()>, Arc<TaskWaker>)> {
        let mut tasks = lock(&self.0.tasks);
        let owner = tasks.all.get(&id)?.owner;
        if let Some(waiting) = tasks.frozen.get_mut(&owner.process) {
            waiting.push(id);
            return None;
        }
        tasks.current = owner;
        let task = tasks.all.get_mut(&id)?;
        Some((owner, task.future.take()?, task.waker.clone()))
    }

    /// Moves the clock to the next timer; false if there is none.
    fn advance(&self) -> bool {
        let mut timers = lock(&self.0.timers);
        let Some((&(due, _), _)) = timers.due.first_key_value() else {
            return false;
        };
        let due = due.max(self.now());
        self.0.now.store(due.as_nanos(), Ordering::Relaxed);
        let later = timers.due.split_off(&(due, u64::MAX));
        let now = std::mem::replace(&mut timers.due, later);
        drop(timers);
        self.record("time", &[now.len() as u64]);
        for what in now.into_values() {
            match what {
                Due::Wake(waker) => waker.wake(),
                Due::Run(action) => action(),
            }
        }
        true
    }

    /// Drops every task and timer: the world ends.
    pub(super) fn clear(&self) {
        let mut tasks = lock(&self.0.tasks);
        tasks.dead_processes.insert(MAIN.process);
        let gone = tasks.remove(|_| true);
        drop(tasks);
        for task in gone {
            if let Some(future) = task.future {
                self.drop_future(future);
            }
        }
        let timers = std::mem::take(&mut lock(&self.0.timers).due);
        drop(timers);
    }
}

impl Tasks {
    fn is_dead(&self, owner: Owner) -> bool {
        self.dead_threads.contains(&owner.thread) || self.dead_processes.contains(&owner.process)
    }

    fn remove(&mut self, whose: impl Fn(Owner) -> bool) -> Vec<Task> {
        self.all
            .extract_if(.., |_, task| whose(task.owner))
            .map(|(_, task)| task)
            .collect()
    }
}

struct EndOfThread {
    executor: Executor,
    thread: u64,
}

impl Drop for EndOfThread {
    fn drop(&mut self) {
        let mut tasks = lock(&self.executor.0.tasks);
        tasks.dead_threads.insert(self.thread);
        let thread = self.thread;
        let gone = tasks.remove(|owner| owner.thread == thread);
        drop(tasks);
        drop(gone);
    }
}
