//! Where to listen and where servers are: text to addresses.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::reader::Item;
use super::settings::{ListenAddress, Network};
use super::source::quoted;
use crate::backend::Address;

const SERVER: &str = "a server such as \"127.0.0.1:9001\" or \"http://app.internal:9001\"";
const LISTEN: &str = "an address such as \":8080\" or \"127.0.0.1:8080\"";

/// Why a text is no address: the problem, and what to do.
type Refusal = (String, &'static str);

/// Reads where to listen.
pub(super) fn listen(item: &Item<'_>) -> Option<ListenAddress> {
    if let super::raw::Value::Integer(port) = item.value() {
        let help = format!("for every address of this machine write \":{port}\"");
        item.fail(format!("found the number {port}"), LISTEN, &help);
        return None;
    }
    let text = item.string(LISTEN)?;
    match parse_listen(text) {
        Ok(address) => Some(address),
        Err((problem, help)) => {
            item.fail(problem, LISTEN, help);
            None
        }
    }
}

fn parse_listen(text: &str) -> Result<ListenAddress, Refusal> {
    let shown = quoted(text);
    if text.parse::<IpAddr>().is_ok() {
        return Err((
            format!("{shown} has no port"),
            "an IPv6 address with a port looks like \"[::1]:8080\"",
        ));
    }
    if let Some(port) = text.strip_prefix(':') {
        return Ok(ListenAddress::Any(parse_port(port)?));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(ListenAddress::Exact(address));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return Err((
            format!("{shown} is only a port"),
            "put a colon in front to listen on every address",
        ));
    }
    if text.contains("://") {
        return Err((
            format!("{shown} is a URL"),
            "leave out the scheme: HTTP is spoken here",
        ));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| {
        let help = "write the address, a colon and the port";
        (format!("{shown} has no port"), help)
    })?;
    parse_port(port)?;
    Err((
        format!(
            "{} is not an IP address",
            quoted(host.trim_matches(['[', ']']))
        ),
        "names are not looked up here; \"localhost\" is \"127.0.0.1\" or \"[::1]\"",
    ))
}

/// Reads where a server is.
pub(super) fn server(item: &Item<'_>) -> Option<Address> {
    let text = item.string(SERVER)?;
    match parse_server(text) {
        Ok(address) => Some(address),
        Err((problem, help)) => {
            item.fail(problem, SERVER, help);
            None
        }
    }
}

fn parse_server(text: &str) -> Result<Address, Refusal> {
    let (authority, default_port) = match text.split_once("://") {
        None => (text, None),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (rest, Some(80)),
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
            return Err((
                "TLS to servers (https://) is known, but not in this version".to_owned(),
                "use http:// for now",
            ));
        }
        Some((scheme, _)) => {
            let problem = format!("{} is an unknown scheme", quoted(scheme));
            return Err((problem, "leave it out, or write http://"));
        }
    };
    // The empty path may be written as "/", as browsers do.
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if let Some(at) = authority.find(['/', '?', '#']) {
        let problem = format!("{} is a path", quoted(&authority[at..]));
        return Err((
            problem,
            "paths go through unchanged: name the host and port alone",
        ));
    }
    if authority.contains('@') {
        return Err((
            "a server's URL has no user and password".to_owned(),
            "clients authenticate end to end",
        ));
    }
    let (host, port) = split_port(authority, default_port)?;
    if port == 0 {
        return Err(("port 0 is no port of a server".to_owned(), ""));
    }
    Ok(Address {
        host: parse_host(host)?,
        port,
    })
}

/// Host, with its brackets if it has some, and port.
fn split_port(authority: &str, default: Option<u16>) -> Result<(&str, u16), Refusal> {
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Err((
            format!("{} is an IPv6 address without brackets", quoted(authority)),
            "an IPv6 address with a port looks like \"[::1]:9001\"",
        ));
    }
    match (authority.rsplit_once(':'), default) {
        // The colon inside brackets is part of the address.
        (Some((host, port)), _) if !port.ends_with(']') => Ok((host, parse_port(port)?)),
        (_, Some(port)) => Ok((authority, port)),
        _ => Err((
            format!("{} has no port", quoted(authority)),
            "write the host, a colon and the port",
        )),
    }
}

fn parse_port(text: &str) -> Result<u16, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| digits);
    port.ok_or_else(|| {
        let problem = format!("{} is not a port", quoted(text));
        (problem, "a port is a number from 1 to 65535")
    })
}

/// A literal address in its usual spelling, or a host name in lower case: so that equal hosts are equal texts.
fn parse_host(host: &str) -> Result<Box<str>, Refusal> {
    if let Some(inside) = host.strip_prefix('[') {
        let address: Option<Ipv6Addr> = inside
            .strip_suffix(']')
            .and_then(|inside| inside.parse().ok());
        return match address {
            Some(address) => Ok(address.to_string().into()),
            None => Err((format!("{} is not an IPv6 address", quoted(host)), "")),
        };
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(address.to_string().into());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    if name.is_empty() {
        return Err(("the host is missing".to_owned(), ""));
    }
    // RFC 1123 §2.1: a name has labels of at most 63 and a length of at most 253 (and `_` is seen in the wild).
    if name.len() > 253 || !name.split('.').all(label) {
        return Err((
            format!("{} is not a host name", quoted(host)),
            "names outside of ASCII are written in their xn-- form",
        ));
    }
    // What ends in a number is an address to every resolver, and this one is wrong.
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err((format!("{} is not an IPv4 address", quoted(host)), ""));
    }
    Ok(host.to_ascii_lowercase().into())
}

/// Reads a network in CIDR notation, or a single address.
pub(super) fn network(item: &Item<'_>) -> Option<Network> {
    const EXPECTED: &str = "a network such as \"10.0.0.0/8\"";
    let text = item.string(EXPECTED)?;
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let problem = format!("{} is not an IP address", quoted(address));
        item.fail(problem, EXPECTED, "");
        return None;
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix.map(str::parse::<u8>) {
        None => longest,
        Some(Ok(prefix)) if prefix <= longest => prefix,
        Some(_) => {
            let problem = format!("{} has a bad prefix length", quoted(text));
            let help = format!("the length of the prefix is a number up to {longest}");
            item.fail(problem, EXPECTED, &help);
            return None;
        }
    };
    let base = mask(address, prefix);
    if base != address {
        let help = format!("did you mean \"{base}/{prefix}\"?");
        let problem = format!("{} has bits behind its prefix", quoted(text));
        item.fail(problem, EXPECTED, &help);
        return None;
    }
    Network::new(address, prefix)
}

/// `address` with all bits behind the prefix at zero.
fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

/// Would both listen on the same port of the same address?
pub(super) fn overlap(a: ListenAddress, b: ListenAddress) -> bool {
    let (port, other) = (a.port(), b.port());
    if port != other || port == 0 {
        return false;
    }
    let (ListenAddress::Exact(a), ListenAddress::Exact(b)) = (a, b) else {
        return true;
    };
    // `[::]` takes IPv4, too.
    let covers = |wide: SocketAddr, other: SocketAddr| {
        wide.ip().is_unspecified() && (wide.is_ipv6() || other.is_ipv4())
    };
    a == b || covers(a, b) || covers(b, a)
}

/// Would a connection from this machine to `server` arrive at `listener`?
pub(super) fn reaches(server: &Address, listener: ListenAddress) -> bool {
    if server.port != listener.port() {
        return false;
    }
    let ip = server.literal().map(|address| address.ip());
    let loopback = ip.map_or(&*server.host == "localhost", |ip| ip.is_loopback());
    match listener {
        ListenAddress::Any(_) => loopback,
        ListenAddress::Exact(own) if own.ip().is_unspecified() => {
            // `localhost` may be either family: only a listener on both is sure to be met.
            let family = ip.map_or(own.is_ipv6(), |ip| own.is_ipv6() || ip.is_ipv4());
            loopback && family
        }
        ListenAddress::Exact(own) => ip == Some(own.ip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_host_and_port_or_http_urls() {
        for (text, shown) in [
            ("127.0.0.1:9001", "127.0.0.1:9001"),
            ("http://localhost:5001", "localhost:5001"),
            ("http://localhost:5001/", "localhost:5001"),
            ("HTTP://App.Internal", "app.internal:80"),
            ("http://10.0.0.1", "10.0.0.1:80"),
            ("[::1]:9001", "[::1]:9001"),
            ("http://[0:0::1]", "[::1]:80"),
            ("my_host:1", "my_host:1"),
            ("host.:1", "host.:1"),
        ] {
            let address = parse_server(text).unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_server_says_why() {
        for (text, problem) in [
            ("localhost", "`localhost` has no port"),
            ("", "`` has no port"),
            (":9001", "the host is missing"),
            ("http://", "the host is missing"),
            ("a:0", "port 0 is no port of a server"),
            ("a:65536", "`65536` is not a port"),
            ("a:+1", "`+1` is not a port"),
            ("a:", "`` is not a port"),
            (
                "https://a:1",
                "TLS to servers (https://) is known, but not in this version",
            ),
            ("ftp://a:1", "`ftp` is an unknown scheme"),
            ("http://a:1/x", "`/x` is a path"),
            ("http://a:1?x", "`?x` is a path"),
            ("a:1//", "`/` is a path"),
            ("http://u:p@a:1", "a server's URL has no user and password"),
            ("::1", "`::1` is an IPv6 address without brackets"),
            ("[::1", "`[:` is not an IPv6 address"),
            ("[::1]", "`[::1]` has no port"),
            ("[::g]:1", "`[::g]` is not an IPv6 address"),
            ("fe80::1:x:1", "`fe80::1:x` is not a host name"),
            ("300.0.0.1:1", "`300.0.0.1` is not an IPv4 address"),
            ("1.2:1", "`1.2` is not an IPv4 address"),
            ("a b:1", "`a b` is not a host name"),
            ("ü.de:1", "`ü.de` is not a host name"),
            ("a..b:1", "`a..b` is not a host name"),
        ] {
            assert_eq!(parse_server(text).unwrap_err().0, problem, "{text}");
        }
    }

    #[test]
    fn listen_addresses_are_literal() {
        let exact = |text: &str| ListenAddress::Exact(text.parse().unwrap());
        assert_eq!(parse_listen(":8080"), Ok(ListenAddress::Any(8080)));
        assert_eq!(parse_listen(":0"), Ok(ListenAddress::Any(0)));
        for text in ["0.0.0.0:80", "127.0.0.1:0", "[::1]:8080"] {
            assert_eq!(parse_listen(text), Ok(exact(text)));
        }
        for (text, problem) in [
            ("8080", "`8080` is only a port"),
            ("127.0.0.1", "`127.0.0.1` has no port"),
            ("::1", "`::1` has no port"),
            ("localhost:80", "`localhost` is not an IP address"),
            ("http://a:80", "`http://a:80` is a URL"),
            (":99999", "`99999` is not a port"),
            ("", "`` has no port"),
        ] {
            assert_eq!(parse_listen(text).unwrap_err().0, problem, "{text}");
        }
    }

    #[test]
    fn a_server_that_is_a_listener_is_recognised() {
        for (server, listener, same) in [
            ("127.0.0.1:80", ":80", true),
            ("localhost:80", ":80", true),
            ("[::1]:80", ":80", true),
            ("127.0.0.2:80", "0.0.0.0:80", true),
            ("[::1]:80", "0.0.0.0:80", false),
            ("localhost:80", "[::]:80", true),
            ("10.0.0.1:80", "10.0.0.1:80", true),
            ("10.0.0.1:80", "10.0.0.2:80", false),
            ("10.0.0.1:80", ":80", false),
            ("app:80", ":80", false),
            ("127.0.0.1:81", ":80", false),
            ("127.0.0.1:81", ":0", false),
        ] {
            let (server, listener) = (
                parse_server(server).unwrap(),
                parse_listen(listener).unwrap(),
            );
            assert_eq!(reaches(&server, listener), same, "{server} {listener:?}");
        }
    }

    #[test]
    fn listeners_overlap_when_one_would_take_the_other_s_port() {
        let at = |text: &str| parse_listen(text).unwrap();
        for (a, b, same) in [
            (":80", ":80", true),
            (":80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            (":80", ":81", false),
            (":0", ":0", false),
        ] {
            assert_eq!(overlap(at(a), at(b)), same, "{a} {b}");
            assert_eq!(overlap(at(b), at(a)), same, "{b} {a}");
        }
    }
}
