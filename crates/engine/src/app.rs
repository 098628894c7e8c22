//! The composition: settings and a runtime become workers and one control future.
//!
//! Nothing here starts a thread or reads a clock by itself; a simulator drives the same parts in one task.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::{Either, join_all, join3, select};
use futures::stream::{Stream, StreamExt as _};
use lb_core::backend::Address;
use lb_core::config::settings::{Limits, Listener, Settings};
use lb_core::event::Observer;
use lb_core::forward::{Forwarder, Shared};
use lb_core::health::monitor;
use lb_core::pool::SharedPool;
use lb_core::rng::Rng;
use lb_core::time::{Timer, timeout};
use lb_core::transport::Transport;

use crate::alarm::Alarm;
use crate::bind::{self, Bound};
use crate::client::{Client, ClientSettings};
use crate::logging::{Field, Level, Log, Throttle};
use crate::names::Names;
use crate::rt::{Net, Runtime, Signal, Spawn as _, Threads as _};
use crate::server::accept::{Acceptor, Slots};
use crate::server::connection::{Site, serve};
use crate::server::drain::{Drain, Phase};
use crate::server::watch::{Patience, Watch};

pub use crate::bind::Unbound;

/// How long cut connections may take to go.
const CUT: Duration = Duration::from_secs(1);

/// How long workers have to cut what runs when the end must come at once.
const AT_ONCE: Duration = Duration::from_millis(500);

/// How long the first look-up of host names may hold up the start.
const FIRST_RESOLUTION: Duration = Duration::from_secs(2);

/// What a composition needs beyond its settings.
pub struct Setup {
    /// Number of workers, at least one.
    pub workers: usize,
    /// Client connections at a time, in all workers together.
    pub connections: usize,
    /// Whether answers without a `Date` get one from the real clock (RFC 9110 §6.6.1). Off in simulations.
    pub date: bool,
    /// Where all random choices come from.
    pub seed: u64,
    /// Who hears of transitions and finished exchanges.
    pub observer: Arc<dyn Observer>,
    /// Who writes down what else happens.
    pub log: Log,
}

/// A balancer that is bound to its addresses and not yet running.
pub struct App<R: Runtime> {
    /// One future for each worker's executor.
    pub workers: Vec<Worker<R>>,
    /// The future that probes, resolves and stops.
    pub control: Control<R>,
    /// Where it listens, with the ports that the system chose.
    pub listening: Vec<(Listener, SocketAddr)>,
}

impl<R: Runtime> App<R> {
    /// Binds every listener and composes the parts.
    ///
    /// # Errors
    /// All listeners that cannot be bound.
    pub fn build(runtime: &R, settings: Settings, setup: Setup) -> Result<Self, Unbound> {
        let Bound { sockets, listening } =
            bind::bind(runtime.net(), &settings.listeners, setup.workers)?;
        let settings = Arc::new(settings);
        let rng = Rng::new(setup.seed);
        let drain = Arc::new(Drain::new());
        let slots = Slots::new(setup.connections);
        let names = Arc::new(Names::new(
            settings.pool.servers.iter().map(|server| &server.address),
        ));
        let pool = SharedPool::new(
            &settings.pool,
            rng.split(),
            setup.observer.clone(),
            runtime.timer().now(),
        );
        let shared = Shared::new(&settings, pool.clone(), setup.observer);

        let mut finished = Vec::new();
        let workers = sockets
            .into_iter()
            .map(|sockets| {
                let (done, finish) = oneshot::channel();
                finished.push(finish);
                Worker {
                    runtime: runtime.clone(),
                    settings: settings.clone(),
                    shared: shared.clone(),
                    names: names.clone(),
                    slots: slots.clone(),
                    drain: drain.clone(),
                    log: setup.log.clone(),
                    date: setup.date,
                    rng: rng.split(),
                    sockets,
                    done,
                }
            })
            .collect();
        let control = Control {
            runtime: runtime.clone(),
            settings,
            pool,
            shared,
            names,
            drain,
            log: setup.log,
            rng: rng.split(),
            finished,
        };
        Ok(Self {
            workers,
            control,
            listening,
        })
    }
}

/// Everything that serves requests on one executor.
pub struct Worker<R: Runtime> {
    runtime: R,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    names: Arc<Names>,
    slots: Arc<Slots>,
    drain: Arc<Drain>,
    log: Log,
    date: bool,
    rng: Rng,
    sockets: Vec<<R::Net as Net>::Bound>,
    done: oneshot::Sender<io::Result<usize>>,
}

impl<R: Runtime> Worker<R> {
    /// Serves until the process has drained. Dropping the future closes everything at once.
    pub async fn run(mut self) {
        let (done, _) = oneshot::channel();
        let done = std::mem::replace(&mut self.done, done);
        let result = self.serve().await;
        // Nobody listens any more when the control future was dropped.
        let _ = done.send(result);
    }

    /// Says how many exchanges it had to cut.
    async fn serve(self) -> io::Result<usize> {
        let timer = Alarm::new(self.runtime.timer().clone());
        let client = client(
            self.runtime.net(),
            &timer,
            &self.settings,
            self.names,
            &self.rng,
        );
        let watch = Arc::new(Watch::default());
        let site = Arc::new(Site {
            forwarder: Forwarder::new(
                &self.settings,
                &self.shared,
                client.clone(),
                timer.clone(),
                self.rng.split(),
            ),
            timer: timer.clone(),
            limits: crate::http1::Limits {
                bytes: self.settings.limits.head_bytes,
                fields: self.settings.limits.header_count,
            },
            date: self.date,
            drain: self.drain.clone(),
            log: self.log.clone(),
            malformed: Throttle::default(),
        });

        let mut acceptors = Vec::new();
        for socket in self.sockets {
            let listener = self.runtime.net().listen(socket)?;
            let acceptor = Acceptor {
                slots: self.slots.clone(),
                drain: self.drain.clone(),
                timer: timer.clone(),
                log: self.log.clone(),
            };
            let (spawn, site, watch) = (self.runtime.spawn().clone(), site.clone(), watch.clone());
            acceptors.push(acceptor.run(listener, move |stream, peer, slot| {
                let guard = watch.add(site.timer.now());
                let beyond = slot.is_beyond();
                let connection = serve::<R::Net, _, _>(site.clone(), stream, peer, guard, beyond);
                // An async block would keep the future twice: as what it captures and as what it awaits.
                spawn.spawn(connection.map(move |()| drop(slot)));
            }));
        }

        let work = async {
            join_all(acceptors).await;
            select(pin!(watch.empty()), pin!(self.drain.reached(Phase::Cut))).await;
            let cut = watch.cut_all();
            // Each cut connection is closed by its own task.
            let _ = timeout(&timer, timer.now() + CUT, watch.empty()).await;
            cut
        };
        let connections =
            pin!(watch.sweep(Patience::new(&self.settings.limits), &self.drain, &timer));
        let kept = pin!(client.sweep());
        match select(pin!(work), join3(connections, kept, pin!(timer.run()))).await {
            Either::Left((cut, _)) => Ok(cut),
            Either::Right(((never, _, _), _)) => match never {},
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Everything that was asked for was answered, or had its time.
    Gracefully,
    /// A second signal asked for the end at once.
    AtOnce,
    /// A worker failed.
    Failed,
}

/// Everything beside the workers: probes, host names, signals, the stop.
pub struct Control<R: Runtime> {
    runtime: R,
    settings: Arc<Settings>,
    pool: Arc<SharedPool>,
    shared: Arc<Shared>,
    names: Arc<Names>,
    drain: Arc<Drain>,
    log: Log,
    rng: Rng,
    finished: Vec<oneshot::Receiver<io::Result<usize>>>,
}

impl<R: Runtime> Control<R> {
    /// The pool, for those who want to look at it.
    pub fn pool(&self) -> &Arc<SharedPool> {
        &self.pool
    }

    /// A client for the control plane; probes go through it, or through something built on it.
    pub fn client(&self) -> Client<R::Net, R::Timer> {
        client(
            self.runtime.net(),
            self.runtime.timer(),
            &self.settings,
            self.names.clone(),
            &self.rng,
        )
    }

    /// Looks every host name up once, so that the first requests find addresses; gives up waiting after two seconds.
    pub async fn resolve(&self) {
        let timer = self.runtime.timer();
        let deadline = timer.now() + FIRST_RESOLUTION;
        for (address, error) in self
            .names
            .resolve(self.runtime.net(), timer, deadline)
            .await
        {
            unresolved(&self.log, &address, &error);
        }
    }

    /// Probes, resolves and listens to signals until every worker has ended.
    ///
    /// Dropping the future leaves the workers running, without probes.
    pub async fn run<P: Transport>(
        self,
        probes: P,
        signals: impl Stream<Item = Signal> + Send + Unpin,
    ) -> Ended {
        let timer = self.runtime.timer().clone();
        let (pool, names, net) = (
            self.pool.clone(),
            self.names.clone(),
            self.runtime.net().clone(),
        );
        let background = select(
            Box::pin(async move { monitor(&pool, &probes, &timer).await }),
            Box::pin({
                let timer = self.runtime.timer().clone();
                let log = self.log.clone();
                async move {
                    names
                        .refresh(&net, &timer, |address, error| {
                            unresolved(&log, address, error)
                        })
                        .await
                }
            }),
        );
        match select(pin!(self.supervise(signals)), background).await {
            Either::Left((ended, _)) => ended,
            Either::Right((Either::Left((never, _)) | Either::Right((never, _)), _)) => {
                match never {}
            }
        }
    }

    async fn supervise(self, mut signals: impl Stream<Item = Signal> + Unpin) -> Ended {
        let Self {
            runtime,
            settings,
            shared,
            drain,
            log,
            finished,
            ..
        } = self;
        let limits = &settings.limits;
        let mut workers = pin!(ended(finished));
        loop {
            match select(signals.next(), workers.as_mut()).await {
                Either::Left((Some(Signal::Reload), _)) => {
                    log.warn("reload is known, but not in this version: restart instead");
                }
                Either::Left((Some(Signal::Stop) | None, _)) => break,
                // Workers end when they are told to; before that it is a failure.
                Either::Right((result, _)) => {
                    worker_failed(&log, result.err());
                    return Ended::Failed;
                }
            }
        }
        let timer = runtime.timer();
        let started = timer.now();
        drain.advance(Phase::Announced);
        log.say(
            Level::Info,
            "stopping",
            &[
                (
                    "delay_s",
                    Field::Number(limits.shutdown_delay.as_secs_f64()),
                ),
                (
                    "grace_s",
                    Field::Number(limits.shutdown_grace.as_secs_f64()),
                ),
            ],
        );
        let orderly = {
            let winding_down = wind_down(timer, limits, &drain, &shared, workers.as_mut());
            match select(pin!(winding_down), pin!(second(&mut signals))).await {
                Either::Left((result, _)) => Some(result),
                Either::Right(_) => None,
            }
        };
        let at_once = orderly.is_none();
        let result = match orderly {
            Some(result) => Ok(result),
            None => {
                cut(&drain, &shared);
                timeout(timer, timer.now() + AT_ONCE, workers).await
            }
        };
        let took = timer.now().saturating_since(started).as_secs_f64();
        let mut fields = vec![("after_s", Field::Number(took))];
        match result {
            Ok(Ok(cut)) => fields.push(("cut", Field::count(cut))),
            Ok(Err(error)) => {
                worker_failed(&log, Some(error));
                return Ended::Failed;
            }
            // Nobody waits for workers that are not ready to go at once.
            Err(_) => {}
        }
        if at_once {
            fields.push(("cause", Field::Text(&"a second signal")));
        }
        log.say(Level::Info, "stopped", &fields);
        match at_once {
            true => Ended::AtOnce,
            false => Ended::Gracefully,
        }
    }
}

/// A client of its own for one executor.
fn client<N: Net, C: Timer>(
    net: &N,
    timer: &C,
    settings: &Settings,
    names: Arc<Names>,
    rng: &Rng,
) -> Client<N, C> {
    let client = ClientSettings {
        idle_per_server: settings.pool.limits.idle_per_worker,
        ..ClientSettings::default()
    };
    Client::new(net.clone(), timer.clone(), names, client, rng.split())
}

/// The orderly end, to be told how many exchanges had to be cut all the same.
async fn wind_down(
    timer: &impl Timer,
    limits: &Limits,
    drain: &Drain,
    shared: &Shared,
    mut workers: impl Future<Output = io::Result<usize>> + Unpin,
) -> io::Result<usize> {
    if !limits.shutdown_delay.is_zero() {
        timer.sleep_until(timer.now() + limits.shutdown_delay).await;
    }
    drain.advance(Phase::Draining);
    let deadline = timer.now() + limits.shutdown_grace;
    if let Ok(result) = timeout(timer, deadline, &mut workers).await {
        return result;
    }
    cut(drain, shared);
    workers.await
}

/// Lets the workers cut what runs, so that no answer that breaks off looks complete, and no client is blamed for it.
fn cut(drain: &Drain, shared: &Shared) {
    shared.cut();
    drain.advance(Phase::Cut);
}

/// Completes at the next request to stop; later reloads do not count.
async fn second(signals: &mut (impl Stream<Item = Signal> + Unpin)) {
    while let Some(signal) = signals.next().await {
        if signal == Signal::Stop {
            return;
        }
    }
    std::future::pending().await
}

/// Completes when all workers have ended, or the first has failed: the number of exchanges that were cut.
async fn ended(finished: Vec<oneshot::Receiver<io::Result<usize>>>) -> io::Result<usize> {
    let each = finished.into_iter().map(|worker| async {
        worker
            .await
            .unwrap_or_else(|_| Err(io::Error::other("a worker's thread ended without a word")))
    });
    Ok(futures::future::try_join_all(each).await?.into_iter().sum())
}

/// Starts every worker on a thread of its own.
///
/// # Errors
/// The first thread that cannot be started.
pub fn start<R: Runtime>(runtime: &R, workers: Vec<Worker<R>>) -> io::Result<()> {
    for (index, worker) in workers.into_iter().enumerate() {
        runtime
            .threads()
            .start(&format!("worker-{}", index + 1), move || {
                Box::pin(worker.run())
            })?;
    }
    Ok(())
}

fn unresolved(log: &Log, address: &Address, error: &io::Error) {
    log.say(
        Level::Warn,
        "name not resolved",
        &[
            ("server", Field::Text(address)),
            ("cause", Field::Text(error)),
        ],
    );
}

fn worker_failed(log: &Log, error: Option<io::Error>) {
    let error = error.unwrap_or_else(|| io::Error::other("it ended before it was told to"));
    log.say(
        Level::Error,
        "worker failed",
        &[("cause", Field::Text(&error))],
    );
}
