//! The client's stream: it tells the watch when the client takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};
use lb_core::time::Timer;

use super::watch::Watched;

/// A client's stream.
pub(crate) struct ClientStream<S, C> {
    inner: S,
    watched: Arc<Watched>,
    timer: C,
}

// Nothing in it is pinned: a timer is never polled.
impl<S, C> Unpin for ClientStream<S, C> {}

impl<S, C: Timer> ClientStream<S, C> {
    pub(crate) fn new(inner: S, watched: Arc<Watched>, timer: C) -> Self {
        Self {
            inner,
            watched,
            timer,
        }
    }

    /// The stream as the runtime knows it.
    pub(crate) fn get_ref(&self) -> &S {
        &self.inner
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Pending => self.watched.write_blocked(|| self.timer.now()),
            Poll::Ready(_) => self.watched.write_flows(),
        }
    }
}

impl<S: AsyncRead + Unpin, C> AsyncRead for ClientStream<S, C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, C: Timer> AsyncWrite for ClientStream<S, C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
