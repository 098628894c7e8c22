//! A server that can be broken: a child process of this very program that says hello.
//!
//! The child's half is [`backend`]; the parent's is [`Process`]. A child ends when its standard input does, so that
//! nothing is left behind, however the parent ended.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::pin::pin;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::io::{AsyncRead, AsyncWrite};
use http::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use lb_core::body::Body;
use lb_core::time::Timer as _;
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Protocol, Socket, Type};

use super::hyper_stream::HyperStream;
use crate::cli::DemoBackend;
use crate::rt::{Listen as _, Net, Runtime, Spawn as _, Threads as _};

/// How long the server rests when it cannot accept.
const REST: Duration = Duration::from_millis(20);

/// The longest line that a child may say.
const LINE: u64 = 256;

/// The child's half: listens, prints the address as one line, greets every request with its name, and ends when standard
/// input ends.
///
/// Dropping the future closes the listener; connections end with the executor.
pub(crate) async fn backend<R: Runtime>(runtime: &R, options: DemoBackend) -> ExitCode {
    end_with_the_parent();
    match serve(runtime, &options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let DemoBackend { listen, name } = options;
            eprintln!("error: server {name} cannot listen at {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve<R: Runtime>(runtime: &R, options: &DemoBackend) -> io::Result<()> {
    let mut bound = runtime.net().bind(options.listen, 1)?;
    let bound = bound.pop().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let address = R::Net::local_addr(&bound)?;
    let mut listener = runtime.net().listen(bound)?;
    let orphaned = on_a_thread(runtime, "stdin", || {
        // An error is an end, too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    })?;
    let mut out = io::stdout();
    writeln!(out, "{address}")?;
    out.flush()?;

    let greeting = format!("hello from {}\n", options.name);
    let accepting = pin!(async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let greeting = greeting.clone();
                    runtime.spawn().spawn(greet(stream, greeting));
                }
                Err(_) => {
                    let timer = runtime.timer();
                    timer.sleep_until(timer.now() + REST).await;
                }
            }
        }
    });
    match select(accepting, orphaned).await {
        Either::Left((never, _)) => never,
        Either::Right(_) => Ok(()),
    }
}

/// A process that is stopped does not see the end of its input; on Linux the system can be asked to end it, too.
fn end_with_the_parent() {
    #[cfg(target_os = "linux")]
    // Where that is not allowed, the end of the input has to do.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

/// Answers every request of one connection with `greeting`.
fn greet<S>(stream: S, greeting: String) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |_| {
        let answer = Response::new(Body::from(greeting.clone()));
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(HyperStream::new(stream), service);
    async move {
        // What a client does wrong ends its connection and nothing else.
        let _ = connection.await;
    }
}

/// Runs what blocks on a thread of its own; the receiver gets what it returns.
fn on_a_thread<R: Runtime, T: Send + 'static>(
    runtime: &R,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (done, receiver) = oneshot::channel();
    runtime.threads().start(name, move || {
        Box::pin(async move {
            // Nobody may wait any more.
            let _ = done.send(work());
        })
    })?;
    Ok(receiver)
}

/// A port that stays ours while the server that uses it is dead.
///
/// The socket is bound and does not listen: connections are refused, and nobody else is given the port. On Linux a
/// second socket may listen there, if both are willing to share (`SO_REUSEADDR`); elsewhere the port is only remembered.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) address: SocketAddr,
    _held: Option<Socket>,
}

impl Home {
    /// A port that the system chooses.
    pub(super) fn reserve() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let held = cfg!(target_os = "linux").then_some(socket);
        Ok(Self {
            address,
            _held: held,
        })
    }
}

/// The parent's half: a running server. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts a server at `home`. The receiver hears when it listens; it hears nothing when the process ends before.
    pub(super) fn start<R: Runtime>(
        runtime: &R,
        name: &str,
        home: SocketAddr,
    ) -> io::Result<(Self, oneshot::Receiver<bool>)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "demo-backend",
                "--listen",
                &home.to_string(),
                "--name",
                name,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own: Ctrl-C at the terminal is for the parent alone, and should the parent vanish while
            // this one is stopped, the system wakes it up, as POSIX wants it for orphaned groups.
            .process_group(0)
            .spawn()?;
        let out = child.stdout.take();
        let process = Self { child };
        let listens = on_a_thread(runtime, "stdout", move || {
            out.is_some_and(|out| says_its_address(out, home))
        })?;
        Ok((process, listens))
    }

    /// Stops it (SIGSTOP): it keeps its sockets and does nothing.
    pub(super) fn freeze(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::STOP)?)
    }

    /// Lets it go on (SIGCONT).
    pub(super) fn thaw(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }
}

impl Drop for Process {
    /// SIGKILL, which also ends a process that is stopped.
    fn drop(&mut self) {
        // Only a process that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn says_its_address(out: impl io::Read, home: SocketAddr) -> bool {
    let mut line = String::new();
    let read = BufReader::new(out.take(LINE)).read_line(&mut line);
    read.is_ok() && line.trim_end().parse() == Ok(home)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_core::config::settings::ListenAddress;
    use std::net::TcpStream;

    #[test]
    fn a_reserved_port_refuses_connections_and_can_be_listened_at_again_and_again() {
        let home = Home::reserve().unwrap();
        for _ in 0..3 {
            let refused = TcpStream::connect(home.address).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let listener = crate::io::bind(ListenAddress::Exact(home.address), 1).unwrap();
            TcpStream::connect(home.address).unwrap();
            drop(listener);
        }
    }

    #[test]
    fn a_child_is_believed_only_when_it_says_the_address_that_it_was_given() {
        let home = SocketAddr::from(([127, 0, 0, 1], 4001));
        assert!(says_its_address(&b"127.0.0.1:4001\n"[..], home));
        assert!(!says_its_address(&b"127.0.0.1:4002\n"[..], home));
        assert!(!says_its_address(&b""[..], home));
        assert!(!says_its_address(&[0xFF; 1000][..], home));
    }
}
