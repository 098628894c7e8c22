//! tokio's sockets.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use lb_core::config::settings::ListenAddress;
use lb_engine::rt::{Listen, Net};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream, lookup_host};

/// TCP over tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioNet;

/// A TCP stream of tokio in the shape of `futures::io`.
#[derive(Debug)]
pub struct TokioStream(TcpStream);

/// A listener that a tokio runtime watches.
#[derive(Debug)]
pub struct TokioListener(TcpListener);

impl Net for TokioNet {
    type Stream = TokioStream;
    type Bound = StdListener;
    type Listener = TokioListener;

    async fn connect(&self, to: SocketAddr) -> io::Result<TokioStream> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(TokioStream(stream))
    }

    fn bind(&self, address: ListenAddress, count: usize) -> io::Result<Vec<StdListener>> {
        lb_engine::io::bind(address, count)
    }

    fn local_addr(bound: &StdListener) -> io::Result<SocketAddr> {
        bound.local_addr()
    }

    fn listen(&self, bound: StdListener) -> io::Result<TokioListener> {
        TcpListener::from_std(bound).map(TokioListener)
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }

    fn reset(stream: &TokioStream) {
        // Fails on a socket that is closed already, and then nothing is left to reset.
        let _ = socket2::SockRef::from(&stream.0).set_linger(Some(Duration::ZERO));
    }
}

impl Listen for TokioListener {
    type Stream = TokioStream;

    async fn accept(&mut self) -> io::Result<(TokioStream, SocketAddr)> {
        // TCP_NODELAY is inherited from the listening socket.
        let (stream, peer) = self.0.accept().await?;
        Ok((TokioStream(stream), peer))
    }

    fn shut(&self) {
        lb_engine::io::shut(&self.0);
    }
}

impl AsyncRead for TokioStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl AsyncWrite for TokioStream {
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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
