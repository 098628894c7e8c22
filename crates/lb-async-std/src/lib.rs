//! The load balancer on async-std.
//!
//! The binary of this package is the whole proxy. The library gives the parts to those who embed `lb-core` in an
//! async-std program of their own: [`AsyncStdTimer`] and [`AsyncStdTransport`]; and [`AsyncStd`], all that the proxy
//! needs from a runtime.
//!
//! It holds sockets, sleep, tasks, threads and signals, and nothing about HTTP. Sockets come from async-io, the
//! reactor below async-std, because async-std's own keep readiness to themselves.
//!
//! ```no_run
//! use http::Request;
//! use lb_async_std::{AsyncStdTimer, AsyncStdTransport};
//! use lb_core::backend::{Address, Backend};
//! use lb_core::body::Body;
//! use lb_core::time::Timer;
//! use lb_core::transport::{Attempt, Reuse, Transport};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async_std::task::block_on(async {
//!     let timer = AsyncStdTimer::new();
//!     let transport: AsyncStdTransport = lb_async_std::transport(timer.clone());
//!     let address: std::net::SocketAddr = "127.0.0.1:3000".parse()?;
//!     let backend = Backend::new(Address::from(address));
//!     let attempt = Attempt {
//!         backend: &backend,
//!         connect_deadline: timer.now() + Duration::from_secs(2),
//!         reuse: Reuse::Allowed,
//!     };
//!     let request = Request::get("/").header("host", "example.org").body(Body::empty())?;
//!     let response = transport.send(&attempt, request).await?;
//!     println!("{}", response.status());
//!     Ok(())
//! })
//! # }
//! ```

mod net;
mod readiness;
mod signal;
#[cfg(feature = "surf")]
mod surf_body;
#[cfg(feature = "surf")]
mod surf_transport;
mod tasks;
mod time;
mod transport;

use std::future::Future;
use std::io;

use lb_engine::rt::Runtime;

pub use net::{AsyncStdListener, AsyncStdNet, AsyncStdStream};
pub use signal::{Signals, signals};
#[cfg(feature = "surf")]
pub use surf_transport::SurfTransport;
pub use tasks::AsyncStdTasks;
pub use time::{AsyncStdSleep, AsyncStdTimer};
pub use transport::{AsyncStdTransport, transport};

/// async-std as a [`Runtime`]: a thread is a local executor above async-std's reactor.
#[derive(Clone, Debug, Default)]
pub struct AsyncStd {
    timer: AsyncStdTimer,
    net: AsyncStdNet,
    tasks: AsyncStdTasks,
}

impl AsyncStd {
    /// A runtime whose time starts now.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future`, and all that it spawns, on this thread until it ends.
    ///
    /// # Errors
    /// None; other runtimes have some.
    pub fn block_on<F: Future>(&self, future: F) -> io::Result<F::Output> {
        Ok(tasks::run(future))
    }
}

impl Runtime for AsyncStd {
    type Timer = AsyncStdTimer;
    type Net = AsyncStdNet;
    type Spawn = AsyncStdTasks;
    type Threads = AsyncStdTasks;

    fn timer(&self) -> &AsyncStdTimer {
        &self.timer
    }

    fn net(&self) -> &AsyncStdNet {
        &self.net
    }

    fn spawn(&self) -> &AsyncStdTasks {
        &self.tasks
    }

    fn threads(&self) -> &AsyncStdTasks {
        &self.tasks
    }
}
