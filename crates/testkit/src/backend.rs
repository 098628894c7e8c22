//! Backends that do what a scenario says: answer, freeze, stop, come back, cut, flood.
//!
//! Each runs on threads of this process and records what reaches it, byte for byte. Every request that arrives
//! is also held against the rules that keep one user's bytes out of another's message; a breach fails the
//! scenario when the backend is dropped.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::wait::{PATIENCE, Watch};
use crate::wire::{Cut, Head, Incoming, Received};

/// What happens to a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It waits for the next request.
    Next,
    /// It is closed.
    Close,
    /// It is reset.
    Reset,
}

/// What a handler comes back with; a broken connection needs no handling.
pub type Outcome = Result<Then, Cut>;

type Handler = dyn Fn(&mut Talk<'_>) -> Outcome + Send + Sync;

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The number of the connection it came on, counted from 0.
    pub connection: usize,
    /// Its head.
    pub head: Head,
    /// Its body, once a handler has read it.
    pub body: Option<Received>,
    /// When the head was complete.
    pub at: Instant,
}

#[derive(Default)]
struct Log {
    arrived: Vec<Arrived>,
    breaches: Vec<String>,
    open: HashMap<usize, TcpStream>,
}

struct Shared {
    handler: Box<Handler>,
    log: Watch<Log>,
    frozen: Watch<bool>,
    connections: AtomicUsize,
}

/// A server that a scenario commands.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Watch<Option<Listening>>,
    buffers: Option<usize>,
    // Bound and never listening: the port stays ours while the server is stopped, so that connects are refused
    // and nobody else gets it.
    _port: Socket,
}

struct Listening {
    stop: Arc<AtomicBool>,
    acceptor: JoinHandle<()>,
}

impl Backend {
    /// A server on a port that the system chooses.
    pub fn start(handler: impl Fn(&mut Talk<'_>) -> Outcome + Send + Sync + 'static) -> Self {
        Self::create(None, Box::new(handler))
    }

    /// The same with kernel buffers of about this size.
    pub fn with_buffers(
        bytes: usize,
        handler: impl Fn(&mut Talk<'_>) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        Self::create(Some(bytes), Box::new(handler))
    }

    /// A server that reads each request to its end and answers 200 with `text`.
    pub fn saying(text: &str) -> Self {
        let text = text.to_owned();
        Self::start(move |talk| {
            talk.body()?;
            talk.answer(200, &[], &text)
        })
    }

    fn create(buffers: Option<usize>, handler: Box<Handler>) -> Self {
        let port = bound(SocketAddr::from(([127, 0, 0, 1], 0)), None);
        let address = port.local_addr().expect("bound").as_socket().expect("IP");
        let backend = Self {
            address,
            shared: Arc::new(Shared {
                handler,
                log: Watch::default(),
                frozen: Watch::new(false),
                connections: AtomicUsize::new(0),
            }),
            listening: Watch::new(None),
            buffers,
            _port: port,
        };
        backend.resume();
        backend
    }

    /// Where it listens, or did.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to listen again after [`stop`](Self::stop), on the same port.
    pub fn resume(&self) {
        self.listening.change(|listening| {
            assert!(listening.is_none(), "already listening");
            let socket = bound(self.address, self.buffers);
            socket.listen(1024).expect("listen");
            let stop = Arc::new(AtomicBool::new(false));
            let (shared, stopped) = (self.shared.clone(), stop.clone());
            let acceptor = std::thread::spawn(move || accept(&socket.into(), &shared, &stopped));
            *listening = Some(Listening { stop, acceptor });
        });
    }

    /// Ends like a process that is killed: nobody listens, every connection is closed.
    pub fn stop(&self) {
        let Some(listening) = self.listening.change(Option::take) else {
            return;
        };
        listening.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = listening.acceptor.join();
        self.close_connections();
    }

    /// Closes every open connection and goes on listening.
    pub fn close_connections(&self) {
        self.shared.log.change(|log| {
            for (_, stream) in log.open.drain() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// Like a stopped process: the kernel accepts connections and takes bytes, nothing ever answers.
    pub fn freeze(&self) {
        self.shared.frozen.change(|frozen| *frozen = true);
    }

    /// Answers again, what has waited first.
    pub fn thaw(&self) {
        self.shared.frozen.change(|frozen| *frozen = false);
    }

    /// Every request that arrived so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.shared.log.read(|log| log.arrived.clone())
    }

    /// How many requests arrived so far.
    pub fn count(&self) -> usize {
        self.shared.log.read(|log| log.arrived.len())
    }

    /// The only request that arrived.
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub fn only(&self) -> Arrived {
        let mut arrived = self.arrived();
        assert_eq!(arrived.len(), 1, "{arrived:#?}");
        arrived.remove(0)
    }

    /// The last request that arrived.
    ///
    /// # Panics
    /// When there is none.
    pub fn last(&self) -> Arrived {
        self.arrived().pop().expect("a request arrived")
    }

    /// How many connections were opened so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.shared.log.read(|log| log.open.len())
    }

    /// Waits for a request that `wanted` recognises.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`].
    pub fn wait_for(&self, mut wanted: impl FnMut(&Arrived) -> bool) -> Arrived {
        self.shared
            .log
            .wait_for(PATIENCE, |log| {
                log.arrived.iter().find(|arrived| wanted(arrived)).cloned()
            })
            .expect("the request did not arrive")
    }

    /// Waits until this many requests have arrived in all.
    ///
    /// # Panics
    /// When they do not within [`PATIENCE`].
    pub fn wait_for_count(&self, count: usize) {
        self.shared
            .log
            .wait_for(PATIENCE, |log| (log.arrived.len() >= count).then_some(()))
            .unwrap_or_else(|| panic!("{count} requests did not arrive, only {}", self.count()));
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.thaw();
        self.stop();
        let breaches = self.shared.log.read(|log| log.breaches.clone());
        if !std::thread::panicking() {
            assert!(breaches.is_empty(), "{}", breaches.join("\n"));
        }
    }
}

/// A socket bound to `address`, which others may share as long as only one listens.
fn bound(address: SocketAddr, buffers: Option<usize>) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket");
    socket.set_reuse_address(true).expect("reuse");
    if let Some(bytes) = buffers {
        socket.set_recv_buffer_size(bytes).expect("receive buffer");
        socket.set_send_buffer_size(bytes).expect("send buffer");
    }
    socket.bind(&address.into()).expect("bind");
    socket
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, stop: &AtomicBool) {
    while let Ok((stream, _)) = listener.accept() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
        let (Ok(()), Ok(ours)) = (stream.set_nodelay(true), stream.try_clone()) else {
            continue;
        };
        shared.log.change(|log| log.open.insert(connection, ours));
        let shared = shared.clone();
        std::thread::spawn(move || {
            serve(&shared, &stream, connection);
            // Closing the last handle closes the connection: by FIN, or by RST where a linger of zero was set. What
            // is no longer counted as open is closed.
            drop(stream);
            shared.log.change(|log| drop(log.open.remove(&connection)));
        });
    }
}

fn serve(shared: &Shared, stream: &TcpStream, connection: usize) {
    let Ok(source) = stream.try_clone() else {
        return;
    };
    let mut incoming = Incoming::new(source);
    while let Ok(head) = incoming.head() {
        let index = shared.log.change(|log| {
            log.breaches.extend(breach(&head));
            log.arrived.push(Arrived {
                connection,
                head: head.clone(),
                body: None,
                at: Instant::now(),
            });
            log.arrived.len() - 1
        });
        // However long: a scenario that forgets to thaw ends with the backend's drop.
        while shared
            .frozen
            .wait_for(PATIENCE, |frozen| (!frozen).then_some(()))
            .is_none()
        {}
        let mut talk = Talk {
            shared,
            stream,
            incoming: &mut incoming,
            head,
            index,
            connection,
        };
        match (shared.handler)(&mut talk) {
            Ok(Then::Next) => {}
            Ok(Then::Reset) => return reset(stream),
            Ok(Then::Close) | Err(_) => return,
        }
    }
}

/// The next close of this socket, whichever handle it comes from, is a reset.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// What no proxy may ever send, whoever its client is.
fn breach(head: &Head) -> Option<String> {
    let (te, length) = (head.all("transfer-encoding"), head.all("content-length"));
    let digits = |value: &String| !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let rule = if head.all("host").len() != 1 {
        "exactly one Host"
    } else if te.len() + length.len() > 1 {
        "one framing"
    } else if te.iter().any(|value| value != "chunked") {
        "no coding but chunked"
    } else if !length.iter().all(digits) {
        "a canonical length"
    } else if !head.first_line().ends_with(" HTTP/1.1") {
        "version 1.1"
    } else {
        return None;
    };
    Some(format!("a backend must see {rule}:\n{head:?}"))
}

/// A request and the connection it came on, in the hands of a handler.
pub struct Talk<'a> {
    shared: &'a Shared,
    stream: &'a TcpStream,
    incoming: &'a mut Incoming<TcpStream>,
    head: Head,
    index: usize,
    /// The number of the connection, counted from 0.
    pub connection: usize,
}

impl Talk<'_> {
    /// The request's head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Is the target this one?
    pub fn is(&self, target: &str) -> bool {
        self.head.target() == target
    }

    /// Reads the request's body and records it.
    ///
    /// # Errors
    /// The body is not whole.
    pub fn body(&mut self) -> Result<Received, Cut> {
        let body = self.incoming.body(self.head.request_framing());
        self.shared
            .log
            .change(|log| log.arrived[self.index].body = Some(body.clone()));
        body.cut.map_or(Ok(body), Err)
    }

    /// What comes in, raw.
    pub fn incoming(&mut self) -> &mut Incoming<impl io::Read> {
        self.incoming
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The peer takes no more.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Cut> {
        let mut stream = self.stream;
        Ok(stream.write_all(bytes.as_ref())?)
    }

    /// Sends a FIN; reading goes on.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a whole answer with a `Content-Length`; `fields` are lines without their end.
    ///
    /// # Errors
    /// The peer takes no more.
    pub fn answer(&mut self, status: u16, fields: &[&str], body: impl AsRef<[u8]>) -> Outcome {
        let body = body.as_ref();
        let mut answer = format!("HTTP/1.1 {status} Some Reason\r\n");
        for field in fields {
            answer.push_str(field);
            answer.push_str("\r\n");
        }
        answer.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut answer = answer.into_bytes();
        if self.head.method() != "HEAD" {
            answer.extend_from_slice(body);
        }
        self.send(answer)?;
        Ok(Then::Next)
    }

    /// Waits until the peer closes, and says how. What it still sends is thrown away.
    pub fn end(&mut self) -> Cut {
        loop {
            if let Err(cut) = self.incoming.piece() {
                return cut;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, exchange, get};

    #[test]
    fn it_answers_on_a_kept_connection_and_records_what_arrived() {
        let backend = Backend::saying("hello");
        let mut client = Client::connect(backend.address());
        assert_eq!(client.get("/1").text(), "hello");
        client.send(
            "POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        );
        assert_eq!(client.response("POST").status(), 200);
        let arrived = backend.arrived();
        assert_eq!(arrived[1].head.target(), "/2");
        assert_eq!(arrived[1].body.as_ref().unwrap().bytes, b"ab");
        assert_eq!(backend.connections(), 1);
    }

    #[test]
    fn a_stopped_one_refuses_and_comes_back_on_its_port() {
        let backend = Backend::saying("hello");
        let mut kept = Client::connect(backend.address());
        kept.get("/");
        for _ in 0..20 {
            backend.stop();
            assert!(TcpStream::connect(backend.address()).is_err());
            backend.resume();
            assert_eq!(get(backend.address(), "/").text(), "hello");
        }
        assert_ne!(kept.rest().1, Cut::Silent, "a stop closes connections");
    }

    #[test]
    fn a_frozen_one_takes_requests_and_answers_when_thawed() {
        let backend = Backend::saying("late");
        backend.freeze();
        let mut client = Client::connect(backend.address());
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        backend.wait_for_count(1);
        client.patience(Duration::from_millis(20));
        assert_eq!(client.answer("GET").unwrap_err(), Cut::Silent);
        backend.thaw();
        client.patience(PATIENCE);
        assert_eq!(client.response("GET").text(), "late");
    }

    #[test]
    fn a_reset_and_a_close_look_different_to_the_client() {
        let backend = Backend::start(|talk| {
            let then = if talk.is("/reset") {
                Then::Reset
            } else {
                Then::Close
            };
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")?;
            Ok(then)
        });
        for (path, cut) in [("/reset", Cut::Reset), ("/close", Cut::Fin)] {
            let mut client = Client::connect(backend.address());
            client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert!(match client.answer("GET") {
                Ok(answer) => answer.body.cut == Some(cut),
                Err(early) => early == cut,
            });
        }
    }

    #[test]
    #[should_panic(expected = "one framing")]
    fn two_framings_in_one_request_fail_the_scenario() {
        let backend = Backend::saying("ok");
        exchange(
            backend.address(),
            "POST",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        );
    }
}
