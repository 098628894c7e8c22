//! The whole balancer in the world: the engine's own composition, on a simulated host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::mpsc;
use futures::channel::oneshot;
use lb_core::backend::{Address, Backend};
use lb_core::config::settings::{
    DebugSettings, Limits, ListenAddress, Listener, LogSettings, Origin, PoolSettings, Settings,
    Workers,
};
use lb_core::pool::{MemberView, SharedPool};
use lb_core::time::WallClock;
use lb_engine::app::{self, App, Ended, Setup};
use lb_engine::logging::Log;
use lb_engine::rt::{BoxFuture, Signal};

use super::World;
use super::executor::{Executor, ProcessId, lock};
use super::runtime::SimRuntime;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PORT: u16 = 8080;

/// The product's defaults for `backends`, named `b1`, `b2`, … in their order, with two workers.
pub fn settings(backends: &[SocketAddr]) -> Settings {
    let servers = backends.iter().enumerate().map(|(index, address)| Backend {
        name: format!("b{}", index + 1).into(),
        ..Backend::new(Address::from(*address))
    });
    Settings {
        workers: Workers::Count(NonZeroUsize::MIN.saturating_add(1)),
        listeners: vec![Listener {
            name: "web".into(),
            address: ListenAddress::Exact(SocketAddr::new(HOST, PORT)),
            origin: Origin::default(),
        }],
        pool: PoolSettings::new("app", servers.collect()),
        limits: Limits::default(),
        log: LogSettings::default(),
        debug: DebugSettings::default(),
    }
}

/// A balancer that runs in the world.
pub struct Proxy {
    world: World,
    process: ProcessId,
    address: SocketAddr,
    pool: Arc<SharedPool>,
    signals: mpsc::UnboundedSender<Signal>,
    ended: Mutex<oneshot::Receiver<Ended>>,
}

impl World {
    /// Starts a balancer with `settings`; its time, network and randomness are the world's.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn proxy(&self, settings: Settings) -> Proxy {
        let runtime = SimRuntime::new(&self.network, HOST);
        let setup = Setup {
            workers: match settings.workers {
                Workers::Count(count) => count.get(),
                Workers::Auto => 1,
            },
            connections: settings.limits.connections,
            date: false,
            seed: self.streams.balancer.next_u64(),
            observer: self.ledger.clone(),
            log: self.log(settings.log),
        };
        let (signals, asked) = mpsc::unbounded();
        let (started, address) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let main = move || -> BoxFuture<'static, ()> {
            Box::pin(async move {
                let app = App::build(&runtime, settings, setup).expect("the port is free");
                let listening = app.listening[0].1;
                let pool = app.control.pool().clone();
                app.control.resolve().await;
                app::start(&runtime, app.workers).expect("simulated threads start");
                // Nobody waits when the scenario is over already.
                let _ = started.send((listening, pool));
                let probes = app.control.client();
                let _ = end.send(app.control.run(probes, asked).await);
            })
        };
        let process = self.network.executor.start_process(main);
        let (address, pool) = address.await.expect("the balancer starts");
        Proxy {
            world: self.clone(),
            process,
            address,
            pool,
            signals,
            ended: Mutex::new(ended),
        }
    }
}

impl World {
    /// A log that keeps virtual time and that nobody reads: the ledger hears of everything, too.
    fn log(&self, settings: LogSettings) -> Log {
        let clock = SimClock(self.network.executor.clone());
        Log::new(settings, false, clock, self.streams.balancer.split()).0
    }
}

/// The time of day: the world begins with the epoch.
struct SimClock(Executor);

impl WallClock for SimClock {
    fn since_unix_epoch(&self) -> Duration {
        self.0.now().since_origin()
    }
}

impl Proxy {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every member with its state and counts, in file order.
    pub fn members(&self) -> Vec<MemberView> {
        self.pool.view()
    }

    /// Picks of each member so far, in file order.
    pub fn picks(&self) -> Vec<u64> {
        let members = self.members();
        members.iter().map(|member| member.counters.picks).collect()
    }

    /// Nothing is in flight at any member, and every pick has had exactly one outcome.
    ///
    /// # Panics
    /// Otherwise.
    pub fn idle(&self) -> &Self {
        for member in self.members() {
            let name = &member.name;
            assert_eq!(
                (member.in_flight, member.waiting),
                (0, 0),
                "in flight at {name}"
            );
            let counters = member.counters;
            assert_eq!(
                counters.picks,
                counters.answered + counters.connect_failed + counters.failed + counters.abandoned,
                "each pick at {name} has one outcome"
            );
        }
        self
    }

    /// Asks it to stop gracefully; a second time: at once.
    pub fn stop(&self) {
        // It may have ended already.
        let _ = self.signals.unbounded_send(Signal::Stop);
    }

    /// Waits until it has stopped, and says how.
    ///
    /// # Panics
    /// If it was killed, or was waited for before.
    pub async fn stopped(&self) -> Ended {
        let ended = std::mem::replace(&mut *lock(&self.ended), oneshot::channel().1);
        ended.await.expect("the balancer ends by itself, once")
    }

    /// Ends its process as a kill does.
    pub fn kill(&self) {
        self.world.network.reset_all(self.address.ip());
        self.world.network.executor.kill(self.process);
    }
}
