//! Backends: they speak HTTP/1.1 byte by byte, check every byte they get, and misbehave on demand.
//!
//! Their reader is strict and is not the code under test: what it cannot read is a finding.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb_core::config::settings::ListenAddress;
use lb_core::rng::Rng;
use lb_core::time::{Instant, Timer as _};
use lb_engine::rt::{Listen as _, Net as _, Runtime as _, Spawn as _};

use super::executor::lock;
use super::ledger::{Ledger, Way, content};
use super::runtime::SimRuntime;
use super::{SimNet, SimStream};
use crate::conformance::wire::{Framing, Head, Piece, Progress, Wire};

/// Bytes that are written at a time.
const PIECE: usize = 4096;

/// How long a poll takes.
const POLL: Duration = Duration::from_secs(30);

/// What a backend does with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A whole answer with this status.
    Status(u16),
    /// A whole answer, and then the connection is closed without a warning.
    ThenClose,
    /// HTTP/1.0: the body ends with the connection.
    Http10,
    /// An answer before the request's body was read.
    Early,
    /// No answer, an orderly close.
    Close,
    /// No answer, a reset.
    Reset,
    /// Bytes that are no HTTP.
    Garbage,
    /// A body that stops before its end.
    CutBody,
    /// More bytes than the message has.
    Surplus,
    /// A whole answer after half a minute.
    Poll,
}

/// How a backend behaves from now on.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Time between a request and its answer, in microseconds.
    pub service_us: RangeInclusive<u64>,
    /// Of a thousand requests, how many get one of `odd`.
    pub odd_per_mille: u64,
    /// What they get.
    pub odd: Vec<Answer>,
    /// How much it can do at a time; `None` is everything.
    pub capacity: Option<Capacity>,
}

/// A server of limited strength. It works on in vain for clients that have gone away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Requests that are served at a time.
    pub at_once: usize,
    /// Requests that wait for their turn; any more get a 503 at once.
    pub queue: usize,
}

/// The turns of a server of limited strength.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// When each of its hands is free.
    free: Vec<Instant>,
    /// When those begin to be served that wait.
    begins: Vec<Instant>,
}

impl Turns {
    /// When a request that comes now and takes so long is done; `None` where there is no room for it.
    fn take(&mut self, capacity: Capacity, service: Duration, now: Instant) -> Option<Instant> {
        self.free.resize(capacity.at_once.max(1), Instant::ORIGIN);
        self.begins.retain(|begins| *begins > now);
        let hand = self.free.iter_mut().min()?;
        let begins = now.max(*hand);
        if begins > now {
            if self.begins.len() >= capacity.queue {
                return None;
            }
            self.begins.push(begins);
        }
        *hand = begins + service;
        Some(*hand)
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            service_us: 200..=5_000,
            odd_per_mille: 0,
            odd: Vec::new(),
            capacity: None,
        }
    }
}

impl Behaviour {
    /// Every request gets `answer`.
    pub fn always(answer: Answer) -> Self {
        Self {
            odd_per_mille: 1000,
            odd: vec![answer],
            ..Self::default()
        }
    }

    fn draw(&self, rng: &Rng) -> Answer {
        if self.odd.is_empty() || rng.below(1000) >= self.odd_per_mille {
            return Answer::Status(200);
        }
        let drawn = rng.below(self.odd.len() as u64) as usize;
        self.odd[drawn]
    }
}

/// One backend's program. A restart runs it again.
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) runtime: SimRuntime,
    pub(super) behaviour: Mutex<Behaviour>,
    pub(super) turns: Mutex<Turns>,
    pub(super) rng: Rng,
    pub(super) ledger: Arc<Ledger>,
}

impl Backend {
    /// Serves until dropped.
    pub(super) async fn run(self: Arc<Self>) {
        *lock(&self.turns) = Turns::default();
        let net = self.runtime.net();
        let bound = net
            .bind(ListenAddress::Exact(self.address), 1)
            .expect("a backend's port is its own");
        for socket in bound {
            let mut listener = net.listen(socket).expect("listening cannot fail here");
            while let Ok((stream, _)) = listener.accept().await {
                let backend = self.clone();
                self.runtime.spawn().spawn(async move {
                    let mut wire = Wire::new(stream);
                    // A connection that ends or breaks is everyday; what must not be is in the ledger.
                    if let Err(error) = backend.serve(&mut wire).await
                        && error.kind() == io::ErrorKind::InvalidData
                    {
                        let name = &backend.name;
                        backend
                            .ledger
                            .violation(format!("{name} was sent what is no HTTP/1.1: {error}"));
                    }
                });
            }
        }
    }

    async fn serve(&self, wire: &mut Wire<SimStream>) -> io::Result<()> {
        while let Some(head) = wire.head().await? {
            let mut answer = lock(&self.behaviour).draw(&self.rng);
            let Some(id) = number(&head, "x-id")? else {
                // A probe.
                let status = match answer {
                    Answer::Status(status) => status,
                    _ => 200,
                };
                let text = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                wire.write(text).await?;
                continue;
            };
            self.ledger.see(id, &self.name, self.runtime.timer().now());
            if head.all("host").count() != 1 {
                self.ledger
                    .violation(format!("request {id} has not one host"));
            }
            if answer != Answer::Early {
                self.read_body(wire, &head, id).await?;
            }
            let service = lock(&self.behaviour).service_us.clone();
            let width = service.end() - service.start() + 1;
            let mut service = Duration::from_micros(service.start() + self.rng.below(width));
            if answer == Answer::Poll {
                service = POLL;
            }
            let timer = self.runtime.timer();
            let mut done = timer.now() + service;
            let capacity = lock(&self.behaviour).capacity;
            if let Some(capacity) = capacity {
                let turn = lock(&self.turns).take(capacity, service, timer.now());
                match turn {
                    Some(turn) => done = turn,
                    None => (done, answer) = (timer.now(), Answer::Status(503)),
                }
            }
            timer.sleep_until(done).await;
            let size = number(&head, "x-down")?.unwrap_or(0);
            let bodyless = head.start.starts_with("HEAD ");
            if !self.answer(wire, id, size, bodyless, answer).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads a request's body and checks every byte of it.
    async fn read_body(&self, wire: &mut Wire<SimStream>, head: &Head, id: u64) -> io::Result<()> {
        let mut progress = Progress::new(head.framing(Framing::Length(0))?);
        let mut seen = 0;
        while let Piece::Data(data) = wire.piece(&mut progress).await? {
            if data != content(id, Way::Up, seen, data.len()) {
                let name = &self.name;
                self.ledger.violation(format!(
                    "{name}: wrong bytes in the body of request {id} near {seen}"
                ));
            }
            seen += data.len() as u64;
        }
        let whole = number(head, "x-up")?.unwrap_or(0);
        if seen != whole {
            self.ledger.violation(format!(
                "request {id} looks complete with {seen} of {whole} bytes"
            ));
        }
        Ok(())
    }

    /// Answers; false when the connection shall close.
    async fn answer(
        &self,
        wire: &mut Wire<SimStream>,
        id: u64,
        size: u64,
        bodyless: bool,
        answer: Answer,
    ) -> io::Result<bool> {
        let own = format!("x-backend: {}\r\nx-id: {id}\r\n", self.name);
        let (version, status, framing, sent) = match answer {
            Answer::Status(status) if self.rng.below(2) == 0 => (1, status, Framing::Chunked, size),
            Answer::Status(status) => (1, status, Framing::Length(size), size),
            Answer::ThenClose | Answer::Early | Answer::Surplus | Answer::Poll => {
                (1, 200, Framing::Length(size), size)
            }
            Answer::Http10 => (0, 200, Framing::Close, size),
            Answer::CutBody => (1, 200, Framing::Length(size + 1), size / 2),
            Answer::Close => return Ok(false),
            Answer::Reset => {
                SimNet::reset(wire.stream());
                return Ok(false);
            }
            Answer::Garbage => {
                wire.write("\u{1}no HTTP at all\r\n\r\n").await?;
                return Ok(false);
            }
        };
        let length = match framing {
            Framing::Length(length) => format!("content-length: {length}\r\n"),
            Framing::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
            Framing::Close => String::new(),
        };
        wire.write(format!("HTTP/1.{version} {status} X\r\n{own}{length}\r\n"))
            .await?;
        if !bodyless {
            self.write_body(wire, id, sent, framing).await?;
        }
        if answer == Answer::Surplus {
            let theft =
                "HTTP/1.1 200 OK\r\nx-id: 0\r\nx-backend: thief\r\ncontent-length: 0\r\n\r\n";
            wire.write(theft).await?;
        }
        Ok(matches!(
            answer,
            Answer::Status(_) | Answer::Surplus | Answer::Poll
        ))
    }

    async fn write_body(
        &self,
        wire: &mut Wire<SimStream>,
        id: u64,
        size: u64,
        framing: Framing,
    ) -> io::Result<()> {
        let mut sent = 0;
        while sent < size {
            let count = PIECE.min(usize::try_from(size - sent).unwrap_or(PIECE));
            let data = content(id, Way::Down, sent, count);
            if framing == Framing::Chunked {
                wire.write(format!("{count:x}\r\n")).await?;
                wire.write(data).await?;
                wire.write("\r\n").await?;
            } else {
                wire.write(data).await?;
            }
            sent += count as u64;
        }
        if framing == Framing::Chunked {
            wire.write("0\r\n\r\n").await?;
        }
        Ok(())
    }
}

/// The number in a field of our own.
pub(super) fn number(head: &Head, name: &str) -> io::Result<Option<u64>> {
    match head.text(name)? {
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a number of ours is changed")),
        None => Ok(None),
    }
}
