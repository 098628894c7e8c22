//! A client that sends the bytes it is told to and shows the bytes that come back.
//!
//! Blocking sockets of the standard library; no HTTP library, because the scenarios send what no library would.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::wait::PATIENCE;
use crate::wire::{Cut, Head, Incoming, Received};

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    incoming: Incoming<TcpStream>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The interim answers that came first.
    pub interim: Vec<Head>,
    /// The head.
    pub head: Head,
    /// The body; a complete one unless [`Client::answer`] was asked.
    pub body: Received,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.bytes).into_owned()
    }
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).unwrap_or_else(|error| panic!("connect {to}: {error}")))
    }

    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there, or not any more.
    pub fn try_connect(to: SocketAddr) -> std::io::Result<Self> {
        TcpStream::connect(to).map(Self::over)
    }

    /// Connects with kernel buffers of about this size, so that a slow reader is felt at once.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn with_buffers(to: SocketAddr, bytes: usize) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("socket");
        socket.set_recv_buffer_size(bytes).expect("receive buffer");
        socket.set_send_buffer_size(bytes).expect("send buffer");
        socket.connect(&to.into()).expect("connect");
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        let incoming = Incoming::new(stream.try_clone().expect("clone"));
        Self { stream, incoming }
    }

    /// How long a read waits before it reports [`Cut::Silent`]; [`PATIENCE`] unless set.
    pub fn patience(&self, patience: Duration) {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("timeout");
    }

    /// How long a write waits; [`PATIENCE`] unless set.
    pub fn write_patience(&self, patience: Duration) {
        self.stream
            .set_write_timeout(Some(patience))
            .expect("timeout");
    }

    /// The address of this end.
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("connected")
    }

    /// Sends bytes. That the peer does not want them any more is no error here: its answer tells more.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.try_send(bytes);
        self
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The peer takes no more; [`Cut::Silent`] if it merely does not read.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Cut> {
        Ok(self.stream.write_all(bytes.as_ref())?)
    }

    /// Sends what the peer takes before the write timeout, and says how much that was.
    pub fn try_send_some(&mut self, bytes: impl AsRef<[u8]>) -> Result<usize, Cut> {
        Ok(self.stream.write(bytes.as_ref())?)
    }

    /// Sends a FIN and stays ready to read.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let socket = Socket::from(self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("linger");
        // The reader's clone goes first, so that closing the socket is the last word.
        drop(self.incoming);
    }

    /// Raw access to what comes in.
    pub fn incoming(&mut self) -> &mut Incoming<TcpStream> {
        &mut self.incoming
    }

    /// Takes the reading half, for another thread.
    pub fn reader(&mut self) -> Incoming<TcpStream> {
        let fresh = Incoming::new(self.stream.try_clone().expect("clone"));
        std::mem::replace(&mut self.incoming, fresh)
    }

    /// The next head, an interim one included.
    ///
    /// # Panics
    /// When none comes.
    pub fn head(&mut self) -> Head {
        self.incoming
            .head()
            .unwrap_or_else(|cut| panic!("no answer: {cut:?}"))
    }

    /// The next final answer, as far as it comes.
    ///
    /// # Errors
    /// No head came.
    pub fn answer(&mut self, method: &str) -> Result<Response, Cut> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.incoming.head()?;
            match head.status() {
                101 | 200.. => break head,
                _ => interim.push(head),
            }
        };
        let body = self.incoming.body(head.response_framing(method));
        Ok(Response {
            interim,
            head,
            body,
        })
    }

    /// The next final answer, which must be whole.
    ///
    /// # Panics
    /// When none comes, or only a part of it.
    pub fn response(&mut self, method: &str) -> Response {
        let response = self
            .answer(method)
            .unwrap_or_else(|cut| panic!("no answer: {cut:?}"));
        assert_eq!(response.body.cut, None, "cut answer: {response:?}");
        response
    }

    /// Sends a GET and waits for its answer, on this connection.
    pub fn get(&mut self, path: &str) -> Response {
        self.send(get_head(path)).response("GET")
    }

    /// Waits for the connection's end and returns what came before it.
    pub fn rest(&mut self) -> (Vec<u8>, Cut) {
        let mut rest = Vec::new();
        loop {
            match self.incoming.piece() {
                Ok(piece) => rest.extend(piece),
                Err(cut) => return (rest, cut),
            }
        }
    }
}

/// The head of a plain GET.
pub fn get_head(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: site.example\r\n\r\n")
}

/// A GET on a connection of its own.
pub fn get(to: SocketAddr, path: &str) -> Response {
    Client::connect(to).get(path)
}

/// Sends `request` on a connection of its own and reads the answer.
pub fn exchange(to: SocketAddr, method: &str, request: impl AsRef<[u8]>) -> Response {
    Client::connect(to).send(request).response(method)
}
