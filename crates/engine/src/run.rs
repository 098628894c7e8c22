//! A parsed command becomes a running process: log, sockets, threads, the stop, the exit code.

use std::process::ExitCode;
use std::sync::Arc;

use futures::stream::Stream;
use lb_core::config::settings::{Settings, Workers};
use lb_core::transport::Transport;

use crate::app::{self, App, BindError, Ended, Setup};
use crate::cli::Command;
use crate::client::Client;
use crate::rt::{Runtime, Signal, Threads as _};
use crate::{demo, files, logging};

/// Carries out `command` on `runtime` and says how the process shall exit.
///
/// `signals` are what the outside asks; `probes` makes the transport that HTTP probes go through out of the engine's
/// own client, which an adapter may wrap or return as it is. Dropping the future leaves started threads behind: it is
/// meant to be driven to its end by `main`.
pub async fn execute<R, P>(
    command: Command,
    runtime: &R,
    signals: impl Stream<Item = Signal> + Send + Unpin,
    probes: impl FnOnce(Client<R::Net, R::Timer>) -> P,
) -> ExitCode
where
    R: Runtime,
    P: Transport,
{
    match command {
        Command::Run { settings } => run(settings, runtime, signals, probes).await,
        Command::Demo(options) => demo::run(runtime, options, signals).await,
        Command::DemoBackend { listen, name } => demo::backend(runtime, listen, name).await,
    }
}
