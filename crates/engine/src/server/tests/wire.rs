//! The client's side of a connection, and a network of which only the reset is needed.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, IoSlice, Read as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};
use lb_core::config::settings::ListenAddress;

use crate::rt::{Listen, Net};

/// The client's side of a connection.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) to_server: VecDeque<u8>,
    /// The client sends no more.
    pub(super) closed: bool,
    pub(super) received: Vec<u8>,
    /// Bytes that the client takes; what is beyond waits.
    pub(super) takes: usize,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// The server sends no more.
    pub(super) shut: bool,
    pub(super) reset: bool,
    pub(super) dropped: bool,
}

/// The server's side of it.
pub(super) struct End(pub(super) Arc<Mutex<Wire>>);

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        if wire.to_server.is_empty() && !wire.closed {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(wire.to_server.read(buf))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        assert!(!wire.shut);
        let taken = buf.len().min(wire.takes - wire.received.len());
        if taken == 0 {
            wire.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        wire.received.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
        self.poll_write(cx, &bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().shut = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().unwrap().dropped = true;
    }
}

impl Listen for End {
    type Stream = End;

    async fn accept(&mut self) -> io::Result<(End, SocketAddr)> {
        pending().await
    }
}

/// A network of which only the reset is needed.
#[derive(Clone)]
pub(super) struct Nowhere;

impl Net for Nowhere {
    type Stream = End;
    type Bound = ();
    type Listener = End;

    async fn connect(&self, _: SocketAddr) -> io::Result<End> {
        pending().await
    }

    fn bind(&self, _: ListenAddress, _: usize) -> io::Result<Vec<()>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn local_addr((): &()) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn listen(&self, (): ()) -> io::Result<End> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        pending().await
    }

    fn reset(stream: &End) {
        stream.0.lock().unwrap().reset = true;
    }
}
