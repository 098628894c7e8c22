//! `demo`: three servers that are killed, frozen and revived behind a real balancer, with traffic, and what can be seen.
//!
//! What happens when is a table ([`programme`]); what it means is told by plain code ([`story`], [`tally`]); how it looks
//! is a pure function ([`picture`]). This file brings them together with processes, time and the terminal.

mod backend;
mod balancer;
mod hyper_stream;
mod incident;
mod load;
mod picture;
mod programme;
mod screen;
mod show;
mod story;
mod tally;

use std::fmt;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::{Either, join_all, select};
use futures::stream::{self, Stream, StreamExt as _};
use lb_core::backend::Backend;
use lb_core::config::settings::LogSettings;
use lb_core::rng::Rng;
use lb_core::time::{Timer, timeout};

use crate::app::{self, App, Ended, Setup, Unbound};
use crate::cli::Demo;
use crate::client::{Client, ClientSettings};
use crate::logging::{Log, SystemClock};
use crate::names::Names;
use crate::rt::{Runtime, Signal};

use backend::{Home, Process};
use balancer::Ear;
use load::Load;
use programme::{NAMES, SERVERS};
use show::{End, Event, Show};

pub(crate) use backend::backend;

/// Requests per second: 40 for each server, 60 when one is out.
const LOAD: u32 = 120;

/// Time between two pictures.
const FRAME: Duration = Duration::from_millis(100);

/// How long the servers may take to listen.
const STARTUP: Duration = Duration::from_secs(10);

/// How long the balancer may take to stop once the traffic is gone.
const STOP: Duration = Duration::from_secs(2);

/// Gives the demo on standard output: as a picture on a terminal, as lines elsewhere.
///
/// Exits with success when a signal stopped it, or when the programme went through once and nothing failed that should
/// not. Dropping the future ends the servers; worker threads stay, as it is meant to be driven to its end by `main`.
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    options: Demo,
    signals: impl Stream<Item = Signal> + Send + Unpin,
) -> ExitCode {
    match give(runtime, options, signals).await {
        Ok(End::Stopped | End::AsWanted) => ExitCode::SUCCESS,
        Ok(End::NotAsWanted) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Why the demo could not go on.
#[derive(Debug)]
enum Failure {
    /// Told as a mistake in the configuration is.
    Unbound(Unbound),
    Other(String),
}

impl Failure {
    fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Other(format!("{what}: {why}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbound(unbound) => unbound.fmt(f),
            Self::Other(message) => write!(f, "error: {message}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::Other(message.to_owned())
    }
}

async fn give<R: Runtime>(
    runtime: &R,
    options: Demo,
    mut signals: impl Stream<Item = Signal> + Send + Unpin,
) -> Result<End, Failure> {
    let timer = runtime.timer();
    let homes: [Home; SERVERS] = reserve()?;
    let processes = match select(pin!(start(runtime, &homes)), pin!(stop(&mut signals))).await {
        Either::Left((processes, _)) => processes?,
        Either::Right(_) => return Ok(End::Stopped),
    };

    let servers = std::iter::zip(NAMES, &homes).map(|(name, home)| Backend {
        name: name.into(),
        ..Backend::new(home.address.into())
    });
    let (ear, notices) = Ear::new();
    // Its lines would run through the picture: nobody writes them.
    let (log, _) = Log::new(LogSettings::default(), false, SystemClock, Rng::new(0));
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let settings = balancer::settings(options.listen.clone(), servers.collect());
    let connections = settings.limits.connections;
    let setup = Setup {
        workers,
        connections,
        date: true,
        // Nothing here has to be unpredictable.
        seed: u64::from(std::process::id()),
        observer: Arc::new(ear),
        log,
    };
    let App {
        workers,
        control,
        listening,
    } = App::build(runtime, settings, setup).map_err(Failure::Unbound)?;
    let address = listening.first().map(|(_, address)| *address);
    let address = address.map(balancer::reachable);
    let address = address.ok_or_else(|| Failure::from("no address to listen at"))?;
    app::start(runtime, workers)?;

    let (ask_to_stop, stop_asked) = mpsc::channel(1);
    let pool = control.pool().clone();
    let probes = control.client();
    let mut balancer = pin!(control.run(probes, stop_asked));

    let clients = Client::new(
        runtime.net().clone(),
        timer.clone(),
        Arc::new(Names::default()),
        ClientSettings::default(),
        Rng::new(0),
    );
    let load = Load::new(clients, timer.clone(), Backend::new(address.into()), LOAD);
    let (mut show, starts) = Show::new(runtime, options, homes, processes, pool, address);
    let end = {
        let mut events = stream::select_all([
            load.map(Event::Client).boxed(),
            notices.map(Event::Notice).boxed(),
            starts
                .map(|(server, listens)| Event::Started(server, listens))
                .boxed(),
            signals.map(Event::Signal).boxed(),
            ticks(timer.clone()).map(|()| Event::Tick).boxed(),
        ]);
        match select(pin!(show.play(&mut events)), &mut balancer).await {
            Either::Left((end, _)) => end?,
            Either::Right(_) => return Err(Failure::from("the balancer ended by itself")),
        }
    };
    // The traffic is gone with its stream; the servers go with the show.
    drop(show);
    drop(ask_to_stop);
    match timeout(timer, timer.now() + STOP, balancer).await {
        Ok(Ended::Gracefully | Ended::AtOnce) | Err(_) => Ok(end),
        Ok(Ended::Failed) => Err(Failure::from("the balancer failed")),
    }
}

fn reserve() -> Result<[Home; SERVERS], Failure> {
    let homes: Vec<Home> = NAMES
        .iter()
        .map(|_| Home::reserve())
        .collect::<io::Result<_>>()
        .map_err(|error| Failure::new("no port for a server", error))?;
    // As many as there are names.
    homes
        .try_into()
        .map_err(|_| Failure::from("a server has no port"))
}

/// All servers, listening. Dropping the future ends those that were started.
async fn start<R: Runtime>(
    runtime: &R,
    homes: &[Home; SERVERS],
) -> Result<[Option<Process>; SERVERS], Failure> {
    let mut processes = [const { None }; SERVERS];
    let mut starts = Vec::new();
    for (index, process) in processes.iter_mut().enumerate() {
        let (child, listens) = Process::start(runtime, NAMES[index], homes[index].address)
            .map_err(|error| Failure::new("a server cannot be started", error))?;
        *process = Some(child);
        starts.push(listens);
    }
    let timer = runtime.timer();
    match timeout(timer, timer.now() + STARTUP, join_all(starts)).await {
        Ok(listen) if listen.iter().all(|listens| *listens == Ok(true)) => Ok(processes),
        _ => Err(Failure::from("the servers were started and do not listen")),
    }
}

/// Completes when the outside asks to stop.
async fn stop(signals: &mut (impl Stream<Item = Signal> + Unpin)) {
    while let Some(signal) = signals.next().await {
        if signal == Signal::Stop {
            return;
        }
    }
    std::future::pending().await
}

/// One item for each picture.
fn ticks<C: Timer>(timer: C) -> impl Stream<Item = ()> + Send {
    let first = timer.now() + FRAME;
    stream::unfold((timer, first), |(timer, due)| async move {
        timer.sleep_until(due).await;
        // Late pictures are left out.
        let next = timer.now().max(due) + FRAME;
        Some(((), (timer, next)))
    })
}
