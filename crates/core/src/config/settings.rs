//! Checked settings: types that cannot be wrong. The data path sees these and never the raw file.
//!
//! Every default of the product stands here, once.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub use super::balance::{Balance, HashBalance, HashKey, HashRing};
pub use super::origin::Origin;
use crate::backend::Backend;
use crate::pool::Subset;

/// Everything a balancer needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many workers serve requests.
    pub workers: Workers,
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// The pool that every request goes to.
    pub pool: PoolSettings,
    /// What a client may cost.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Aids for debugging, all off by default.
    pub debug: DebugSettings,
}

/// How many workers serve requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per core.
    Auto,
    /// Exactly so many.
    Count(NonZeroUsize),
}

/// One listening address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Where it listens.
    pub address: ListenAddress,
    /// Where the configuration says so.
    pub origin: Origin,
}

/// Where a listener is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Every address of this machine, in both families where there are two: `:8080`.
    Any(u16),
    /// One address.
    Exact(SocketAddr),
}

/// A pool: its servers and the rules that apply to them.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSettings {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Its servers in file order; at least one, no address twice. With a subset those that this balancer uses.
    pub servers: Vec<Backend>,
    /// How a fleet was shared out among balancers, of how many servers these are the subset.
    pub subset: Option<(Subset, usize)>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// How their health is known.
    pub health: Health,
    /// What failing requests do to a member; `None` is off.
    pub passive: Option<Passive>,
    /// How long a member that came back takes to get its full share; `None` is off.
    pub slow_start: Option<Duration>,
    /// What happens when no member is eligible.
    pub when_all_down: WhenAllDown,
    /// How a client is kept at its member; `None` is off.
    pub sticky: Option<Sticky>,
    /// What one request may cost.
    pub limits: PoolLimits,
}

/// A cookie that brings a client back to the member it was at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: Box<str>,
    /// How long a client keeps it; `None`: until it is closed.
    pub ttl: Option<Duration>,
    /// What the cookie's value is hashed with; balancers that share it agree about values.
    pub key: Box<str>,
}

/// What a pool does with a request when no member is eligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenAllDown {
    /// Refuses it at once.
    Fail,
    /// Tries any member that is not draining or in maintenance, one after the other.
    TryAnyway,
}

/// When the outcomes of real requests take a member out, and for how long.
///
/// What counts as a failure is what a gateway would answer for: a reset, an invalid or truncated answer, a timeout, and a
/// 502, 503 or 504 of the member's own. A connection that could not be made does not count, because it makes
/// the member suspect at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passive {
    /// Failures in a row that eject.
    pub failures: NonZeroU32,
    /// The failed percentage of the answers of ten seconds that ejects, given enough answers and others that do
    /// better; `None` is off.
    pub share_percent: Option<u32>,
    /// So many times the others' median time to the first byte ejects; `None` is off.
    pub latency_factor: Option<u32>,
    /// How long the first ejection lasts; the n-th in short order takes n times as long, up to
    /// [`EJECT_MAX`](Self::EJECT_MAX).
    pub eject: Duration,
    /// The percentage of the pool that may be ejected; never the last member that is up.
    pub max_ejected_percent: u32,
}

impl Passive {
    /// The longest ejection, before jitter.
    pub const EJECT_MAX: Duration = Duration::from_secs(300);
}

/// How a pool learns about the health of its members.
#[derive(Clone, Debug, PartialEq)]
pub enum Health {
    /// No probes: members count as up until traffic says otherwise.
    Off,
    /// Probes.
    Probes(ProbeSettings),
}

/// How a pool probes.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSettings {
    /// What is asked.
    pub check: Check,
    /// Time between two probes of a member that is up.
    pub interval: Duration,
    /// Time between two probes of a member that is unknown, suspect or down; never above `interval`.
    pub interval_down: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Passes in a row that bring a member back.
    pub rise: NonZeroU32,
    /// Failures in a row that take a member out.
    pub fall: NonZeroU32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// Does it accept a connection?
    Tcp,
    /// Does it answer a request as wanted?
    Http(Box<HttpCheck>),
}

impl From<HttpCheck> for Check {
    fn from(check: HttpCheck) -> Self {
        Self::Http(Box::new(check))
    }
}

/// What an HTTP probe asks, and what it wants to hear.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpCheck {
    /// The request's method.
    pub method: Method,
    /// The request's path and query.
    pub path: PathAndQuery,
    /// The request's `Host`; the server's address unless given.
    pub host: Option<HeaderValue>,
    /// Further fields of the request.
    pub headers: HeaderMap,
    /// The statuses that pass.
    pub expect: StatusRanges,
    /// What the first [`BODY_MAX`](Self::BODY_MAX) bytes of the body must contain, if anything.
    pub body: Option<Box<[u8]>>,
}

impl HttpCheck {
    /// Bytes of a body that are looked at.
    pub const BODY_MAX: usize = 64 * 1024;

    /// `GET` on `path`, wanted: any success.
    pub fn get(path: PathAndQuery) -> Self {
        Self {
            method: Method::GET,
            path,
            host: None,
            headers: HeaderMap::new(),
            expect: StatusRanges::default(),
            body: None,
        }
    }
}

/// A set of status codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRanges(Vec<RangeInclusive<u16>>);

impl StatusRanges {
    /// The union of `ranges`.
    pub fn new(ranges: Vec<RangeInclusive<u16>>) -> Self {
        Self(ranges)
    }

    /// Is `status` in the set?
    pub fn contains(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }

    /// The ranges, as configured.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }
}

/// What one request may cost a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolLimits {
    /// Attempts after the first, at most.
    pub retries: u32,
    /// Retries as a percentage of the requests of the last ten seconds.
    pub retry_budget_percent: u32,
    /// After what time without a response head a second member is asked as well; `None` is off.
    pub hedge: Option<HedgeAfter>,
    /// Time to open a connection.
    pub connect: Duration,
    /// Time from the request's last byte to the response head.
    pub first_byte: Duration,
    /// Time without progress on a body from or to the backend.
    pub body_idle: Duration,
    /// Time for the whole exchange; `None` is off.
    pub total: Option<Duration>,
    /// Kept upstream connections per member and worker; more only while they are in use again and again. 0 keeps none.
    pub idle_per_worker: usize,
    /// Attempts in flight at one member, tunnels included.
    pub in_flight_per_server: u32,
    /// A lower limit for each member, learned from its times to the first byte.
    pub adaptive: Adaptive,
    /// Who waits when all members are at that limit.
    pub queue: QueueSettings,
}

/// How long an attempt is waited for before another one is made beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// So long.
    Time(Duration),
    /// As long as this percentage of the pool's answers took until their first byte; from 50 to 99.
    Percentile(u32),
}

/// A limit on the attempts in flight at one member that follows how long its answers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptive {
    /// Whether there is one.
    pub mode: AdaptiveMode,
    /// Its floor.
    pub min: u32,
    /// Its ceiling, at which it begins; never above [`in_flight_per_server`](PoolLimits::in_flight_per_server).
    pub max: u32,
}

/// What an adaptive limit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdaptiveMode {
    /// Nothing: it is not even computed.
    Off,
    /// It is computed and reported.
    Observe,
    /// A member that has reached it is passed over.
    On,
}

/// Requests that wait for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// How many may wait; zero is no queue.
    pub size: usize,
    /// For how long.
    pub timeout: Duration,
}

/// What clients may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Networks whose `X-Forwarded-*` is believed and appended to.
    pub trusted_proxies: Vec<Network>,
    /// Size of a request head.
    pub head_bytes: usize,
    /// Number of fields in a request head.
    pub header_count: usize,
    /// Time for a whole request head.
    pub head_timeout: Duration,
    /// Time without progress on a body from or to the client.
    pub body_idle: Duration,
    /// Time a connection may wait for its next request.
    pub keep_alive_idle: Duration,
    /// Client connections at a time.
    pub connections: usize,
    /// Size of a request body; `None` is off.
    pub body_bytes: Option<u64>,
    /// Time without a byte in either direction of a tunnel.
    pub tunnel_idle: Duration,
    /// Time of further accepting after a stop was asked for.
    pub shutdown_delay: Duration,
    /// Time that running exchanges may take after that.
    pub shutdown_grace: Duration,
}

/// A network in CIDR notation: an address and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// `None` when the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Is `address` inside? An IPv4 address mapped into IPv6 counts as the IPv4 address it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                (network.to_bits() ^ address.to_bits())
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                (network.to_bits() ^ address.to_bits())
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogSettings {
    /// Which requests.
    pub access: AccessLog,
    /// In which form.
    pub format: LogFormat,
}

/// Which requests are logged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AccessLog {
    /// None.
    Off,
    /// Those that failed: a local error answer, a 5xx, a broken body, a client that went away.
    Errors,
    /// All.
    All,
    /// The failed ones, and this share of the others.
    Share(f64),
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Aids for debugging.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DebugSettings {
    /// A response header that tells clients which backend answered.
    pub backend_header: Option<HeaderName>,
    /// A response header that tells the decision to trusted peers that [ask](crate::forward::EXPLAIN) for it.
    pub decision_header: Option<HeaderName>,
}

impl ListenAddress {
    /// Its port; zero if the system chooses one.
    pub fn port(&self) -> u16 {
        match self {
            Self::Any(port) => *port,
            Self::Exact(address) => address.port(),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::Exact(address) => address.fmt(f),
        }
    }
}

impl PoolSettings {
    /// A pool with the product's defaults.
    pub fn new(name: &str, servers: Vec<Backend>) -> Self {
        Self {
            name: name.into(),
            servers,
            subset: None,
            balance: Balance::RoundRobin,
            health: Health::Probes(ProbeSettings::default()),
            passive: Some(Passive::default()),
            slow_start: Some(Duration::from_secs(10)),
            when_all_down: WhenAllDown::Fail,
            sticky: None,
            limits: PoolLimits::default(),
        }
    }
}

impl Default for Passive {
    fn default() -> Self {
        Self {
            failures: const { NonZeroU32::new(5).unwrap() },
            share_percent: Some(50),
            latency_factor: None,
            eject: Duration::from_secs(30),
            max_ejected_percent: 50,
        }
    }
}

impl ProbeSettings {
    /// The timeout of a probe when none is given: the smaller of one second and half the interval.
    pub fn default_timeout(interval: Duration) -> Duration {
        Duration::from_secs(1).min(interval / 2)
    }
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            check: Check::Tcp,
            interval: Duration::from_secs(2),
            interval_down: Duration::from_millis(200),
            timeout: Duration::from_secs(1),
            rise: const { NonZeroU32::new(2).unwrap() },
            fall: const { NonZeroU32::new(3).unwrap() },
        }
    }
}

impl Default for StatusRanges {
    fn default() -> Self {
        Self(vec![200..=299])
    }
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            retries: 2,
            retry_budget_percent: 20,
            hedge: None,
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(30),
            body_idle: Duration::from_secs(30),
            total: None,
            idle_per_worker: 64,
            in_flight_per_server: 1024,
            adaptive: Adaptive::default(),
            queue: QueueSettings::default(),
        }
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            mode: AdaptiveMode::Off,
            min: 8,
            max: 1024,
        }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            size: 1024,
            timeout: Duration::from_secs(1),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            head_bytes: 16 * 1024,
            header_count: 100,
            head_timeout: Duration::from_secs(10),
            body_idle: Duration::from_secs(30),
            keep_alive_idle: Duration::from_secs(60),
            connections: 10_000,
            body_bytes: None,
            tunnel_idle: Duration::from_secs(300),
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(30),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            access: AccessLog::Errors,
            format: LogFormat::Auto,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let table = [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("10.0.0.0", 8, "::ffff:10.0.0.1", true),
            ("0.0.0.0", 0, "192.0.2.1", true),
            ("0.0.0.0", 0, "2001:db8::1", false),
            ("192.0.2.7", 32, "192.0.2.7", true),
            ("192.0.2.7", 32, "192.0.2.6", false),
            ("2001:db8::", 32, "2001:db8:1::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("::", 0, "2001:db8::1", true),
        ];
        for (network, prefix, address, inside) in table {
            let network = Network::new(network.parse().unwrap(), prefix).unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{network:?} {address}"
            );
        }
        assert_eq!(Network::new("10.0.0.0".parse().unwrap(), 33), None);
    }
}
