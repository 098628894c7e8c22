//! A balancer as a child process: started on a free port, waited for, ended with all that it started.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::child::pid;
use super::peers::{Launch, Peer, Setup, Style};
use super::{http, load, proc};
use crate::process::Scratch;

/// How long a balancer may take until it answers.
const START: Duration = Duration::from_secs(20);
/// How long it may take to end once asked to.
const END: Duration = Duration::from_secs(3);
const GLANCE: Duration = Duration::from_millis(5);

/// What all balancers of a run have in common.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) workers: usize,
    /// How many files a process may have open.
    pub(super) files: u64,
    /// Set by Ctrl-C.
    pub(super) stop: std::sync::Arc<AtomicBool>,
}

impl Ground {
    /// Is it over?
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Which balancer is started, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) peer: Peer,
    pub(super) program: &'a Path,
    pub(super) style: Style,
    pub(super) backends: &'a [SocketAddr],
    /// The command that runs the program, where it does not run by itself.
    pub(super) under: &'a [OsString],
}

impl<'a> Start<'a> {
    /// A program that runs by itself.
    pub(super) fn new(
        (peer, program): (Peer, &'a Path),
        style: Style,
        backends: &'a [SocketAddr],
    ) -> Self {
        Self {
            peer,
            program,
            style,
            backends,
            under: &[],
        }
    }
}

/// A balancer that runs; ended when dropped, with all its processes.
#[derive(Debug)]
pub(super) struct Balancer {
    child: Child,
    pub(super) address: SocketAddr,
    scratch: Scratch,
}

impl Balancer {
    /// Starts it on a free port and waits until it answers. Somebody else may take the port first, so there are two tries.
    pub(super) fn start(start: &Start<'_>, ground: &Ground) -> io::Result<Self> {
        match Self::start_once(start, ground) {
            Err(_) if !ground.stopped() => Self::start_once(start, ground),
            result => result,
        }
    }

    fn start_once(start: &Start<'_>, ground: &Ground) -> io::Result<Self> {
        let scratch = Scratch::new();
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let setup = Setup {
            port: address.port(),
            backends: start.backends,
            workers: ground.workers,
            style: start.style,
            directory: scratch.path(),
            root: rustix::process::geteuid().is_root(),
            files: ground.files,
        };
        let launch = start.peer.launch(start.program.to_owned(), &setup)?;
        let log = File::create(scratch.path().join("log"))?;
        let mut command = leashed(start.under, &launch)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .current_dir(scratch.path());
        let mut balancer = Self {
            child: command.spawn()?,
            address,
            scratch,
        };
        balancer.wait_until_it_answers(ground)?;
        Ok(balancer)
    }

    /// Asks it to stop, and waits until it has: with exit code 0, or that is an error.
    pub(super) fn stop(mut self) -> io::Result<()> {
        kill_process(pid(&self.child), Signal::TERM)?;
        match self.ended_within(START) {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                let log = self.log_end();
                Err(io::Error::other(format!("ended with {status}: {log}")))
            }
            None => Err(io::Error::other("does not stop")),
        }
    }

    fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(None) if start.elapsed() < patience => std::thread::sleep(GLANCE),
                ended => return ended.ok().flatten(),
            }
        }
    }

    fn wait_until_it_answers(&mut self, ground: &Ground) -> io::Result<()> {
        let start = Instant::now();
        while !answers(self.address) {
            let ended = self.child.try_wait()?.is_some();
            if ended || ground.stopped() || start.elapsed() > START {
                return Err(io::Error::other(format!(
                    "does not answer: {}",
                    self.log_end()
                )));
            }
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.trim().lines().collect();
        lines[lines.len().saturating_sub(4)..].join(" / ")
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if self.ended_within(Duration::ZERO).is_some() {
            // Its number may be somebody else's by now.
            return;
        }
        // Handles, not numbers, for the same reason.
        let family: Vec<OwnedFd> = proc::tree(self.child.id())
            .into_iter()
            .filter_map(|id| Pid::from_raw(i32::try_from(id).ok()?))
            .filter_map(|id| pidfd_open(id, PidfdFlags::empty()).ok())
            .collect();
        let _ = kill_process(pid(&self.child), Signal::TERM);
        let _ = self.ended_within(END);
        for process in family {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The command, run so that it ends with us.
fn leashed(under: &[OsString], launch: &Launch) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("leash")
        .args(under)
        .arg(&launch.program)
        .args(&launch.arguments)
        .env_remove("LB_CONFIG")
        .env_remove("LB_LOG")
        .envs(launch.environment.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// Does it answer a request with 200 and all the bytes?
fn answers(address: SocketAddr) -> bool {
    let request = load::request(128, 0, true);
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        Ok(exchange(&mut stream, &request)? == 200)
    };
    ask().unwrap_or(false)
}

/// Sends a request, reads its answer to the end, and returns the status.
pub(super) fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<u16> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece)?;
        answer.extend_from_slice(&piece[..count]);
        if let Some(head) = http::response(&answer)? {
            let mut body = head.body;
            let rest = &answer[head.bytes..];
            if body.is_empty() || body.eat(rest).1 || (count == 0 && body == http::Body::UntilClose)
            {
                return Ok(head.status);
            }
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_ends_with_the_answer_not_with_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server
            .write_all(b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno")
            .unwrap();
        assert_eq!(
            exchange(&mut client, b"GET / HTTP/1.1\r\n\r\n").unwrap(),
            503
        );
        server
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nn")
            .unwrap();
        drop(server);
        assert!(exchange(&mut client, b"").is_err());
    }
}
