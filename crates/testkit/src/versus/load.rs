//! Load: many connections on one thread, each with one request at a time.
//!
//! A closed loop asks again as soon as it is answered. An open loop asks at a constant rate, and a request's time counts from
//! when it was *due*: whoever stalls cannot hide that by keeping the next requests from being sent.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::connection::{Connection, Progress};
use super::poll::{Poller, Ready};

/// How long a wait may last before the order to stop is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// An open loop's first request is due then: the connections are there.
pub(super) const FIRST_DUE: Duration = Duration::from_millis(50);

/// What is asked, of whom, and how often.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) target: SocketAddr,
    pub(super) connections: usize,
    /// The request, whole.
    pub(super) request: Vec<u8>,
    /// A new connection for each request; it must ask for that, too.
    pub(super) fresh: bool,
    /// Requests a second; without it the loop is closed.
    pub(super) rate: Option<f64>,
    /// How long requests are sent.
    pub(super) length: Duration,
    /// How long those that are under way at the end may still take (open loop).
    pub(super) linger: Duration,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With a complete answer of this status.
    Answered(u16),
    /// Refused, reset, or cut within the answer.
    Broken,
    /// Not at all, within the time.
    Unanswered,
}

/// One request; times since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) due: Duration,
    pub(super) end: Duration,
    pub(super) outcome: Outcome,
}

impl Sample {
    /// Did it end as it should?
    pub(super) fn good(&self) -> bool {
        matches!(self.outcome, Outcome::Answered(200..=299))
    }

    /// How long it took, from when it was due.
    pub(super) fn latency(&self) -> Duration {
        self.end.saturating_sub(self.due)
    }
}

/// A request for `bytes` bytes, or with a body of `upload` bytes; `close` asks to close the connection afterwards.
pub(super) fn request(bytes: usize, upload: usize, close: bool) -> Vec<u8> {
    let close = if close { "Connection: close\r\n" } else { "" };
    let common = format!("Host: versus.test\r\nUser-Agent: versus\r\nAccept: */*\r\n{close}");
    let mut request = if upload == 0 {
        format!("GET /b/{bytes} HTTP/1.1\r\n{common}\r\n")
    } else {
        let kind = "Content-Type: application/octet-stream";
        format!("POST / HTTP/1.1\r\n{common}{kind}\r\nContent-Length: {upload}\r\n\r\n")
    }
    .into_bytes();
    request.resize(request.len() + upload, b'y');
    request
}

/// Sends the load from `start` on and hands each request's end to `report`; returns at the plan's end, or at `stop`.
pub(super) fn run(
    plan: &Plan,
    start: Instant,
    stop: &AtomicBool,
    report: &mut dyn FnMut(Sample),
) -> io::Result<()> {
    let mut load = Load::new(plan, start, report)?;
    load.open()?;
    load.drive(stop)?;
    load.settle();
    Ok(())
}

struct Load<'a> {
    plan: &'a Plan,
    start: Instant,
    report: &'a mut dyn FnMut(Sample),
    poller: Poller,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    /// How many requests the open loop has begun.
    begun: u32,
    scratch: Vec<u8>,
}

impl<'a> Load<'a> {
    fn new(plan: &'a Plan, start: Instant, report: &'a mut dyn FnMut(Sample)) -> io::Result<Self> {
        Ok(Self {
            plan,
            start,
            report,
            poller: Poller::new()?,
            connections: (0..plan.connections)
                .map(|_| Connection::default())
                .collect(),
            idle: VecDeque::with_capacity(plan.connections),
            begun: 0,
            scratch: vec![0; 256 << 10],
        })
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn open(&mut self) -> io::Result<()> {
        for index in 0..self.connections.len() {
            if self.plan.fresh && self.plan.rate.is_some() {
                self.idle.push_back(index);
            } else {
                let due = self.plan.rate.is_none().then(|| self.now());
                self.dial(index, due)?;
            }
        }
        Ok(())
    }

    fn drive(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut ready = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let now = self.now();
            if now >= self.plan.length && (now >= self.plan.length + self.linger() || self.quiet())
            {
                break;
            }
            if self.plan.rate.is_some() {
                self.begin_what_is_due(now)?;
            } else {
                self.dial_again()?;
            }
            let patience = self.patience();
            self.poller.wait(patience, &mut ready)?;
            for ready in &ready {
                self.serve(*ready)?;
            }
        }
        Ok(())
    }

    fn linger(&self) -> Duration {
        self.plan.rate.map_or(Duration::ZERO, |_| self.plan.linger)
    }

    fn quiet(&self) -> bool {
        self.next_due().is_none() && self.connections.iter().all(|c| c.due.is_none())
    }

    /// When the open loop's next request is due; `None` after the last.
    fn next_due(&self) -> Option<Duration> {
        let rate = self.plan.rate?;
        let due = FIRST_DUE + Duration::from_secs_f64(f64::from(self.begun) / rate);
        (due < self.plan.length).then_some(due)
    }

    fn begin_what_is_due(&mut self, now: Duration) -> io::Result<()> {
        while let Some(due) = self.next_due().filter(|due| *due <= now)
            && let Some(index) = self.idle.pop_front()
        {
            self.begun += 1;
            if self.connections[index].stream.is_some() {
                self.ask(index, due)?;
            } else {
                self.dial(index, Some(due))?;
            }
        }
        Ok(())
    }

    /// A closed loop's broken connections, each once a turn.
    fn dial_again(&mut self) -> io::Result<()> {
        for _ in 0..self.idle.len() {
            let index = self.idle.pop_front().expect("counted above");
            self.dial(index, Some(self.now()))?;
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        let now = self.now();
        if self.plan.rate.is_none() && !self.idle.is_empty() {
            return Duration::from_millis(1);
        }
        let until = match self.next_due() {
            Some(due) if !self.idle.is_empty() => due,
            _ if now < self.plan.length => self.plan.length,
            _ => self.plan.length + self.linger(),
        };
        until.saturating_sub(now).min(GLANCE)
    }

    /// Opens a connection, for the request that is due if there is one.
    fn dial(&mut self, index: usize, due: Option<Duration>) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(self.plan.target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let connection = &mut self.connections[index];
        connection.generation = connection.generation.wrapping_add(1);
        connection.due = due;
        match socket.connect(&self.plan.target.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => {
                self.broken(index)?;
            }
            _ => {
                let stream = TcpStream::from(socket);
                self.poller.add(&stream, connection.key(index), true)?;
                connection.stream = Some(stream);
                connection.connecting = true;
                connection.watched_for_room = true;
            }
        }
        Ok(())
    }

    fn ask(&mut self, index: usize, due: Duration) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.due = Some(due);
        connection.sent = 0;
        connection.head.clear();
        connection.body = None;
        self.send(index)
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        match connection.send(&self.plan.request) {
            Ok(all) => connection.watch_for_room(&self.poller, index, !all),
            Err(_) => self.broken(index),
        }
    }

    fn serve(&mut self, ready: Ready) -> io::Result<()> {
        let index = (ready.key & u64::from(u32::MAX)) as usize;
        let connection = &mut self.connections[index];
        if connection.stream.is_none() || connection.key(index) != ready.key {
            return Ok(());
        }
        if connection.connecting {
            return self.connected(index);
        }
        if ready.write && connection.due.is_some() && connection.sent < self.plan.request.len() {
            self.send(index)?;
        }
        let connection = &mut self.connections[index];
        if !ready.read || connection.stream.is_none() {
            return Ok(());
        }
        match connection.receive(&mut self.scratch) {
            Ok(Progress::Waiting) => Ok(()),
            Ok(Progress::Complete) => self.complete(index),
            Err(_) => self.broken(index),
        }
    }

    fn connected(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let stream = connection.stream.as_ref().expect("it has been connecting");
        if !matches!(stream.take_error(), Ok(None)) {
            return self.broken(index);
        }
        connection.connecting = false;
        match connection.due {
            Some(due) => self.ask(index, due),
            None => {
                connection.watch_for_room(&self.poller, index, false)?;
                self.idle.push_back(index);
                Ok(())
            }
        }
    }

    fn complete(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let outcome = Outcome::Answered(connection.status);
        if connection.closes || self.plan.fresh {
            connection.stream = None;
        }
        self.ended(index, outcome)
    }

    /// The connection is gone, and its request with it; one that nobody used goes silently.
    fn broken(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.stream = None;
        let opening = std::mem::take(&mut connection.connecting);
        if connection.due.is_some() {
            return self.ended(index, Outcome::Broken);
        }
        if opening {
            self.idle.push_back(index);
        }
        Ok(())
    }

    fn ended(&mut self, index: usize, outcome: Outcome) -> io::Result<()> {
        let end = self.now();
        let due = self.connections[index].due.take();
        let due = due.expect("a request under way");
        (self.report)(Sample { due, end, outcome });
        if self.plan.rate.is_some() || outcome == Outcome::Broken {
            self.idle.push_back(index);
            return Ok(());
        }
        if end >= self.plan.length {
            return Ok(());
        }
        if self.connections[index].stream.is_some() {
            self.ask(index, end)
        } else {
            self.dial(index, Some(end))
        }
    }

    /// What the open loop has not seen the end of has taken at least until now.
    fn settle(&mut self) {
        if self.plan.rate.is_none() {
            return;
        }
        let end = self.now();
        let outcome = Outcome::Unanswered;
        for connection in &mut self.connections {
            if let Some(due) = connection.due.take() {
                (self.report)(Sample { due, end, outcome });
            }
        }
        while let Some(due) = self.next_due().filter(|due| *due < end) {
            self.begun += 1;
            (self.report)(Sample { due, end, outcome });
        }
    }
}

/// `EINPROGRESS`: the usual answer of a connect that does not wait.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::origin::{self, Controls};
    use super::*;

    fn plan(target: SocketAddr) -> Plan {
        Plan {
            target,
            connections: 8,
            request: request(128, 0, false),
            fresh: false,
            rate: None,
            length: Duration::from_millis(100),
            linger: Duration::ZERO,
        }
    }

    /// Runs to the plan's end, or to so many samples.
    fn collect(plan: &Plan, enough: usize) -> Vec<Sample> {
        let mut samples = Vec::new();
        let stop = AtomicBool::new(false);
        run(plan, Instant::now(), &stop, &mut |sample| {
            samples.push(sample);
            stop.store(samples.len() >= enough, Ordering::Relaxed);
        })
        .unwrap();
        samples
    }

    /// What the plan gets from our own backend.
    fn against_origin(enough: usize, change: impl FnOnce(&mut Plan)) -> Vec<Sample> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut plan = plan(listener.local_addr().unwrap());
        change(&mut plan);
        let controls = Controls::default();
        std::thread::scope(|scope| {
            scope.spawn(|| origin::serve(&[listener], &controls).unwrap());
            let samples = collect(&plan, enough);
            controls.stop.store(true, Ordering::Relaxed);
            samples
        })
    }

    #[test]
    fn a_closed_loop_asks_again_as_soon_as_it_is_answered() {
        for (upload, fresh, bytes) in [
            (0, false, 128),
            (100_000, false, 0),
            (0, true, 128),
            (0, false, 600_000),
        ] {
            let samples = against_origin(50, |plan| {
                plan.length = Duration::from_secs(20);
                plan.request = request(bytes, upload, fresh);
                plan.fresh = fresh;
            });
            assert!(samples.len() >= 50, "{upload} {fresh}: {}", samples.len());
            assert!(samples.iter().all(Sample::good), "{upload} {fresh}");
        }
    }

    #[test]
    fn an_open_loop_asks_as_often_as_it_is_told_however_long_the_answers_take() {
        for fresh in [false, true] {
            let samples = against_origin(usize::MAX, |plan| {
                plan.rate = Some(1000.0);
                plan.fresh = fresh;
                plan.request = request(128, 0, fresh);
                plan.length = Duration::from_millis(150);
                plan.linger = Duration::from_secs(20);
            });
            assert_eq!(samples.len(), 100);
            assert!(samples.iter().all(Sample::good));
            let mut dues: Vec<_> = samples.iter().map(|sample| sample.due).collect();
            dues.sort();
            let wanted: Vec<_> = (50..150).map(Duration::from_millis).collect();
            assert_eq!(dues, wanted);
        }
    }

    #[test]
    fn an_open_loop_reports_what_nobody_answered() {
        // A listener that nobody accepts from: connections open, and that is all.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut plan = plan(listener.local_addr().unwrap());
        plan.rate = Some(1000.0);
        let samples = collect(&plan, usize::MAX);
        assert_eq!(samples.len(), 50);
        assert!(
            samples
                .iter()
                .all(|sample| sample.outcome == Outcome::Unanswered)
        );
        assert!(samples.iter().all(|sample| sample.end >= plan.length));
    }

    #[test]
    fn a_refused_connection_is_a_broken_request_and_is_tried_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut plan = plan(listener.local_addr().unwrap());
        drop(listener);
        plan.length = Duration::from_secs(20);
        for rate in [None, Some(1000.0)] {
            plan.rate = rate;
            let samples = collect(&plan, 50);
            assert!(samples.len() >= 50, "{}", samples.len());
            let broken = |sample: &Sample| sample.outcome == Outcome::Broken;
            assert!(samples[..50].iter().all(broken));
        }
    }
}
