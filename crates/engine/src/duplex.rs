//! Between the streams of hyper and those of `futures::io`: an upgraded connection as a plain byte stream, for both
//! sides of a tunnel, and a plain byte stream as one that hyper can use.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

/// Any hyper stream in the shape of `futures::io`; closing it shuts the writing side down.
#[derive(Debug)]
pub struct DuplexStream<T> {
    /// What was read from the stream before it became this one.
    early: Bytes,
    inner: T,
}

impl<T> DuplexStream<T> {
    /// Wraps `inner`, usually a [`hyper::upgrade::Upgraded`].
    pub fn new(inner: T) -> Self {
        Self::behind(Bytes::new(), inner)
    }

    /// Wraps `inner`, of which `early` was read already.
    pub fn behind(early: Bytes, inner: T) -> Self {
        Self { early, inner }
    }
}

impl<T: Read + Unpin> AsyncRead for DuplexStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buf.len());
            buf[..count].copy_from_slice(&self.early.split_to(count));
            return Poll::Ready(Ok(count));
        }
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf.unfilled()))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<T: Write + Unpin> AsyncWrite for DuplexStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The other way round: any stream of `futures::io` in the shape that hyper reads and writes, for runtimes that speak
/// `futures::io`. Shutting it down closes the stream inside.
#[derive(Debug)]
pub struct HyperStream<T>(T);

impl<T> HyperStream<T> {
    /// Wraps `inner`.
    pub fn new(inner: T) -> Self {
        Self(inner)
    }

    /// The stream inside.
    pub fn get_ref(&self) -> &T {
        &self.0
    }
}

impl<T: AsyncRead + Unpin> Read for HyperStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = Pin::new(&mut self.0);
        let mut pending = false;
        let read = crate::io::fill(&mut buf, |bytes| match inner.poll_read(cx, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                pending = true;
                Ok(0)
            }
        });
        if pending {
            return Poll::Pending;
        }
        Poll::Ready(read.map(drop))
    }
}

impl<T: AsyncWrite + Unpin> Write for HyperStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
