//! The `run` command: log, sockets, threads, the stop, the exit code.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::stream::Stream;
use lb_core::config::settings::{Settings, Workers};
use lb_core::rng::Rng;
use lb_core::time::{Timer as _, timeout};
use lb_core::transport::Transport;

use crate::app::{self, App, Control, Ended, Setup, Unbound};
use crate::cli::Exit;
use crate::client::Client;
use crate::logging::{Field, Level, Log, SystemClock};
use crate::rt::{Runtime, Signal, Threads as _};
use crate::{failed, files};

/// How long the last lines of the log may take to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// Starts a balancer and drives it until it is told to stop.
///
/// `probes` makes the transport that HTTP probes go through, from a client of the engine's that it may wrap or return
/// as it is. Dropping the future leaves started threads behind: it is meant to be driven to its end.
pub(crate) async fn run<R, P>(
    settings: Settings,
    runtime: &R,
    signals: impl Stream<Item = Signal> + Send + Unpin,
    probes: impl FnOnce(Client<R::Net, R::Timer>) -> P,
) -> ExitCode
where
    R: Runtime,
    P: Transport,
{
    let seed = seed();
    let (log, writer) = Log::new(
        settings.log,
        io::stderr().is_terminal(),
        SystemClock,
        Rng::new(seed),
    );
    let (written, flushed) = oneshot::channel();
    let started = runtime.threads().start("log", move || {
        Box::pin(async move {
            writer.run(io::stderr()).await;
            let _ = written.send(());
        })
    });
    let code = match started {
        Ok(()) => {
            let control = start(settings, runtime, log.clone(), seed).await;
            match control {
                Ok(control) => {
                    let probes = probes(control.client());
                    exit_code(control.run(probes, signals).await)
                }
                // A mistake in the configuration is told as all of them are; the log has not begun.
                Err(NotStarted::Unbound(unbound)) => Exit::failure(unbound.to_string()).print(),
                Err(NotStarted::Thread(error)) => {
                    log.say(
                        Level::Error,
                        "not started",
                        &[("cause", Field::Text(&error))],
                    );
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            // Without its thread the log can't say so.
            return failed("cannot start a thread", &error);
        }
    };
    log.stop();
    let timer = runtime.timer();
    let _ = timeout(timer, timer.now() + FLUSH, flushed).await;
    code
}

/// Why nothing runs.
enum NotStarted {
    Unbound(Unbound),
    Thread(io::Error),
}

/// Binds, resolves and starts the workers.
async fn start<R: Runtime>(
    settings: Settings,
    runtime: &R,
    log: Log,
    seed: u64,
) -> Result<Control<R>, NotStarted> {
    let workers = match settings.workers {
        Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        Workers::Count(count) => count.get(),
    };
    let connections = files::connections(settings.limits.connections);
    let servers = settings.pool.servers.len();
    let pool = settings.pool.name.clone();
    let setup = Setup {
        workers,
        connections,
        date: true,
        seed,
        observer: Arc::new(log.clone()),
        log: log.clone(),
    };
    let App {
        workers: ready,
        control,
        listening,
    } = App::build(runtime, settings, setup).map_err(NotStarted::Unbound)?;
    control.resolve().await;
    app::start(runtime, ready).map_err(NotStarted::Thread)?;
    for (listener, address) in &listening {
        log.say(
            Level::Info,
            "listening",
            &[
                ("listener", Field::Text(&listener.name)),
                ("address", Field::Text(address)),
            ],
        );
    }
    log.say(
        Level::Info,
        "started",
        &[
            ("version", Field::Text(&env!("CARGO_PKG_VERSION"))),
            ("workers", Field::count(workers)),
            ("connections", Field::count(connections)),
            ("pool", Field::Text(&pool)),
            ("servers", Field::count(servers)),
        ],
    );
    Ok(control)
}

fn exit_code(ended: Ended) -> ExitCode {
    match ended {
        Ended::Gracefully => ExitCode::SUCCESS,
        Ended::AtOnce | Ended::Failed => ExitCode::FAILURE,
    }
}

/// Unlike in each process and at each start; it hides nothing.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}
