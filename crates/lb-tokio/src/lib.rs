//! The load balancer on tokio.
//!
//! The binary of this package is the whole proxy. The library gives the parts to those who embed `lb-core` in a
//! tokio program of their own: [`TokioTimer`] and [`TokioTransport`]; and [`Tokio`], all that the proxy needs from a
//! runtime.
//!
//! It holds sockets, sleep, tasks, threads and signals, and nothing about HTTP.
//!
//! ```no_run
//! use http::Request;
//! use lb_core::backend::{Address, Backend};
//! use lb_core::body::Body;
//! use lb_core::time::Timer;
//! use lb_core::transport::{Attempt, Reuse, Transport};
//! use lb_tokio::{TokioTimer, TokioTransport};
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let timer = TokioTimer::new();
//! let transport = lb_tokio::transport(timer.clone());
//! let address: std::net::SocketAddr = "127.0.0.1:3000".parse()?;
//! let backend = Backend::new(Address::from(address));
//! let attempt = Attempt {
//!     backend: &backend,
//!     connect_deadline: timer.now() + Duration::from_secs(2),
//!     reuse: Reuse::Allowed,
//! };
//! let request = Request::get("/").header("host", "example.org").body(Body::empty())?;
//! let response = transport.send(&attempt, request).await?;
//! println!("{}", response.status());
//! # Ok(())
//! # }
//! ```

mod net;
mod signal;
mod time;
mod transport;

use std::future::Future;
use std::io;

use lb_engine::rt::{BoxFuture, Runtime, Spawn, Threads};

pub use net::{TokioListener, TokioNet, TokioStream};
pub use signal::{Signals, signals};
pub use time::TokioTimer;
pub use transport::{TokioTransport, transport};

/// tokio as a [`Runtime`]: a thread is a single-threaded tokio runtime.
#[derive(Clone, Debug, Default)]
pub struct Tokio {
    timer: TokioTimer,
    net: TokioNet,
    tasks: TokioTasks,
}

impl Tokio {
    /// A runtime whose time starts now.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future`, and all that it spawns, on this thread until it ends.
    ///
    /// # Errors
    /// The system has no event queue left for us.
    pub fn block_on<F: Future>(&self, future: F) -> io::Result<F::Output> {
        let executor = executor()?;
        let output = executor.block_on(future);
        // Dropping it would wait for the resolver's threads, and a resolver may hang for long.
        executor.shutdown_background();
        Ok(output)
    }
}

impl Runtime for Tokio {
    type Timer = TokioTimer;
    type Net = TokioNet;
    type Spawn = TokioTasks;
    type Threads = TokioTasks;

    fn timer(&self) -> &TokioTimer {
        &self.timer
    }

    fn net(&self) -> &TokioNet {
        &self.net
    }

    fn spawn(&self) -> &TokioTasks {
        &self.tasks
    }

    fn threads(&self) -> &TokioTasks {
        &self.tasks
    }
}

/// Tasks on the runtime of the calling thread, and threads with a runtime each.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioTasks;

impl Spawn for TokioTasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // The handle is not needed: tokio catches a panic in a task, and the panic hook has printed it.
        drop(tokio::spawn(task));
    }
}

impl Threads for TokioTasks {
    fn start(
        &self,
        name: &str,
        make: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> io::Result<()> {
        let executor = executor()?;
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || executor.block_on(async { make().await }))
            .map(drop)
    }
}

fn executor() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
}

/// The README's example is compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
