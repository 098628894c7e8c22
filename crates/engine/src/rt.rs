//! What a runtime must provide so that the whole proxy runs on it.
//!
//! All of HTTP is written once above these traits. An implementer opens sockets, sleeps, spawns and starts threads,
//! and decides nothing. The conformance suite of `lb-testkit` is the definition of "works".

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Wake, Waker};

use futures::io::{AsyncRead, AsyncWrite};
use lb_core::config::settings::ListenAddress;
use lb_core::time::Timer;

/// A boxed task, for the cold places that need one.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A runtime: four parts that belong together. Clones are handles to the same one.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Its monotonic clock.
    type Timer: Timer;
    /// Its sockets.
    type Net: Net;
    /// Its tasks.
    type Spawn: Spawn;
    /// Its threads.
    type Threads: Threads;

    /// Its monotonic clock.
    fn timer(&self) -> &Self::Timer;
    /// Its sockets.
    fn net(&self) -> &Self::Net;
    /// Its tasks.
    fn spawn(&self) -> &Self::Spawn;
    /// Its threads.
    fn threads(&self) -> &Self::Threads;
}

/// Sockets.
///
/// An implementation
/// * MUST make a stream usable on the executor that called [`connect`](Net::connect) or
///   [`accept`](Listen::accept), and need not make it usable on another;
/// * SHOULD try the socket in every poll by the waker [`glance`], also where a stream leaves out tries that look vain;
/// * MUST send FIN when a stream is closed ([`poll_close`](AsyncWrite::poll_close)), which shuts down its writing side
///   alone and leaves it open for reading, and when it is dropped; RST when it is dropped after [`reset`](Net::reset);
/// * SHOULD write several slices at once ([`poll_write_vectored`](AsyncWrite::poll_write_vectored));
/// * MUST switch Nagle's algorithm off (`TCP_NODELAY`).
pub trait Net: Clone + Send + Sync + 'static {
    /// A connected stream.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// A bound and listening socket that no executor knows yet.
    type Bound: Send + 'static;
    /// A listener on an executor.
    type Listener: Listen<Stream = Self::Stream>;

    /// Opens a connection. Dropping the future gives it up.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Binds `address` once for each of `count` workers and listens. On real sockets this is
    /// [`io::bind`](crate::io::bind). A port that somebody else has is an error.
    fn bind(&self, address: ListenAddress, count: usize) -> io::Result<Vec<Self::Bound>>;

    /// The address that was bound, with the port that the system chose.
    fn local_addr(bound: &Self::Bound) -> io::Result<SocketAddr>;

    /// Makes a bound socket a listener of the executor that polls the caller.
    fn listen(&self, bound: Self::Bound) -> io::Result<Self::Listener>;

    /// The addresses of a host name, in the resolver's order.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Makes the coming drop of `stream` a reset instead of an orderly close, so that a cut body is seen as cut.
    fn reset(stream: &Self::Stream);
}

/// A listening socket.
pub trait Listen: Send + 'static {
    /// What it accepts.
    type Stream;

    /// The next connection. Dropping the future loses none.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Keeps newcomers out of the queue, in which whoever is there, or on the way into it, MUST stay. Who asks for a connection
    /// now SHOULD get no answer, so that it asks again a little later.
    ///
    /// Without it clients that keep coming lose what they sent: closing a listener resets who came behind the last one
    /// accepted. On real sockets this is [`io::shut`](crate::io::shut); where there is no such thing it does nothing.
    fn shut(&self) {}
}

/// Tasks.
pub trait Spawn: Clone + Send + Sync + 'static {
    /// Runs `task` on the executor that is polling the caller. A panic ends that task alone.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// Threads, each with a single-threaded executor of its own; in a simulator a task is enough.
pub trait Threads: Clone + Send + Sync + 'static {
    /// Starts a thread called `name` that makes a future and drives it, and all that it spawns, to the end of
    /// that future.
    ///
    /// # Errors
    /// The thread, or its executor, could not be made.
    fn start(
        &self,
        name: &str,
        make: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> io::Result<()>;
}

/// The waker of one who wants to know how a stream is now, and does not wait: waking it does nothing.
///
/// Before a kept connection is used again it is polled with this. It is one value for ever, which
/// [`will_wake`](Waker::will_wake) recognises; of [`Waker::noop`] there may be several.
pub fn glance() -> &'static Waker {
    static GLANCE: LazyLock<Waker> = LazyLock::new(|| Arc::new(Nobody).into());
    &GLANCE
}

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// What the outside asks of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// TERM or INT: stop gracefully; at once when it comes a second time.
    Stop,
    /// HUP: read the configuration again.
    Reload,
}
