//! An HTTP/1.1 load balancer over any async runtime.
//!
//! `lb-core` decides; this crate speaks HTTP, composes the proxy and owns its command line. A [`Runtime`] brings sockets, sleep,
//! tasks and threads.

mod alarm;
pub mod app;
mod bind;
pub mod cli;
pub mod client;
mod decision;
mod demo;
mod duplex;
mod files;
#[cfg(test)]
mod hand;
mod http1;
pub mod io;
pub mod logging;
pub mod names;
pub mod rt;
mod run;
mod server;

use std::process::ExitCode;

use futures::stream::Stream;
use lb_core::transport::Transport;

use crate::client::Client;
use crate::rt::{BoxFuture, Runtime, Signal};

/// The program, from its arguments to its exit code: an adapter's `main` calls this and nothing else.
///
/// `block_on` drives the program on the calling thread, `signals` listens to what the outside asks, and `probes` makes
/// the transport that health probes go through from a client of the engine's, which it may return as it is.
pub fn main<R, S, P>(
    binary: &'static str,
    runtime: &R,
    block_on: impl FnOnce(BoxFuture<'_, ExitCode>) -> std::io::Result<ExitCode>,
    signals: impl FnOnce() -> std::io::Result<S> + Send,
    probes: impl FnOnce(Client<R::Net, R::Timer>) -> P + Send,
) -> ExitCode
where
    R: Runtime,
    S: Stream<Item = Signal> + Send + Unpin,
    P: Transport,
{
    let variable = |name: &str| std::env::var(name).ok();
    let command = match cli::parse(binary, std::env::args_os(), &variable) {
        Ok(command) => command,
        Err(exit) => return exit.print(),
    };
    let program = async {
        match signals() {
            Ok(signals) => execute(command, runtime, signals, probes).await,
            Err(error) => failed("cannot listen to signals", &error),
        }
    };
    block_on(Box::pin(program)).unwrap_or_else(|error| failed("cannot start", &error))
}

async fn execute<R: Runtime, P: Transport>(
    command: cli::Command,
    runtime: &R,
    signals: impl Stream<Item = Signal> + Send + Unpin,
    probes: impl FnOnce(Client<R::Net, R::Timer>) -> P,
) -> ExitCode {
    match command {
        cli::Command::Run(run) => run::run(run.settings, runtime, signals, probes).await,
        cli::Command::Demo(options) => demo::run(runtime, options, signals).await,
        cli::Command::DemoBackend(backend) => demo::backend(runtime, backend).await,
    }
}

/// For what happens where there is no log yet.
fn failed(what: &str, error: &std::io::Error) -> ExitCode {
    eprintln!("error: {what}: {error}");
    ExitCode::FAILURE
}
