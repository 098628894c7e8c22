//! Load: clients that ask the balancer and check every byte of its answers.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use lb_core::rng::Rng;
use lb_core::time::{Instant, Timer as _};
use lb_engine::rt::{Net as _, Runtime as _, Spawn as _};

use super::SimStream;
use super::backend::number;
use super::ledger::{Ledger, Outcome, Way, content};
use super::runtime::SimRuntime;
use crate::conformance::wire::{Framing, Head, Piece, Progress, Wire};

/// How long a client waits for an answer, unless told.
const PATIENCE: Duration = Duration::from_secs(120);

/// The pause of a client before it asks once more, in microseconds.
const ONCE_MORE_US: RangeInclusive<u64> = 50_000..=150_000;

/// What clients do.
#[derive(Clone, Debug)]
pub struct Load {
    /// How requests come.
    pub pace: Pace,
    /// When the last one begins.
    pub until: Instant,
    /// How often a client of the open pace asks for the same thing: again after a pause, while it got no answer or a 5xx.
    /// Each time is a request of its own.
    pub tries: u32,
    /// How long a client waits for an answer.
    pub patience: Duration,
    /// Of a thousand requests, how many are POSTs; the others are GETs.
    pub posts_per_mille: u64,
    /// Of a thousand requests, how many are given up in their middle.
    pub aborts_per_mille: u64,
    /// Bytes of a request's body, for a POST.
    pub up: RangeInclusive<u64>,
    /// Bytes of an answer's body.
    pub down: RangeInclusive<u64>,
}

/// How requests come.
#[derive(Clone, Debug)]
pub enum Pace {
    /// So many clients, each asking on kept connections, its next request when the last is answered.
    Closed {
        /// How many.
        clients: usize,
        /// Time between an answer and the next request, in microseconds.
        think_us: RangeInclusive<u64>,
        /// Requests on one connection.
        per_connection: RangeInclusive<u64>,
    },
    /// So many requests each second, whatever becomes of them, each on its own connection.
    Open {
        /// How many.
        per_second: u32,
    },
}

impl Load {
    /// GETs by so many clients with short pauses.
    pub fn closed(clients: usize, until: Instant) -> Self {
        Self::new(
            Pace::Closed {
                clients,
                think_us: 0..=20_000,
                per_connection: 1..=20,
            },
            until,
        )
    }

    /// So many GETs each second.
    pub fn open(per_second: u32, until: Instant) -> Self {
        Self::new(Pace::Open { per_second }, until)
    }

    fn new(pace: Pace, until: Instant) -> Self {
        Self {
            pace,
            until,
            tries: 1,
            patience: PATIENCE,
            posts_per_mille: 0,
            aborts_per_mille: 0,
            up: 0..=20_000,
            down: 0..=20_000,
        }
    }
}

/// A host full of clients.
pub(super) struct Clients {
    pub(super) runtime: SimRuntime,
    pub(super) target: SocketAddr,
    pub(super) load: Load,
    pub(super) rng: Rng,
    pub(super) ledger: Arc<Ledger>,
    /// Clients that still run, of all loads.
    pub(super) running: Arc<AtomicUsize>,
}

/// Counts a running client.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// May the connection be used again?
#[derive(PartialEq, Eq)]
enum Then {
    Keep,
    Close,
}

impl Clients {
    /// Starts the clients.
    pub(super) fn start(self) {
        let all = Arc::new(self);
        let spawn = all.runtime.spawn().clone();
        match all.load.pace.clone() {
            Pace::Closed { clients, .. } => {
                for _ in 0..clients {
                    let (running, clients) = (Running::new(&all.running), all.clone());
                    spawn.spawn(async move {
                        let _running = running;
                        clients.closed_loop().await;
                    });
                }
            }
            Pace::Open { per_second } => {
                let (running, clients) = (Running::new(&all.running), all.clone());
                spawn.spawn(async move {
                    let _running = running;
                    clients.open_loop(per_second).await;
                });
            }
        }
    }

    fn draw(&self, range: &RangeInclusive<u64>) -> u64 {
        range.start() + self.rng.below(range.end() - range.start() + 1)
    }

    fn now(&self) -> Instant {
        self.runtime.timer().now()
    }

    async fn closed_loop(&self) {
        let Pace::Closed {
            think_us,
            per_connection,
            ..
        } = &self.load.pace
        else {
            return;
        };
        while self.now() < self.load.until {
            let mut connection = None;
            for _ in 0..self.draw(per_connection) {
                let think = Duration::from_micros(self.draw(think_us));
                self.runtime.timer().sleep_until(self.now() + think).await;
                if self.now() >= self.load.until || self.ask(&mut connection).await.0 == Then::Close
                {
                    break;
                }
            }
        }
    }

    async fn open_loop(self: &Arc<Self>, per_second: u32) {
        let pause = Duration::from_secs(1) / per_second;
        let mut next = self.now();
        while next < self.load.until {
            self.runtime.timer().sleep_until(next).await;
            next = next + pause;
            let (running, clients) = (Running::new(&self.running), self.clone());
            self.runtime.spawn().spawn(async move {
                let _running = running;
                clients.insist().await;
            });
        }
    }

    /// Asks on fresh connections until an answer comes that is worth having, or the tries are spent.
    async fn insist(&self) {
        for left in (0..self.load.tries).rev() {
            let mut connection = None;
            let (_, served) = self.ask(&mut connection).await;
            if served || left == 0 {
                return;
            }
            let pause = Duration::from_micros(self.draw(&ONCE_MORE_US));
            self.runtime.timer().sleep_until(self.now() + pause).await;
        }
    }

    /// One request, from its tag to its entry in the ledger; and whether its answer is worth having.
    async fn ask(&self, connection: &mut Option<Wire<SimStream>>) -> (Then, bool) {
        let post = self.rng.below(1000) < self.load.posts_per_mille;
        let up = if post { self.draw(&self.load.up) } else { 0 };
        let down = self.draw(&self.load.down);
        let aborts = self.rng.below(1000) < self.load.aborts_per_mille;
        let patience = if aborts {
            Duration::from_micros(self.rng.below(20_000))
        } else {
            self.load.patience
        };
        let id = self.ledger.ask(!post, self.now());
        let (outcome, then) = {
            let end = pin!(self.runtime.timer().sleep_until(self.now() + patience));
            let exchange = pin!(self.exchange(connection, id, post, up, down));
            match select(exchange, end).await {
                Either::Left((Ok((outcome, then)), _)) => (outcome, then),
                Either::Left((Err(error), _)) => {
                    if error.kind() == io::ErrorKind::InvalidData {
                        let what = format!("the answer to request {id} is no HTTP/1.1: {error}");
                        self.ledger.violation(what);
                    }
                    (Outcome::Broken(error.to_string()), Then::Close)
                }
                Either::Right(_) if aborts => (Outcome::Aborted, Then::Close),
                Either::Right(_) => (Outcome::TimedOut, Then::Close),
            }
        };
        let served = matches!(outcome, Outcome::Answered { status, .. } if status < 500);
        self.ledger.end(id, outcome, self.now());
        if then == Then::Close {
            *connection = None;
        }
        (then, served)
    }

    async fn exchange(
        &self,
        connection: &mut Option<Wire<SimStream>>,
        id: u64,
        post: bool,
        up: u64,
        down: u64,
    ) -> io::Result<(Outcome, Then)> {
        if connection.is_none() {
            let stream = self.runtime.net().connect(self.target).await?;
            *connection = Some(Wire::new(stream));
        }
        let wire = connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // An answer may come although the request could not be written to its end.
        let written = self.write_request(wire, id, post, up, down).await;
        let head = match wire.head().await {
            Ok(Some(head)) => head,
            Ok(None) => return Err(written.err().unwrap_or(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => return Err(error),
        };
        let outcome = self.read_answer(wire, &head, id, down).await?;
        let close = written.is_err() || head.all("connection").any(|value| value == b"close");
        if !wire.surplus().is_empty() {
            self.ledger
                .violation(format!("bytes follow the answer to request {id}"));
        }
        Ok((outcome, if close { Then::Close } else { Then::Keep }))
    }

    async fn write_request(
        &self,
        wire: &mut Wire<SimStream>,
        id: u64,
        post: bool,
        up: u64,
        down: u64,
    ) -> io::Result<()> {
        let method = if post { "POST" } else { "GET" };
        let chunked = post && self.rng.below(2) == 0;
        let framing = match (post, chunked) {
            (false, _) => String::new(),
            (true, true) => "transfer-encoding: chunked\r\n".to_owned(),
            (true, false) => format!("content-length: {up}\r\n"),
        };
        let head = format!(
            "{method} /r/{id} HTTP/1.1\r\nhost: app\r\nx-id: {id}\r\nx-up: {up}\r\nx-down: {down}\r\n{framing}\r\n"
        );
        wire.write(head).await?;
        let mut sent = 0;
        while sent < up {
            let count = (up - sent).min(1 + self.rng.below(5000));
            let size = usize::try_from(count).unwrap_or(0);
            let data = content(id, Way::Up, sent, size);
            if chunked {
                wire.write(format!("{size:x}\r\n")).await?;
                wire.write(data).await?;
                wire.write("\r\n").await?;
            } else {
                wire.write(data).await?;
            }
            sent += count;
        }
        if chunked {
            wire.write("0\r\n\r\n").await?;
        }
        Ok(())
    }

    async fn read_answer(
        &self,
        wire: &mut Wire<SimStream>,
        head: &Head,
        id: u64,
        down: u64,
    ) -> io::Result<Outcome> {
        let mut words = head.start.split(' ');
        let (version, status) = (
            words.next(),
            words.next().and_then(|word| word.parse().ok()),
        );
        let (Some("HTTP/1.1"), Some(status)) = (version, status) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                head.start.clone(),
            ));
        };
        let backend = head.text("x-backend")?.map(str::to_owned);
        if backend.is_some() && number(head, "x-id")? != Some(id) {
            self.ledger.violation(format!(
                "request {id} got the answer to {:?}",
                head.text("x-id")
            ));
        }
        let mut progress = Progress::new(head.framing(Framing::Close)?);
        let mut seen = 0;
        while let Piece::Data(data) = wire.piece(&mut progress).await? {
            if backend.is_some() && data != content(id, Way::Down, seen, data.len()) {
                self.ledger.violation(format!(
                    "wrong bytes in the answer to request {id} near {seen}"
                ));
            }
            seen += data.len() as u64;
        }
        if backend.is_some() && seen != down {
            self.ledger.violation(format!(
                "the answer to request {id} looks complete with {seen} of {down} bytes"
            ));
        }
        Ok(Outcome::Answered {
            status,
            backend,
            retry_after: head.all("retry-after").count() == 1,
        })
    }
}
