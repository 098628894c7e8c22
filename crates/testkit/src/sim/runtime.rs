//! The runtime of one simulated host.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use lb_engine::rt::{BoxFuture, Runtime, Spawn, Threads};

use super::executor::Executor;
use super::net::{Network, SimNet};
use super::timer::SimTimer;

/// A runtime whose time, network and schedule follow from a seed. Each host has one.
#[derive(Clone)]
pub struct SimRuntime {
    timer: SimTimer,
    net: SimNet,
    spawn: SimSpawn,
    threads: SimThreads,
}

impl SimRuntime {
    pub(super) fn new(network: &Arc<Network>, host: IpAddr) -> Self {
        let executor = &network.executor;
        Self {
            timer: SimTimer(executor.clone()),
            net: SimNet {
                network: network.clone(),
                host,
            },
            spawn: SimSpawn(executor.clone()),
            threads: SimThreads(executor.clone()),
        }
    }
}

impl Runtime for SimRuntime {
    type Timer = SimTimer;
    type Net = SimNet;
    type Spawn = SimSpawn;
    type Threads = SimThreads;

    fn timer(&self) -> &SimTimer {
        &self.timer
    }

    fn net(&self) -> &SimNet {
        &self.net
    }

    fn spawn(&self) -> &SimSpawn {
        &self.spawn
    }

    fn threads(&self) -> &SimThreads {
        &self.threads
    }
}

/// Tasks, polled in an order drawn from the seed.
#[derive(Clone)]
pub struct SimSpawn(Executor);

impl Spawn for SimSpawn {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(Box::pin(task));
    }
}

/// Threads that are tasks: they interleave at every await.
#[derive(Clone)]
pub struct SimThreads(Executor);

impl Threads for SimThreads {
    fn start(
        &self,
        _name: &str,
        make: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> io::Result<()> {
        self.0.start_thread(make);
        Ok(())
    }
}
