//! Where requests come from.

use std::net::SocketAddr;

use http::HeaderValue;

/// A client's connection: made once for all requests that come over it.
#[derive(Clone, Debug)]
pub struct Downstream {
    peer: SocketAddr,
    secure: bool,
    too_many: bool,
    /// The address as `X-Forwarded-For` has it.
    address: HeaderValue,
}

impl Downstream {
    /// A connection from `peer`; `secure` if it is one over TLS.
    pub fn new(peer: SocketAddr, secure: bool) -> Self {
        let address = peer.ip().to_canonical().to_string();
        Self {
            peer,
            secure,
            too_many: false,
            // No address is written with anything else than letters, digits, dots and colons.
            address: HeaderValue::try_from(address).unwrap_or(HeaderValue::from_static("unknown")),
        }
    }

    /// The same, where there are as many connections as `limits.connections` says: each of its requests is a local 503
    /// that says so, and the front end closes it behind the first.
    #[must_use]
    pub fn too_many(self) -> Self {
        Self {
            too_many: true,
            ..self
        }
    }

    /// Is it one connection too many?
    pub fn is_too_many(&self) -> bool {
        self.too_many
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether requests come over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The client's IP address, an IPv4 one mapped into IPv6 as the IPv4 one that it is.
    pub(super) fn address(&self) -> &HeaderValue {
        &self.address
    }
}
