//! The servers behind the balancers: `/b/N` answers N bytes, everything else two. One thread, any number of listeners.
//!
//! They do as little as can be done, so that what is measured is the balancer: one shared body, no copy of it, no
//! request looked at twice. Request bodies are read and dropped.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::http::{self, Body};
use super::poll::{Poller, Ready};

/// No answer is longer.
const BODY_MAX: u64 = 4 << 20;
/// How long a wait may last before the order to stop is looked at.
const GLANCE: Duration = Duration::from_millis(100);

static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| vec![b'x'; BODY_MAX as usize]);

/// What can be changed from outside while it serves.
#[derive(Debug, Default)]
pub(super) struct Controls {
    /// How many microseconds every answer waits.
    pub(super) delay_us: AtomicU64,
    /// Ends it.
    pub(super) stop: AtomicBool,
}

/// Serves on these listeners until told to stop.
pub(super) fn serve(listeners: &[TcpListener], controls: &Controls) -> io::Result<()> {
    Origin::new(listeners, controls)?.run()
}

struct Origin<'a> {
    listeners: &'a [TcpListener],
    controls: &'a Controls,
    poller: Poller,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Answers that wait for their time.
    late: BinaryHeap<Reverse<(Instant, u64)>>,
    scratch: Vec<u8>,
    generation: u32,
}

impl<'a> Origin<'a> {
    fn new(listeners: &'a [TcpListener], controls: &'a Controls) -> io::Result<Self> {
        let poller = Poller::new()?;
        for (index, listener) in listeners.iter().enumerate() {
            listener.set_nonblocking(true)?;
            poller.add(listener, index as u64, false)?;
        }
        LazyLock::force(&BODY);
        Ok(Self {
            listeners,
            controls,
            poller,
            connections: Vec::new(),
            free: Vec::new(),
            late: BinaryHeap::new(),
            scratch: vec![0; 64 << 10],
            generation: 0,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        while !self.controls.stop.load(Ordering::Relaxed) {
            let patience = self.late.peek().map_or(GLANCE, |Reverse((due, _))| {
                due.saturating_duration_since(Instant::now()).min(GLANCE)
            });
            self.poller.wait(patience, &mut ready)?;
            for ready in &ready {
                match self.listeners.get(ready.key as usize) {
                    Some(listener) => self.accept(listener)?,
                    None => self.serve(*ready),
                }
            }
            self.send_late();
        }
        Ok(())
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Gone before we came, or out of files: the next one may fare better.
                Err(_) => return Ok(()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.generation = self.generation.wrapping_add(1);
            let key = self.key(slot);
            self.poller.add(&stream, key, false)?;
            self.connections[slot] = Some(Connection::new(stream, key));
        }
    }

    /// Keys below the number of listeners are theirs.
    fn key(&self, slot: usize) -> u64 {
        u64::from(self.generation) << 32 | (slot + self.listeners.len()) as u64
    }

    fn slot(&self, key: u64) -> Option<usize> {
        let slot = (key & u64::from(u32::MAX)) as usize - self.listeners.len();
        let connection = self.connections.get(slot)?.as_ref()?;
        (connection.key == key).then_some(slot)
    }

    fn serve(&mut self, ready: Ready) {
        let Some(slot) = self.slot(ready.key) else {
            return;
        };
        let connection = self.connections[slot].as_mut().expect("looked up above");
        let result = if ready.read {
            connection.read(&mut self.scratch)
        } else {
            Ok(())
        };
        self.settle(slot, result);
    }

    /// Sends what is due at `slot`, and drops the connection at its end.
    fn settle(&mut self, slot: usize, result: io::Result<()>) {
        let connection = self.connections[slot].as_mut().expect("a slot in use");
        let result = result.and_then(|()| {
            if connection.phase == Phase::Ready {
                let delay = self.controls.delay_us.load(Ordering::Relaxed);
                if delay > 0 {
                    connection.phase = Phase::Held;
                    let due = Instant::now() + Duration::from_micros(delay);
                    self.late.push(Reverse((due, connection.key)));
                } else {
                    connection.phase = Phase::Answer;
                }
            }
            connection.answer(&self.poller)
        });
        if result.is_err() {
            self.connections[slot] = None;
            self.free.push(slot);
        }
    }

    fn send_late(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, key))) = self.late.peek().copied() {
            if due > now {
                return;
            }
            self.late.pop();
            if let Some(slot) = self.slot(key) {
                self.connections[slot]
                    .as_mut()
                    .expect("looked up above")
                    .phase = Phase::Answer;
                self.settle(slot, Ok(()));
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for a request's head.
    Head,
    /// Waits for the rest of its body.
    Body(Body),
    /// Has an answer, which may be sent.
    Ready,
    /// Has an answer whose time has not come.
    Held,
    /// Sends it.
    Answer,
}

struct Connection {
    stream: TcpStream,
    key: u64,
    phase: Phase,
    input: Vec<u8>,
    /// The head of the answer, and how much of it is sent.
    head: Vec<u8>,
    head_sent: usize,
    body_left: usize,
    closes: bool,
    watched_for_room: bool,
}

impl Connection {
    fn new(stream: TcpStream, key: u64) -> Self {
        Self {
            stream,
            key,
            phase: Phase::Head,
            input: Vec::new(),
            head: Vec::new(),
            head_sent: 0,
            body_left: 0,
            closes: false,
            watched_for_room: false,
        }
    }

    fn read(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.take(&scratch[..count])?;
                    if count < scratch.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Phase::Body(body) = &mut self.phase
            && self.input.is_empty()
        {
            let (used, done) = body.eat(bytes);
            bytes = &bytes[used..];
            if done {
                self.phase = Phase::Ready;
            }
        }
        self.input.extend_from_slice(bytes);
        self.advance()
    }

    /// Goes as far as the input allows, up to the next answer.
    fn advance(&mut self) -> io::Result<()> {
        if self.phase == Phase::Head {
            let Some(request) = http::request(&self.input)? else {
                return Ok(());
            };
            self.input.drain(..request.bytes);
            self.prepare(&request)?;
            self.phase = if request.body.is_empty() {
                Phase::Ready
            } else {
                Phase::Body(request.body)
            };
        }
        if let Phase::Body(body) = &mut self.phase {
            let (used, done) = body.eat(&self.input);
            self.input.drain(..used);
            if done {
                self.phase = Phase::Ready;
            }
        }
        Ok(())
    }

    fn prepare(&mut self, request: &http::RequestHead) -> io::Result<()> {
        let length = request.wanted.unwrap_or(2).min(BODY_MAX);
        self.closes = request.closes;
        self.head.clear();
        self.head_sent = 0;
        self.body_left = if request.head_only {
            0
        } else {
            length as usize
        };
        if request.expects {
            // Written now, not with the answer: the client waits for it.
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        write!(
            self.head,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{}\r\n",
            if self.closes {
                "Connection: close\r\n"
            } else {
                ""
            }
        )
    }

    /// Sends while there is something to send and room for it; then goes on with what has come meanwhile.
    fn answer(&mut self, poller: &Poller) -> io::Result<()> {
        while self.phase == Phase::Answer {
            if self.head_sent == self.head.len() && self.body_left == 0 {
                self.watch_for_room(poller, false)?;
                if self.closes {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                self.phase = Phase::Head;
                self.advance()?;
                if self.phase == Phase::Ready {
                    self.phase = Phase::Answer;
                }
                continue;
            }
            let parts = [
                IoSlice::new(&self.head[self.head_sent..]),
                IoSlice::new(&BODY[..self.body_left]),
            ];
            match self.stream.write_vectored(&parts) {
                Ok(count) => {
                    let of_head = count.min(self.head.len() - self.head_sent);
                    self.head_sent += of_head;
                    self.body_left -= count - of_head;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.watch_for_room(poller, true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn watch_for_room(&mut self, poller: &Poller, watch: bool) -> io::Result<()> {
        if self.watched_for_room != watch {
            self.watched_for_room = watch;
            poller.change(&self.stream, self.key, watch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `talk` against two listeners of one origin.
    fn with_origin(delay: Duration, talk: impl FnOnce([std::net::SocketAddr; 2])) {
        let listeners = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [0, 1].map(|index: usize| listeners[index].local_addr().unwrap());
        let controls = Controls::default();
        let micros = u64::try_from(delay.as_micros()).unwrap();
        controls.delay_us.store(micros, Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&listeners, &controls).unwrap());
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| talk(addresses)));
            controls.stop.store(true, Ordering::Relaxed);
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
    }

    fn ask(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_answers_as_many_bytes_as_asked_for_on_every_listener() {
        with_origin(Duration::ZERO, |addresses| {
            for address in addresses {
                let answer = ask(
                    address,
                    "GET /b/70000 HTTP/1.1\r\nConnection: close\r\n\r\n",
                );
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                assert!(head.contains("Content-Length: 70000\r\n"), "{head}");
                assert_eq!(body, "x".repeat(70000));
            }
        });
    }

    #[test]
    fn it_answers_requests_in_a_row_whatever_bodies_they_carry() {
        with_origin(Duration::ZERO, |[address, _]| {
            let answer = ask(
                address,
                "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b/1 HTTP/1.1\r\n\r\n\
                 POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n\
                 HEAD /b/9 HTTP/1.0\r\n\r\n",
            );
            let lengths: Vec<_> = answer
                .lines()
                .filter(|line| line.starts_with("Content-Length"))
                .collect();
            let wanted = [2, 1, 2, 9].map(|length| format!("Content-Length: {length}"));
            assert_eq!(lengths, wanted, "{answer}");
        });
    }

    #[test]
    fn a_delayed_answer_comes_no_sooner() {
        with_origin(Duration::from_millis(30), |[address, _]| {
            let start = Instant::now();
            let answer = ask(address, "GET / HTTP/1.0\r\n\r\n");
            assert!(start.elapsed() >= Duration::from_millis(30));
            assert!(answer.ends_with("\r\n\r\nxx"), "{answer}");
        });
    }
}
