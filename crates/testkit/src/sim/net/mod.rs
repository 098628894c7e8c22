//! The network: hosts, ports, links and what goes wrong with them.
//!
//! A host is an IP address. What a fault does is what TCP would show: a host that is cut off swallows everything until
//! it is healed (then it is delivered, as retransmission would); a port where nobody listens refuses; a reset arrives
//! as `ConnectionReset`; a close with unread bytes is a reset. Reads and writes are split at random.

mod conn;
mod port;
mod stream;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use lb_core::config::settings::ListenAddress;
use lb_core::rng::Rng;
use lb_core::time::Timer as _;
use lb_engine::rt::Net;

use self::conn::Conn;
use self::port::Port;
pub use self::port::{SimBound, SimListener};
pub use self::stream::SimStream;
use super::executor::{Executor, lock};
use super::timer::SimTimer;

/// How the way to a host behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// Time that bytes travel in one direction, in microseconds; drawn for each write.
    pub latency_us: RangeInclusive<u64>,
    /// Bytes that one direction holds before a writer must wait; drawn for each connection.
    pub window: RangeInclusive<u64>,
    /// Whether reads and writes are cut into pieces at random.
    pub split: bool,
    /// Of a thousand connections, how many are reset in their middle.
    pub resets_per_mille: u64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            latency_us: 50..=500,
            window: 1024..=65_536,
            split: true,
            resets_per_mille: 0,
        }
    }
}

/// Bytes into a connection after which a drawn reset may come, at most.
const RESET_WITHIN: u64 = 4096;
/// First wait before a connection attempt that got no answer is repeated; it doubles.
const RETRANSMIT: Duration = Duration::from_secs(1);
/// The first port that is given out by itself.
const EPHEMERAL: u16 = 32_768;

pub(super) struct Network {
    pub(super) executor: Executor,
    rng: Rng,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<IpAddr, Host>,
    ports: BTreeMap<SocketAddr, Port>,
    conns: BTreeMap<u64, Weak<Conn>>,
    names: BTreeMap<String, Vec<IpAddr>>,
    next_port: u16,
    next_id: u64,
}

#[derive(Default)]
struct Host {
    conditions: Conditions,
    cut: bool,
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A port that nobody has at `ip`.
    fn free_port(&mut self, ip: IpAddr) -> io::Result<u16> {
        for _ in EPHEMERAL..u16::MAX {
            let port = EPHEMERAL + self.next_port % (u16::MAX - EPHEMERAL);
            self.next_port = self.next_port.wrapping_add(1);
            if !self.ports.contains_key(&SocketAddr::new(ip, port)) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn is_cut(&self, ip: IpAddr) -> bool {
        self.hosts.get(&ip).is_some_and(|host| host.cut)
    }
}

impl Network {
    pub(super) fn new(executor: Executor, rng: Rng) -> Arc<Self> {
        Arc::new(Self {
            executor,
            rng,
            state: Mutex::default(),
        })
    }

    /// Sets how the way to a host behaves, for connections made from now on.
    pub(super) fn set_conditions(&self, ip: IpAddr, conditions: Conditions) {
        lock(&self.state).hosts.entry(ip).or_default().conditions = conditions;
    }

    /// Gives a host a name.
    pub(super) fn set_name(&self, name: &str, ips: Vec<IpAddr>) {
        lock(&self.state).names.insert(name.to_owned(), ips);
    }

    /// Lets everything to and from a host hang in the air.
    pub(super) fn cut(&self, ip: IpAddr) {
        self.executor.record("cut", &[]);
        lock(&self.state).hosts.entry(ip).or_default().cut = true;
    }

    /// Delivers to and from a host again, beginning with what hung in the air.
    pub(super) fn heal(self: &Arc<Self>, ip: IpAddr) {
        self.executor.record("heal", &[]);
        lock(&self.state).hosts.entry(ip).or_default().cut = false;
        for conn in self.conns_of(ip) {
            conn.deliver(self, 0);
            conn.deliver(self, 1);
        }
    }

    /// Resets every connection of a host, as the crash of its process does.
    pub(super) fn reset_all(self: &Arc<Self>, ip: IpAddr) {
        for conn in self.conns_of(ip) {
            conn.reset_by(self, ip);
        }
    }

    /// Connections that are open at either end.
    pub(super) fn open(&self) -> usize {
        let conns: Vec<_> = lock(&self.state).conns.values().cloned().collect();
        conns
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|conn| conn.is_open())
            .count()
    }

    fn conns_of(&self, ip: IpAddr) -> Vec<Arc<Conn>> {
        let mut state = lock(&self.state);
        state.conns.retain(|_, conn| conn.strong_count() > 0);
        let all: Vec<_> = state.conns.values().filter_map(Weak::upgrade).collect();
        drop(state);
        all.into_iter().filter(|conn| conn.touches(ip)).collect()
    }

    /// Is either end of a connection cut off?
    fn is_cut(&self, ends: [SocketAddr; 2]) -> bool {
        let state = lock(&self.state);
        ends.iter().any(|end| state.is_cut(end.ip()))
    }

    fn conditions(&self, ip: IpAddr) -> Conditions {
        let state = lock(&self.state);
        state
            .hosts
            .get(&ip)
            .map_or_else(Conditions::default, |host| host.conditions.clone())
    }

    fn draw(&self, range: &RangeInclusive<u64>) -> u64 {
        let width = range.end().saturating_sub(*range.start()).saturating_add(1);
        range.start() + self.rng.below(width)
    }

    fn latency(&self, conditions: &Conditions) -> Duration {
        Duration::from_micros(self.draw(&conditions.latency_us))
    }

    /// What a first packet from `from` to `to` finds.
    fn knock(self: &Arc<Self>, from: IpAddr, to: SocketAddr) -> Knock {
        let conditions = self.conditions(to.ip());
        let mut state = lock(&self.state);
        if state.is_cut(from) || state.is_cut(to.ip()) {
            return Knock::Nothing;
        }
        let Some(queue) = state.ports.get(&to).and_then(|port| port.draw(&self.rng)) else {
            return Knock::Refused;
        };
        if queue.is_full() {
            return Knock::Nothing;
        }
        let Ok(port) = state.free_port(from) else {
            return Knock::NoPort;
        };
        let id = state.id();
        let from = SocketAddr::new(from, port);
        let reset_at = (self.rng.below(1000) < conditions.resets_per_mille)
            .then(|| self.rng.below(RESET_WITHIN));
        let conn = Arc::new(Conn::new(
            id,
            [from, to],
            [self.draw(&conditions.window), self.draw(&conditions.window)],
            conditions,
            reset_at,
        ));
        state.conns.insert(id, Arc::downgrade(&conn));
        drop(state);
        self.executor
            .record("connect", &[id, u64::from(port), u64::from(to.port())]);
        queue.push(SimStream::new(self, &conn, 1), from);
        Knock::Open(SimStream::new(self, &conn, 0))
    }
}

enum Knock {
    Open(SimStream),
    Refused,
    Nothing,
    NoPort,
}

/// The sockets of one host.
#[derive(Clone)]
pub struct SimNet {
    pub(super) network: Arc<Network>,
    pub(super) host: IpAddr,
}

impl SimNet {
    async fn sleep(&self, duration: Duration) {
        let timer = SimTimer(self.network.executor.clone());
        timer.sleep_until(timer.now() + duration).await;
    }
}

impl Net for SimNet {
    type Stream = SimStream;
    type Bound = SimBound;
    type Listener = SimListener;

    async fn connect(&self, to: SocketAddr) -> io::Result<SimStream> {
        let conditions = self.network.conditions(to.ip());
        let from = if to.ip().is_loopback() {
            to.ip()
        } else {
            self.host
        };
        let mut wait = RETRANSMIT;
        loop {
            self.sleep(self.network.latency(&conditions)).await;
            match self.network.knock(from, to) {
                Knock::Open(stream) => {
                    self.sleep(self.network.latency(&conditions)).await;
                    return Ok(stream);
                }
                Knock::Refused => {
                    self.sleep(self.network.latency(&conditions)).await;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Knock::NoPort => return Err(io::ErrorKind::AddrNotAvailable.into()),
                Knock::Nothing => {
                    self.sleep(wait).await;
                    wait *= 2;
                }
            }
        }
    }

    fn bind(&self, address: ListenAddress, count: usize) -> io::Result<Vec<SimBound>> {
        let mut state = lock(&self.network.state);
        let mut address = match address {
            ListenAddress::Any(port) => SocketAddr::new(self.host, port),
            ListenAddress::Exact(address) if address.ip().is_unspecified() => {
                SocketAddr::new(self.host, address.port())
            }
            ListenAddress::Exact(address) => address,
        };
        if address.ip() != self.host && !address.ip().is_loopback() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        if address.port() == 0 {
            address.set_port(state.free_port(address.ip())?);
        } else if state.ports.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let mut bound = Vec::new();
        for _ in 0..count {
            let id = state.id();
            let queue = state.ports.entry(address).or_default().add(id);
            bound.push(SimBound::new(&self.network, address, id, queue));
        }
        Ok(bound)
    }

    fn local_addr(bound: &SimBound) -> io::Result<SocketAddr> {
        Ok(bound.address())
    }

    fn listen(&self, bound: SimBound) -> io::Result<SimListener> {
        Ok(SimListener::new(bound))
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        self.sleep(Duration::from_millis(1)).await;
        let state = lock(&self.network.state);
        match state.names.get(host) {
            Some(ips) => Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
        }
    }

    fn reset(stream: &SimStream) {
        stream.reset_on_drop();
    }
}
