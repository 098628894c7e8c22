//! What every adapter over real sockets needs in the same way: sockets made once, before any worker starts, and
//! hyper's read buffer filled.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use hyper::rt::ReadBufCursor;
use lb_core::config::settings::ListenAddress;
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes that [`fill`] asks for at most.
pub const FILL_MAX: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; FILL_MAX].into());
}

/// Lets `read` fill hyper's buffer and returns how much it read. hyper's buffer is not initialised, so without unsafe
/// code there must be a copy: it goes through one buffer per thread.
///
/// # Errors
/// Those of `read`; the buffer is left as it was then.
pub fn fill(
    buf: &mut ReadBufCursor<'_>,
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    BUFFER.with_borrow_mut(|buffer| {
        let room = buf.remaining().min(FILL_MAX);
        let count = read(&mut buffer[..room])?;
        buf.put_slice(&buffer[..count]);
        Ok(count)
    })
}

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
