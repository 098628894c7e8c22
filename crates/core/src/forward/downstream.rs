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
    /// A connection from `peer`; `secure` if it is one over TLS. An IPv4 address that is mapped into IPv6, as on a socket
    /// for both, is taken as the IPv4 address that it is.
    pub fn new(mut peer: SocketAddr, secure: bool) -> Self {
        peer.set_ip(peer.ip().to_canonical());
        let address = peer.ip().to_string();
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

    /// The client's IP address.
    pub(super) fn address(&self) -> &HeaderValue {
        &self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_client_is_one_also_where_it_comes_over_an_ipv6_socket() {
        let from = |peer: &str| {
            let from = Downstream::new(peer.parse().unwrap(), false);
            (from.peer().to_string(), from.address().clone())
        };
        let plain = from("192.0.2.7:1234");
        assert_eq!(
            plain,
            (
                "192.0.2.7:1234".into(),
                HeaderValue::from_static("192.0.2.7")
            )
        );
        assert_eq!(from("[::ffff:192.0.2.7]:1234"), plain);
        for peer in ["[2001:db8::7]:1234", "[fe80::7%2]:1234"] {
            assert_eq!(from(peer).0, peer);
        }
    }
}
