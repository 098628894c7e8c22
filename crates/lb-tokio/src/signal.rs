//! TERM, INT and HUP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use lb_engine::rt::Signal;
use tokio::signal::unix::{Signal as Source, SignalKind, signal};

/// The signals that reach this process, in the order in which they are noticed; it never ends.
#[derive(Debug)]
pub struct Signals {
    sources: [(Source, Signal); 3],
}

/// Listens for signals from now on. To be called inside a tokio runtime.
///
/// # Errors
/// The handlers could not be installed.
pub fn signals() -> io::Result<Signals> {
    Ok(Signals {
        sources: [
            (signal(SignalKind::terminate())?, Signal::Stop),
            (signal(SignalKind::interrupt())?, Signal::Stop),
            (signal(SignalKind::hangup())?, Signal::Reload),
        ],
    })
}

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        for (source, meaning) in &mut self.sources {
            if let Poll::Ready(Some(())) = source.poll_recv(cx) {
                return Poll::Ready(Some(*meaning));
            }
        }
        Poll::Pending
    }
}
