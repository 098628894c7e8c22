//! Sockets of async-io, the reactor below async-std.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Async;
use async_std::net::ToSocketAddrs;
use futures::io::{AsyncRead, AsyncWrite};
use lb_core::config::settings::ListenAddress;
use lb_engine::rt::{Listen, Net};

use crate::readiness::{Readiness, Tried};

/// TCP over async-io.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStdNet;

/// A TCP stream that tries its socket only when that may have something to say.
#[derive(Debug)]
pub struct AsyncStdStream {
    socket: Async<TcpStream>,
    reading: Readiness,
    writing: Readiness,
}

/// A listener that the reactor watches.
#[derive(Debug)]
pub struct AsyncStdListener(Async<TcpListener>);

impl AsyncStdStream {
    fn new(socket: Async<TcpStream>, reading: Readiness) -> Self {
        Self {
            socket,
            reading,
            writing: Readiness::untried(),
        }
    }
}

impl Net for AsyncStdNet {
    type Stream = AsyncStdStream;
    type Bound = TcpListener;
    type Listener = AsyncStdListener;

    async fn connect(&self, to: SocketAddr) -> io::Result<AsyncStdStream> {
        let socket = Async::<TcpStream>::connect(to).await?;
        socket.get_ref().set_nodelay(true)?;
        // Nobody has been asked anything yet.
        Ok(AsyncStdStream::new(socket, Readiness::drained()))
    }

    fn bind(&self, address: ListenAddress, count: usize) -> io::Result<Vec<TcpListener>> {
        lb_engine::io::bind(address, count)
    }

    fn local_addr(bound: &TcpListener) -> io::Result<SocketAddr> {
        bound.local_addr()
    }

    fn listen(&self, bound: TcpListener) -> io::Result<AsyncStdListener> {
        Async::new(bound).map(AsyncStdListener)
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs().await?.collect())
    }

    fn reset(stream: &AsyncStdStream) {
        // Fails on a socket that is closed already, and then nothing is left to reset.
        let _ = socket2::SockRef::from(stream.socket.get_ref()).set_linger(Some(Duration::ZERO));
    }
}

impl Listen for AsyncStdListener {
    type Stream = AsyncStdStream;

    async fn accept(&mut self) -> io::Result<(AsyncStdStream, SocketAddr)> {
        // TCP_NODELAY is inherited from the listening socket.
        let (socket, peer) = self.0.accept().await?;
        // Who connects has something to say: mostly it is here already.
        Ok((AsyncStdStream::new(socket, Readiness::untried()), peer))
    }

    fn shut(&self) {
        lb_engine::io::shut(&self.0);
    }
}

impl AsyncRead for AsyncStdStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self {
            socket, reading, ..
        } = self.get_mut();
        reading.poll(
            cx,
            |cx| socket.poll_readable(cx),
            || {
                let count = socket.get_ref().read(buf)?;
                // Zero is the end of the stream, and stays it.
                Ok(if 0 < count && count < buf.len() {
                    Tried::Short(count)
                } else {
                    Tried::Done(count)
                })
            },
        )
    }
}

impl AsyncWrite for AsyncStdStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self {
            socket, writing, ..
        } = self.get_mut();
        writing.poll(
            cx,
            |cx| socket.poll_writable(cx),
            || socket.get_ref().write(buf).map(Tried::Done),
        )
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self {
            socket, writing, ..
        } = self.get_mut();
        writing.poll(
            cx,
            |cx| socket.poll_writable(cx),
            || socket.get_ref().write_vectored(bufs).map(Tried::Done),
        )
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket.get_ref().shutdown(Shutdown::Write) {
            // The other side was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}
