//! The world: backends, clients and faults around a balancer, scripted in a few lines.
//!
//! ```
//! use lb_testkit::sim::{Load, secs, sim};
//!
//! sim(1, |world| async move {
//!     let backends = world.backends(3);
//!     // No balancer in this one: the clients ask a backend directly.
//!     world.load(backends[0], Load::closed(4, secs(2)));
//!     world.run_until(secs(1)).await;
//!     world.freeze("b1");
//!     world.run_until(secs(2)).await;
//!     world.thaw("b1");
//!     world.quiet().await;
//!     world.check().nothing_wrong().no_failed_get();
//! });
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb_core::rng::Rng;
use lb_core::time::{Instant, Timer as _};

use super::Sim;
use super::backend::{Backend, Behaviour};
use super::check::Check;
use super::executor::{ProcessId, lock};
use super::ledger::Ledger;
use super::load::{Clients, Load};
use super::net::{Conditions, Network};
use super::runtime::SimRuntime;
use super::seed::{Replay, Streams};
use super::timer::SimTimer;

/// The port of every backend.
const PORT: u16 = 80;
const CLIENTS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 1));

/// Runs `scenario` in the world that follows from `seed`; returns the trace hash.
///
/// # Panics
/// With the scenario, and when any task panicked; the seed is printed then.
pub fn sim<F, S>(seed: u64, scenario: S) -> u64
where
    F: Future<Output = ()>,
    S: FnOnce(World) -> F,
{
    let _replay = Replay(seed);
    let sim = Sim::new(seed);
    let world = World::new(&sim);
    sim.block_on(scenario(world));
    assert_eq!(sim.take_panics(), [""; 0], "tasks panicked");
    sim.trace_hash()
}

/// Runs `scenario` twice with the same seed and insists that both runs are the same, event by event.
///
/// # Panics
/// As [`sim`], and when the runs differ.
pub fn replayed<F, S>(seed: u64, scenario: S) -> u64
where
    F: Future<Output = ()>,
    S: Fn(World) -> F,
{
    let first = sim(seed, &scenario);
    let _replay = Replay(seed);
    let second = sim(seed, &scenario);
    assert_eq!(first, second, "two runs of one seed differ");
    first
}

/// A moment of virtual time.
pub fn secs(seconds: u64) -> Instant {
    millis(seconds * 1000)
}

/// A moment of virtual time.
pub fn millis(milliseconds: u64) -> Instant {
    Instant::from_origin(Duration::from_millis(milliseconds))
}

/// A handle to everything that happens in a simulation.
#[derive(Clone)]
pub struct World {
    pub(super) network: Arc<Network>,
    pub(super) streams: Arc<Streams>,
    pub(super) ledger: Arc<Ledger>,
    backends: Arc<Mutex<BTreeMap<String, Host>>>,
    running: Arc<AtomicUsize>,
}

struct Host {
    backend: Arc<Backend>,
    /// `None` while it is down.
    process: Option<ProcessId>,
}

impl World {
    fn new(sim: &Sim) -> Self {
        Self {
            network: sim.network.clone(),
            streams: sim.streams.clone(),
            ledger: Arc::default(),
            backends: Arc::default(),
            running: Arc::default(),
        }
    }

    /// The present.
    pub fn now(&self) -> Instant {
        self.network.executor.now()
    }

    /// The runtime of the host at `ip`.
    pub fn runtime(&self, ip: IpAddr) -> SimRuntime {
        SimRuntime::new(&self.network, ip)
    }

    /// Where faults are drawn from.
    pub fn faults(&self) -> &Rng {
        &self.streams.faults
    }

    /// Starts backends `b1`, `b2`, … and returns their addresses.
    pub fn backends(&self, count: u8) -> Vec<SocketAddr> {
        (1..=count).map(|number| self.backend(number)).collect()
    }

    fn backend(&self, number: u8) -> SocketAddr {
        let name = format!("b{number}");
        let address = SocketAddr::from(([10, 0, 1, number], PORT));
        let backend = Arc::new(Backend {
            name: name.clone(),
            address,
            runtime: SimRuntime::new(&self.network, address.ip()),
            behaviour: Mutex::default(),
            turns: Mutex::default(),
            rng: self.streams.backends.split(),
            ledger: self.ledger.clone(),
        });
        let process = None;
        lock(&self.backends).insert(name.clone(), Host { backend, process });
        self.restart(&name);
        address
    }

    fn on<T>(&self, name: &str, what: impl FnOnce(&mut Host) -> T) -> T {
        let mut backends = lock(&self.backends);
        what(backends.get_mut(name).expect("a backend of this name"))
    }

    /// Kills a backend: its connections are reset, its port refuses.
    pub fn crash(&self, name: &str) {
        self.network.executor.record("crash", &[]);
        let (process, address) = self.on(name, |host| (host.process.take(), host.backend.address));
        self.network.reset_all(address.ip());
        if let Some(process) = process {
            self.network.executor.kill(process);
        }
    }

    /// Starts a backend that was killed; does nothing to one that runs.
    pub fn restart(&self, name: &str) {
        self.network.executor.record("restart", &[]);
        let backend = self.on(name, |host| {
            host.process.is_none().then(|| host.backend.clone())
        });
        if let Some(backend) = backend {
            let run = move || -> lb_engine::rt::BoxFuture<'static, ()> { Box::pin(backend.run()) };
            let process = self.network.executor.start_process(run);
            self.on(name, |host| host.process = Some(process));
        }
    }

    /// Stops a backend as SIGSTOP does: the kernel still accepts for it.
    pub fn freeze(&self, name: &str) {
        self.network.executor.record("freeze", &[]);
        if let Some(process) = self.on(name, |host| host.process) {
            self.network.executor.freeze(process);
        }
    }

    /// Lets a frozen backend go on.
    pub fn thaw(&self, name: &str) {
        self.network.executor.record("thaw", &[]);
        if let Some(process) = self.on(name, |host| host.process) {
            self.network.executor.thaw(process);
        }
    }

    /// Takes a backend off the network: nothing arrives, nothing is refused.
    pub fn cut(&self, name: &str) {
        let ip = self.on(name, |host| host.backend.address.ip());
        self.network.cut(ip);
    }

    /// Puts a backend on the network again.
    pub fn heal(&self, name: &str) {
        let ip = self.on(name, |host| host.backend.address.ip());
        self.network.heal(ip);
    }

    /// How a backend behaves from now on.
    pub fn behave(&self, name: &str, behaviour: Behaviour) {
        self.on(name, |host| *lock(&host.backend.behaviour) = behaviour);
    }

    /// How the way to a backend behaves, for connections made from now on.
    pub fn conditions(&self, name: &str, conditions: Conditions) {
        let ip = self.on(name, |host| host.backend.address.ip());
        self.network.set_conditions(ip, conditions);
    }

    /// Starts clients that ask `target`.
    pub fn load(&self, target: SocketAddr, load: Load) {
        let clients = Clients {
            runtime: SimRuntime::new(&self.network, CLIENTS),
            target,
            load,
            rng: self.streams.clients.split(),
            ledger: self.ledger.clone(),
            running: self.running.clone(),
        };
        clients.start();
    }

    /// Lets the world go on until `then`.
    pub async fn run_until(&self, then: Instant) {
        SimTimer(self.network.executor.clone())
            .sleep_until(then)
            .await;
    }

    /// Lets the world go on for a while.
    pub async fn run_for(&self, duration: Duration) {
        self.run_until(self.now() + duration).await;
    }

    /// Lets the world go on until every client is done.
    pub async fn quiet(&self) {
        while self.running.load(Ordering::Relaxed) > 0 {
            self.run_for(Duration::from_millis(10)).await;
        }
    }

    /// Connections that are open at either end.
    pub fn open_connections(&self) -> usize {
        self.network.open()
    }

    /// What happened so far, to be judged.
    pub fn check(&self) -> Check {
        Check::new(&self.ledger)
    }
}
