//! tokio's sockets.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lb_core::config::settings::ListenAddress;
use lb_engine::rt::{Listen, Net};
use tokio::net::{TcpListener, TcpStream, lookup_host};

/// TCP over tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioNet;

/// A TCP stream in the shape that hyper reads and writes.
pub type TokioStream = TokioIo<TcpStream>;

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
        Ok(TokioIo::new(stream))
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
        let _ = socket2::SockRef::from(stream.inner()).set_linger(Some(Duration::ZERO));
    }
}

impl Listen for TokioListener {
    type Stream = TokioStream;

    async fn accept(&mut self) -> io::Result<(TokioStream, SocketAddr)> {
        // TCP_NODELAY is inherited from the listening socket.
        let (stream, peer) = self.0.accept().await?;
        Ok((TokioIo::new(stream), peer))
    }

    fn shut(&self) {
        lb_engine::io::shut(&self.0);
    }
}
