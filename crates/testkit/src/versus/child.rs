//! Child processes, of which none outlives us, however we end; and our own servers as one of them.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getrlimit, kill_process, set_parent_process_death_signal,
    setrlimit,
};
use socket2::{Domain, Socket, Type};

use super::proc;

/// How long servers may take until they accept.
const START: Duration = Duration::from_secs(20);

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
        let held = shared_socket()?;
        held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = held.local_addr()?.as_socket();
        Ok(Self {
            address: address.ok_or(io::ErrorKind::AddrNotAvailable)?,
            _held: held,
        })
    }
}

fn shared_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// Listens on a reserved port, at all the sixteen million addresses of the loopback and at no other: one socket can be
/// many servers.
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = shared_socket()?;
    socket.bind_device(Some(b"lo"))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
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

pub(super) fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
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
    fn a_listener_is_a_server_at_every_address_of_the_loopback() {
        let port = Port::reserve().unwrap();
        let listener = listen(port.address.port()).unwrap();
        for address in [[127, 0, 0, 1], [127, 0, 39, 16], [127, 255, 255, 254]] {
            let to = SocketAddr::from((address, port.address.port()));
            let client = TcpStream::connect(to).unwrap();
            let (server, _) = listener.accept().unwrap();
            assert_eq!(server.local_addr().unwrap(), to);
            drop((server, client));
        }
    }
}
