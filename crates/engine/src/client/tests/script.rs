//! A network whose other end is a script: every connection answers the request heads that reach it, one after the
//! other, with bytes written down before. All in one task, so nothing depends on scheduling.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};
use lb_core::config::settings::ListenAddress;

use crate::rt::{Listen, Net};

/// What a connection does.
#[derive(Clone)]
pub(super) enum Connection {
    /// It is not made, with this error.
    Fails(io::ErrorKind),
    /// It is never made.
    Hangs,
    /// It is made.
    Opens(Script),
}

/// What the server on a connection does.
#[derive(Clone, Default)]
pub(super) struct Script {
    /// Sent before anything was asked.
    pub(super) banner: &'static [u8],
    /// How the connection ends as soon as it is made.
    pub(super) from_start: End,
    /// Sent after each request head in turn.
    pub(super) answers: VecDeque<Vec<u8>>,
    /// What follows the last answer.
    pub(super) end: End,
    /// Bytes of requests that the server takes; what is beyond waits for ever.
    pub(super) takes: Option<usize>,
}

/// The end of a script.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum End {
    #[default]
    Silence,
    Close,
    Reset,
}

/// A connection that answers each request with the next of `answers`.
pub(super) fn answers(answers: &[&str]) -> Connection {
    ends(answers, End::Silence)
}

/// The same, and then the server closes or resets it.
pub(super) fn ends(answers: &[&str], end: End) -> Connection {
    Connection::Opens(Script {
        answers: answers
            .iter()
            .map(|answer| answer.as_bytes().to_vec())
            .collect(),
        end,
        ..Script::default()
    })
}

/// What happened on one connection.
#[derive(Default)]
pub(super) struct Wire {
    script: Script,
    answered: usize,
    to_client: VecDeque<u8>,
    ended: End,
    reader: Option<Waker>,
    pub(super) received: Vec<u8>,
    pub(super) dropped: bool,
}

impl Wire {
    /// The server ends the connection now.
    pub(super) fn end(&mut self, end: End) {
        self.ended = end;
        self.wake();
    }

    /// The server sends something now.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.to_client.extend(bytes);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn received(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    fn take(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended == End::Reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let room = self.script.takes.unwrap_or(usize::MAX) - self.received.len();
        if room == 0 {
            return Poll::Pending;
        }
        let taken = bytes.len().min(room);
        self.received.extend_from_slice(&bytes[..taken]);
        let heads = self
            .received
            .windows(4)
            .filter(|w| w == b"\r\n\r\n")
            .count();
        while self.answered < heads && !self.script.answers.is_empty() {
            self.answered += 1;
            let answer = self.script.answers.pop_front().unwrap();
            self.send(&answer);
            if self.script.answers.is_empty() {
                let end = self.script.end;
                self.end(end);
            }
        }
        Poll::Ready(Ok(taken))
    }
}

/// Connections made in the order of a script; then every one is refused.
#[derive(Clone, Default)]
pub(super) struct ScriptNet {
    to_come: Arc<Mutex<VecDeque<Connection>>>,
    pub(super) made: Arc<Mutex<Vec<Arc<Mutex<Wire>>>>>,
    pub(super) asked: Arc<Mutex<Vec<SocketAddr>>>,
    pub(super) names: Arc<Mutex<VecDeque<io::Result<Vec<SocketAddr>>>>>,
}

impl ScriptNet {
    pub(super) fn new(connections: impl IntoIterator<Item = Connection>) -> Self {
        let net = Self::default();
        net.to_come.lock().unwrap().extend(connections);
        net
    }

    /// The connection made as the `index`th.
    pub(super) fn wire(&self, index: usize) -> Arc<Mutex<Wire>> {
        self.made.lock().unwrap()[index].clone()
    }

    pub(super) fn made(&self) -> usize {
        self.made.lock().unwrap().len()
    }
}

pub(super) struct ClientEnd(Arc<Mutex<Wire>>);

impl Drop for ClientEnd {
    fn drop(&mut self) {
        self.0.lock().unwrap().dropped = true;
    }
}

impl AsyncRead for ClientEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        if wire.to_client.is_empty() {
            return match wire.ended {
                End::Silence => {
                    wire.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
                End::Close => Poll::Ready(Ok(0)),
                End::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        Poll::Ready(wire.to_client.read(buf))
    }
}

impl AsyncWrite for ClientEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().take(buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(super) struct NoListener;

impl Listen for NoListener {
    type Stream = ClientEnd;

    async fn accept(&mut self) -> io::Result<(ClientEnd, SocketAddr)> {
        pending().await
    }
}

impl Net for ScriptNet {
    type Stream = ClientEnd;
    type Bound = ();
    type Listener = NoListener;

    async fn connect(&self, to: SocketAddr) -> io::Result<ClientEnd> {
        self.asked.lock().unwrap().push(to);
        let next = self.to_come.lock().unwrap().pop_front();
        match next {
            None => Err(io::ErrorKind::ConnectionRefused.into()),
            Some(Connection::Fails(kind)) => Err(kind.into()),
            Some(Connection::Hangs) => pending().await,
            Some(Connection::Opens(script)) => {
                let mut wire = Wire::default();
                wire.to_client.extend(script.banner);
                wire.ended = script.from_start;
                wire.script = script;
                let wire = Arc::new(Mutex::new(wire));
                self.made.lock().unwrap().push(wire.clone());
                Ok(ClientEnd(wire))
            }
        }
    }

    fn bind(&self, _: ListenAddress, _: usize) -> io::Result<Vec<()>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn local_addr((): &()) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn listen(&self, (): ()) -> io::Result<NoListener> {
        Ok(NoListener)
    }

    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let answer = self.names.lock().unwrap().pop_front();
        match answer {
            Some(answer) => answer,
            None => pending().await,
        }
    }

    fn reset(_: &ClientEnd) {}
}
