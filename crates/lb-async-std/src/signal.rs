//! TERM, INT and HUP.

use std::io;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use futures::{AsyncRead, Stream};
use lb_engine::rt::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// The signals that reach this process, in the order in which they are noticed; it never ends.
#[derive(Debug)]
pub struct Signals {
    sources: [(Async<UnixStream>, Signal); 2],
}

/// Listens for signals from now on, and for as long as the process lives.
///
/// # Errors
/// The handlers could not be installed.
pub fn signals() -> io::Result<Signals> {
    Ok(Signals {
        sources: [
            (source(&[SIGTERM, SIGINT])?, Signal::Stop),
            (source(&[SIGHUP])?, Signal::Reload),
        ],
    })
}

/// A stream on which a byte arrives with each of `signals`.
fn source(signals: &[i32]) -> io::Result<Async<UnixStream>> {
    let (reader, writer) = UnixStream::pair()?;
    for signal in signals {
        pipe::register(*signal, writer.try_clone()?)?;
    }
    Async::new(reader)
}

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        for (source, meaning) in &mut self.sources {
            // One byte at a time: each is one signal.
            if let Poll::Ready(Ok(1..)) = Pin::new(source).poll_read(cx, &mut [0]) {
                return Poll::Ready(Some(*meaning));
            }
        }
        Poll::Pending
    }
}
