//! One end of a simulated connection.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};

use super::Network;
use super::conn::Conn;

/// One end of a connection. Dropping it closes the connection.
pub struct SimStream {
    network: Arc<Network>,
    conn: Arc<Conn>,
    side: usize,
}

impl SimStream {
    pub(super) fn new(network: &Arc<Network>, conn: &Arc<Conn>, side: usize) -> Self {
        Self {
            network: network.clone(),
            conn: conn.clone(),
            side,
        }
    }

    pub(super) fn reset_on_drop(&self) {
        self.conn.reset_on_drop(self.side);
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.conn.read(&self.network, self.side, cx, buf)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.conn.write(&self.network, self.side, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let joined: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.conn.write(&self.network, self.side, cx, &joined)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.conn.shutdown(&self.network, self.side);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimStream(side {})", self.side)
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.conn.close(&self.network, self.side);
    }
}
