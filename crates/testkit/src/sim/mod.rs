//! A simulated runtime: tasks, time and network that follow from one seed.
//!
//! Everything runs on one thread in virtual time, so a minute of traffic takes milliseconds, and a failure is replayed
//! exactly by its seed: the failing run prints it, `LB_SIM_SEED=… cargo test …` runs it again, and `LB_SIM_TRACE=1`
//! prints every event. It simulates the runtime and the network, not HTTP: all of the engine runs inside.
//!
//! ```
//! use std::time::Duration;
//! use lb_core::time::Timer;
//! use lb_engine::rt::Runtime;
//! use lb_testkit::sim::Sim;
//!
//! let sim = Sim::new(7);
//! let runtime = sim.runtime([10, 0, 0, 1].into());
//! let slept = sim.block_on(async move {
//!     let start = runtime.timer().now();
//!     runtime.timer().sleep_until(start + Duration::from_secs(3600)).await;
//!     runtime.timer().now().saturating_since(start)
//! });
//! assert_eq!(slept, Duration::from_secs(3600));
//! ```

mod backend;
mod check;
mod executor;
mod ledger;
mod load;
mod net;
mod proxy;
mod runtime;
mod seed;
mod timer;
mod trace;
mod world;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lb_core::rng::Rng;

pub use self::backend::{Answer, Behaviour, Capacity};
pub use self::check::Check;
use self::executor::Executor;
pub use self::ledger::{Asked, Change, Outcome, Seen};
pub use self::load::{Load, Pace};
use self::net::Network;
pub use self::net::{Conditions, SimBound, SimListener, SimNet, SimStream};
pub use self::proxy::{Proxy, settings};
pub use self::runtime::{SimRuntime, SimSpawn, SimThreads};
use self::seed::Streams;
pub use self::seed::{SEED_VARIABLE, seeds};
pub use self::timer::{SimSleep, SimTimer};
pub use self::world::{World, millis, replayed, secs, sim};

/// A simulation: an executor, a clock and a network. Dropping it ends everything in it.
pub struct Sim {
    network: Arc<Network>,
    streams: Arc<Streams>,
}

impl Sim {
    /// A world that follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut streams = Streams::new(seed);
        let schedule = std::mem::replace(&mut streams.schedule, Rng::new(0));
        let network = std::mem::replace(&mut streams.network, Rng::new(0));
        let network = Network::new(Executor::new(schedule), network);
        network.set_name("localhost", vec![Ipv4Addr::LOCALHOST.into()]);
        Self {
            network,
            streams: Arc::new(streams),
        }
    }

    /// The runtime of the host at `ip`.
    pub fn runtime(&self, ip: IpAddr) -> SimRuntime {
        SimRuntime::new(&self.network, ip)
    }

    /// Runs the world until `main` is over.
    ///
    /// # Panics
    /// With `main`; and when nothing can ever happen again, or time does not move on.
    pub fn block_on<F: Future>(&self, main: F) -> F::Output {
        self.network.executor.block_on(main)
    }

    /// Sets how the way to a host behaves, for connections made from now on.
    pub fn set_conditions(&self, ip: IpAddr, conditions: Conditions) {
        self.network.set_conditions(ip, conditions);
    }

    /// Lets everything to and from a host hang in the air, also connection attempts.
    pub fn cut(&self, ip: IpAddr) {
        self.network.cut(ip);
    }

    /// Delivers to and from a host again, beginning with what hung in the air.
    pub fn heal(&self, ip: IpAddr) {
        self.network.heal(ip);
    }

    /// The panics of tasks since the last call. A panic ends its task alone, as the runtime contract says; whoever
    /// wants none asks.
    pub fn take_panics(&self) -> Vec<String> {
        self.network.executor.take_panics()
    }

    /// The hash over everything that happened so far.
    pub fn trace_hash(&self) -> u64 {
        self.network.executor.trace().hash()
    }

    /// Timers that are armed.
    pub fn timers(&self) -> usize {
        self.network.executor.timers()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.network.executor.clear();
    }
}
