//! The lingering close (RFC 9112 §9.6): closing while the client still sends would reset the connection, and the
//! reset may overtake the answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use lb_core::time::{Timer, timeout};

/// How long a client may go on sending what nobody wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes thrown away at a time.
const SPACE: usize = 8 * 1024;

/// Reads between two rests, so that a fast sender leaves room for others.
const READS: usize = 16;

/// Shuts our side down, then reads and throws away until the client closes its own or the patience ends.
///
/// Dropping the future closes the connection at once.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin, C: Timer>(mut stream: S, timer: &C) {
    let mut shut = false;
    let drained = poll_fn(|cx| {
        if !shut {
            match Pin::new(&mut stream).poll_close(cx) {
                Poll::Ready(Ok(())) => shut = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        let mut space = [0; SPACE];
        for _ in 0..READS {
            match Pin::new(&mut stream).poll_read(cx, &mut space) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    // Whether the client was through or the patience: the connection ends.
    let _ = timeout(timer, timer.now() + PATIENCE, drained).await;
}
