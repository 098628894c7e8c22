//! One end of a simulated connection.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

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

impl Read for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        let bytes = ready!(self.conn.read(&self.network, self.side, cx, room))?;
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl Write for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.conn.write(&self.network, self.side, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
