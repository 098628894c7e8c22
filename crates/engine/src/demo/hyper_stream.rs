//! A stream in the shape of hyper's: the demo's servers are hyper's.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBufCursor, Write};

/// A stream in the shape that hyper reads and writes. Shutting it down closes the stream inside.
#[derive(Debug)]
pub(super) struct HyperStream<T>(T);

impl<T> HyperStream<T> {
    /// Wraps `inner`.
    pub(super) fn new(inner: T) -> Self {
        Self(inner)
    }
}

/// Bytes that hyper gets at a time, at most.
const READ: usize = 64 * 1024;

thread_local! {
    /// hyper's buffer is not initialised, so without unsafe code there must be a copy: it goes through one buffer per
    /// thread.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

impl<T: AsyncRead + Unpin> Read for HyperStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        BUFFER.with_borrow_mut(|buffer| {
            let room = buf.remaining().min(READ);
            let count = ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer[..room]))?;
            buf.put_slice(&buffer[..count]);
            Poll::Ready(Ok(()))
        })
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
