//! A backend: the facts about one server that configuration or discovery states.
//!
//! Live state (in flight, verdict, suspicion) is a [`Member`](crate::pool::Member)'s.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

/// Where a server listens: a host, literal or by name, and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// The host as written, without brackets.
    pub host: Box<str>,
    /// The TCP port.
    pub port: u16,
}

impl Address {
    /// The socket address, when the host is a literal and needs no resolver.
    pub fn literal(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string().into(),
            port: address.port(),
        }
    }
}

impl fmt::Display for Address {
    /// `host:port`, with brackets around an IPv6 literal: the form of an HTTP authority.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One server. Its identity is name and address; weight and tier are not identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backend {
    /// The name that logs and metrics show; the address unless configured.
    pub name: Box<str>,
    /// Where it listens.
    pub address: Address,
    /// Its share relative to the others.
    pub weight: NonZeroU32,
    /// It gets requests only while no other server can.
    pub backup: bool,
}

impl Backend {
    /// A backend of weight one, named after its address.
    pub fn new(address: Address) -> Self {
        Self {
            name: address.to_string().into(),
            address,
            weight: NonZeroU32::MIN,
            backup: false,
        }
    }
}
