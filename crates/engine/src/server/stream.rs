//! The client's stream as the server sees it: it tells the watch what moves, and turns a broken answer into a reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};
use lb_core::time::Timer;

use super::connection::Link;
use crate::rt::Net;

/// A client's stream.
pub(crate) struct ClientStream<N: Net, C> {
    inner: N::Stream,
    link: Arc<Link>,
    timer: C,
}

// Nothing in it is pinned: a runtime promises that of the stream, and a timer is never polled.
impl<N: Net, C> Unpin for ClientStream<N, C> {}

impl<N: Net, C: Timer> ClientStream<N, C> {
    pub(crate) fn new(inner: N::Stream, link: Arc<Link>, timer: C) -> Self {
        Self { inner, link, timer }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Pending => self.link.watched.write_blocked(|| self.timer.now()),
            Poll::Ready(_) => self.link.watched.write_flows(),
        }
    }
}

impl<N: Net, C: Timer> AsyncRead for ClientStream<N, C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // Whether it is bytes or the end that arrives makes no difference to a deadline.
        let result = Pin::new(&mut this.inner).poll_read(cx, buf);
        if result.is_ready() {
            this.link.watched.bytes_arrived(|| this.timer.now());
        }
        result
    }
}

impl<N: Net, C: Timer> AsyncWrite for ClientStream<N, C> {
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

impl<N: Net, C> Drop for ClientStream<N, C> {
    fn drop(&mut self) {
        if self.link.is_broken() {
            N::reset(&self.inner);
        }
    }
}
