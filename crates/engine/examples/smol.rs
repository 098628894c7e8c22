//! A third runtime in one file: all that the engine needs, on smol.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant as StdInstant};

use futures::{AsyncReadExt, FutureExt, Stream, future::Map, stream};
use lb_core::config::settings::ListenAddress;
use lb_core::time::{Instant, Timer};
use lb_engine::rt::{BoxFuture, Listen, Net, Runtime, Signal, Spawn, Threads};
use smol::{Async, LocalExecutor, net::TcpStream};

/// Sockets, tasks and threads of smol, and a clock that starts at this instant.
#[derive(Clone)]
pub(crate) struct Smol(pub(crate) StdInstant);

impl Runtime for Smol {
    type Timer = Self;
    type Net = Self;
    type Spawn = Self;
    type Threads = Self;

    fn timer(&self) -> &Self {
        self
    }
    fn net(&self) -> &Self {
        self
    }
    fn spawn(&self) -> &Self {
        self
    }
    fn threads(&self) -> &Self {
        self
    }
}

impl Timer for Smol {
    type Sleep = Map<smol::Timer, fn(StdInstant)>;

    fn now(&self) -> Instant {
        Instant::from_origin(self.0.elapsed())
    }
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        let deadline = self.0.checked_add(deadline.since_origin());
        deadline
            .map_or_else(smol::Timer::never, smol::Timer::at)
            .map(drop)
    }
}

impl Net for Smol {
    type Stream = TcpStream;
    type Bound = TcpListener;
    type Listener = Listener;

    async fn connect(&self, to: SocketAddr) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn bind(&self, address: ListenAddress, count: usize) -> io::Result<Vec<TcpListener>> {
        lb_engine::io::bind(address, count)
    }

    fn local_addr(bound: &TcpListener) -> io::Result<SocketAddr> {
        bound.local_addr()
    }

    fn listen(&self, bound: TcpListener) -> io::Result<Listener> {
        bound.try_into().map(Listener)
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        smol::net::resolve((host, port)).await
    }

    fn reset(stream: &Self::Stream) {
        let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
}

pub(crate) struct Listener(smol::net::TcpListener);

impl Listen for Listener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((stream, peer))
    }
    fn shut(&self) {
        lb_engine::io::shut(&self.0);
    }
}

thread_local! {
    /// The executor of this thread, leaked so that it outlives every task on it.
    static EXECUTOR: &'static LocalExecutor<'static> = Box::leak(Box::default());
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    smol::block_on(EXECUTOR.with(|executor| executor.run(future)))
}

impl Spawn for Smol {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // A panic ends its task alone; the panic hook has printed it.
        let task = AssertUnwindSafe(task).catch_unwind();
        EXECUTOR.with(|executor| executor.spawn(task).detach());
    }
}

impl Threads for Smol {
    fn start(
        &self,
        name: &str,
        make: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || run(async { make().await })).map(drop)
    }
}

/// TERM and INT.
fn signals() -> io::Result<impl Stream<Item = Signal> + Send + Unpin> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let (reader, writer) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    let bytes = stream::unfold(Async::new(reader)?, |mut reader| async {
        reader.read_exact(&mut [0]).await.ok()?;
        Some((Signal::Stop, reader))
    });
    Ok(Box::pin(bytes))
}

fn main() -> ExitCode {
    let smol = Smol(StdInstant::now());
    lb_engine::main(
        "smol",
        &smol,
        |program| Ok(run(program)),
        signals,
        |client| client,
    )
}
