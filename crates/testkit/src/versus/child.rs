//! Child processes: none outlives us, however we end.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process, pidfd_open,
    pidfd_send_signal, set_parent_process_death_signal, setrlimit,
};
use socket2::{Domain, Socket, Type};

use super::peers::{Launch, Peer, Setup, Style};
use super::{http, load, proc};
use crate::process::Scratch;

/// How long a balancer may take until it answers.
const START: Duration = Duration::from_secs(20);
/// How long it may take to end once asked to.
const END: Duration = Duration::from_secs(3);
const GLANCE: Duration = Duration::from_millis(5);

/// Raises the limit of open files to what may be had, for us and our children, and returns it.
pub(super) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

/// Becomes another program, which gets TERM when the thread that started this process ends.
pub(super) fn leash(program: &OsStr, arguments: &[OsString]) -> io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        return error.into();
    }
    Command::new(program).args(arguments).exec()
}

/// Ends this process when the thread that started it does.
pub(super) fn leash_self() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// A port of the loopback that is ours for good, whoever listens on it and whenever: no other process is given it, and
/// no connection starts from it.
#[derive(Debug)]
pub(super) struct Port {
    _held: Socket,
    pub(super) address: SocketAddr,
}

impl Port {
    pub(super) fn reserve() -> io::Result<Self> {
        let held = shared_socket(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = held.local_addr()?.as_socket();
        Ok(Self {
            address: address.ok_or(io::ErrorKind::AddrNotAvailable)?,
            _held: held,
        })
    }
}

fn shared_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Listens on a reserved port.
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = shared_socket(SocketAddr::from(([127, 0, 0, 1], port)))?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Our own servers in a process of theirs; killed when dropped.
#[derive(Debug)]
pub(super) struct Servers {
    child: Child,
}

impl Servers {
    /// Starts them and waits until they accept.
    pub(super) fn start(ports: &[&Port]) -> io::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .args(ports.iter().map(|port| port.address.port().to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut servers = Self { child };
        let start = Instant::now();
        for port in ports {
            while TcpStream::connect(port.address).is_err() {
                if servers.child.try_wait()?.is_some() || start.elapsed() > START {
                    return Err(io::Error::other("the servers do not start"));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(servers)
    }

    /// Delays every answer from now on.
    pub(super) fn delay(&mut self, delay: Duration) -> io::Result<()> {
        let input = self.child.stdin.as_mut().expect("piped");
        writeln!(input, "{}", delay.as_micros())
    }

    pub(super) fn freeze(&self) -> io::Result<()> {
        Ok(kill_process(pid(&self.child), Signal::STOP)?)
    }

    pub(super) fn thaw(&self) -> io::Result<()> {
        Ok(kill_process(pid(&self.child), Signal::CONT)?)
    }

    /// Processor time so far.
    pub(super) fn cpu(&self) -> proc::Cpu {
        proc::cpu(self.child.id())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// What all balancers of a run have in common.
#[derive(Debug)]
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

/// A balancer that runs; ended when dropped, with all its processes.
#[derive(Debug)]
pub(super) struct Balancer {
    child: Child,
    pub(super) address: SocketAddr,
    scratch: Scratch,
}

impl Balancer {
    /// Starts it on a free port and waits until it answers. Somebody else may take the port first, so there are two tries.
    pub(super) fn start(
        (peer, program): (Peer, &Path),
        ground: &Ground,
        style: Style,
        backends: &[SocketAddr],
    ) -> io::Result<Self> {
        let once = || Self::start_once((peer, program), ground, style, backends);
        match once() {
            Err(_) if !ground.stopped() => once(),
            result => result,
        }
    }

    fn start_once(
        (peer, program): (Peer, &Path),
        ground: &Ground,
        style: Style,
        backends: &[SocketAddr],
    ) -> io::Result<Self> {
        let scratch = Scratch::new();
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let setup = Setup {
            port: address.port(),
            backends,
            workers: ground.workers,
            style,
            directory: scratch.path(),
            root: rustix::process::geteuid().is_root(),
            files: ground.files,
        };
        let launch = peer.launch(program.to_owned(), &setup)?;
        let log = File::create(scratch.path().join("log"))?;
        let mut command = leashed(&launch)?;
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
        // Handles, not numbers: a number may be somebody else's by the time it is used.
        let family: Vec<OwnedFd> = proc::tree(self.child.id())
            .into_iter()
            .filter_map(|id| Pid::from_raw(i32::try_from(id).ok()?))
            .filter_map(|id| pidfd_open(id, PidfdFlags::empty()).ok())
            .collect();
        let _ = kill_process(pid(&self.child), Signal::TERM);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < END {
            std::thread::sleep(GLANCE);
        }
        for process in family {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The command, run so that it ends with us.
fn leashed(launch: &Launch) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("leash")
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
    fn a_reserved_port_can_be_listened_on_again_and_again() {
        let port = Port::reserve().unwrap();
        for _ in 0..3 {
            assert!(TcpStream::connect(port.address).is_err());
            let listener = listen(port.address.port()).unwrap();
            let client = TcpStream::connect(port.address).unwrap();
            let (server, _) = listener.accept().unwrap();
            drop((server, client));
        }
    }

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
