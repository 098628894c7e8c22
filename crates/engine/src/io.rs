//! What every adapter over real sockets needs in the same way: sockets made once, before any worker starts.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

use lb_core::config::settings::ListenAddress;
use socket2::{Domain, Protocol, Socket, Type};
#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};

/// Connections that may wait to be accepted, per socket.
const BACKLOG: i32 = 4096;

/// Binds `address` once for each of `count` workers and listens; the sockets share the port (`SO_REUSEPORT`) and do
/// not block.
///
/// The first socket is bound without `SO_REUSEPORT`, so that a port in use stays an error, also when it is used by
/// another instance of this program; it gets the option before it listens, and the others bind with it.
///
/// # Errors
/// As the system reports them: in use, not permitted, not an address of this machine.
pub fn bind(address: ListenAddress, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = match address {
        ListenAddress::Exact(address) => bind_first(address)?,
        // Where IPv6 is switched off, `:8080` is every IPv4 address.
        ListenAddress::Any(port) => {
            bind_first((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| {
                if error.kind() == io::ErrorKind::AddrInUse {
                    Err(error)
                } else {
                    bind_first((Ipv4Addr::UNSPECIFIED, port).into())
                }
            })?
        }
    };
    let address = first
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut sockets = vec![first];
    for _ in 1..count {
        let socket = unbound(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        sockets.push(socket);
    }
    sockets
        .into_iter()
        .map(|socket| {
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

/// Keeps newcomers out of a listener's queue, on Linux: what [`Listen::shut`](crate::rt::Listen::shut) is for.
pub fn shut(listener: &impl AsFd) {
    #[cfg(target_os = "linux")]
    {
        // Where it fails, it is as on other systems.
        let _ = SockRef::from(listener).attach_filter(&newcomers_dropped());
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

/// A program for the kernel's packet filter, which sees a segment from its TCP header on: it drops those that begin a
/// handshake, with SYN and without ACK. The client sends them again after a second, and is refused then, or let in by
/// whoever listens there next.
#[cfg(target_os = "linux")]
fn newcomers_dropped() -> [SockFilter; 5] {
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_UNLESS_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_UNLESS_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

fn bind_first(address: SocketAddr) -> io::Result<Socket> {
    let socket = unbound(address)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of a previous run in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Inherited by the accepted sockets.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_shut_listener_has_those_who_came_before_and_nobody_else() {
        let addresses: [SocketAddr; 2] = [
            (Ipv4Addr::LOCALHOST, 0).into(),
            (Ipv6Addr::LOCALHOST, 0).into(),
        ];
        let listeners = addresses.map(|address| bind(ListenAddress::Exact(address), 1));
        let any = bind(ListenAddress::Any(0), 1).unwrap();
        // Not every machine has IPv6.
        for listener in listeners.into_iter().flatten().chain([any]).flatten() {
            let port = listener.local_addr().unwrap().port();
            let address = match listener.local_addr().unwrap().ip() {
                ip if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, port).into(),
                ip => (ip, port).into(),
            };
            let mut client = TcpStream::connect(address).unwrap();
            shut(&listener);
            // It would not take so long if it were let in, or refused.
            let late = TcpStream::connect_timeout(&address, Duration::from_millis(50));
            assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
            listener.set_nonblocking(false).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            listener.set_nonblocking(true).unwrap();
            let none = listener.accept().unwrap_err();
            assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
            drop(listener);
            client.write_all(b"question").unwrap();
            let mut question = [0; 8];
            server.read_exact(&mut question).unwrap();
            server.write_all(b"answer").unwrap();
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!((&question, answer.as_str()), (b"question", "answer"));
        }
    }
}
