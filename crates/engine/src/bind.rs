//! The listeners are bound before anything runs. Those that cannot be are told all at once, as mistakes in the
//! configuration are: where each is stated, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use lb_core::config::settings::{ListenAddress, Listener};
use lb_core::config::{Mistakes, Trouble};

use crate::rt::Net;

/// Bound sockets.
pub(crate) struct Bound<N: Net> {
    /// For each worker one of each listener.
    pub(crate) sockets: Vec<Vec<N::Bound>>,
    /// Where they listen, with the ports that the system chose.
    pub(crate) listening: Vec<(Listener, SocketAddr)>,
}

/// Binds each listener once for each of so many workers.
///
/// # Errors
/// All listeners that cannot be bound.
pub(crate) fn bind<N: Net>(
    net: &N,
    listeners: &[Listener],
    workers: usize,
) -> Result<Bound<N>, Unbound> {
    let mut bound = Bound {
        sockets: (0..workers).map(|_| Vec::new()).collect(),
        listening: Vec::new(),
    };
    let mut unbound = Vec::new();
    for listener in listeners {
        if let Err(error) = add(net, listener, &mut bound) {
            unbound.push((listener.clone(), error));
        }
    }
    if unbound.is_empty() {
        Ok(bound)
    } else {
        Err(Unbound(unbound))
    }
}

fn add<N: Net>(net: &N, listener: &Listener, to: &mut Bound<N>) -> io::Result<()> {
    let sockets = net.bind(listener.address, to.sockets.len())?;
    if let Some(first) = sockets.first() {
        to.listening.push((listener.clone(), N::local_addr(first)?));
    }
    for (worker, socket) in to.sockets.iter_mut().zip(sockets) {
        worker.push(socket);
    }
    Ok(())
}

/// Listeners that cannot be bound, each with the system's reason. Its `Display` is what a person reads.
#[derive(Debug)]
pub struct Unbound(Vec<(Listener, io::Error)>);

impl fmt::Display for Unbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self
            .0
            .iter()
            .map(|(listener, error)| (&listener.origin, trouble(listener.address, error)));
        Mistakes::at(found).fmt(f)
    }
}

impl Error for Unbound {}

/// What to say about an address that cannot be listened on.
fn trouble(address: ListenAddress, error: &io::Error) -> Trouble {
    let port = address.port();
    let (expected, help) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "a port that nobody else has",
            "another program has it, perhaps another instance of this one: stop that, or choose another port".to_owned(),
        ),
        io::ErrorKind::PermissionDenied if (1..1024).contains(&port) => (
            "a port that this user may have",
            "ports below 1024 are for root and for programs with CAP_NET_BIND_SERVICE: choose a higher one, or grant that"
                .to_owned(),
        ),
        io::ErrorKind::PermissionDenied => (
            "a port that this user may have",
            "something on this machine forbids it, such as SELinux: choose another port, or allow it there".to_owned(),
        ),
        io::ErrorKind::AddrNotAvailable => (
            "an address of this machine",
            format!("`ip address` lists them; :{port} is every one of them"),
        ),
        _ => ("an address that can be listened on", String::new()),
    };
    Trouble {
        problem: format!("cannot listen on {address}: {error}"),
        expected: expected.to_owned(),
        help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(address: ListenAddress, kind: io::ErrorKind) -> String {
        let said = trouble(address, &kind.into());
        format!("{} | {} | {}", said.problem, said.expected, said.help)
    }

    #[test]
    fn each_kind_of_refusal_says_what_to_do() {
        let exact = |text: &str| ListenAddress::Exact(text.parse().unwrap());
        for (address, kind, what_to_do) in [
            (
                ListenAddress::Any(8080),
                io::ErrorKind::AddrInUse,
                "cannot listen on :8080: address in use | a port that nobody else has | another program has it, perhaps \
                 another instance of this one: stop that, or choose another port",
            ),
            (
                exact("0.0.0.0:80"),
                io::ErrorKind::PermissionDenied,
                "cannot listen on 0.0.0.0:80: permission denied | a port that this user may have | ports below 1024 are for \
                 root and for programs with CAP_NET_BIND_SERVICE: choose a higher one, or grant that",
            ),
            (
                exact("0.0.0.0:8080"),
                io::ErrorKind::PermissionDenied,
                "cannot listen on 0.0.0.0:8080: permission denied | a port that this user may have | something on this \
                 machine forbids it, such as SELinux: choose another port, or allow it there",
            ),
            (
                exact("192.0.2.1:80"),
                io::ErrorKind::AddrNotAvailable,
                "cannot listen on 192.0.2.1:80: address not available | an address of this machine | `ip address` lists \
                 them; :80 is every one of them",
            ),
            (
                exact("[::1]:80"),
                io::ErrorKind::Unsupported,
                "cannot listen on [::1]:80: unsupported | an address that can be listened on | ",
            ),
        ] {
            assert_eq!(said(address, kind), what_to_do);
        }
    }
}
