//! Streams polled by hand, on threads that do not drive the reactor: it reports from a thread of its own, which waits
//! in the system at the very moment in which it is asked, and that is when its reports are easiest to miss.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use async_std::task::block_on;
use futures::io::AsyncRead as _;
use lb_async_std::{AsyncStdNet, AsyncStdStream};
use lb_engine::rt::{Net as _, glance};

const ROUNDS: u8 = 200;
const PAIRS: usize = 8;
/// A wake-up that takes longer was lost.
const LOST: Duration = Duration::from_secs(20);

/// A waker whose wake-ups can be waited for.
struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Rings for nobody when the test is over.
        let _ = self.0.send(());
    }
}

fn bell() -> (Waker, Receiver<()>) {
    let (sender, wakes) = channel();
    (Arc::new(Bell(sender)).into(), wakes)
}

fn pair() -> (AsyncStdStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let stream = block_on(AsyncStdNet.connect(address)).expect("connect");
    let (peer, _) = listener.accept().expect("accept");
    peer.set_nodelay(true).expect("no delay");
    (stream, peer)
}

fn poll_read(stream: &mut AsyncStdStream, waker: &Waker) -> Poll<Vec<u8>> {
    let mut bytes = [0; 16];
    Pin::new(stream)
        .poll_read(&mut Context::from_waker(waker), &mut bytes)
        .map(|count| bytes[..count.expect("no error")].to_vec())
}

#[test]
fn a_wake_up_is_followed_by_a_read_that_succeeds() {
    let pairs: Vec<_> = (0..PAIRS).map(|_| pair()).collect();
    let pairs = pairs.into_iter().map(|(mut stream, mut peer)| {
        thread::spawn(move || {
            let (waker, wakes) = bell();
            for round in 0..ROUNDS {
                assert_eq!(poll_read(&mut stream, &waker), Poll::Pending);
                peer.write_all(&[round]).expect("write");
                wakes.recv_timeout(LOST).expect("a wake-up");
                assert_eq!(poll_read(&mut stream, &waker), Poll::Ready(vec![round]));
            }
            drop(peer);
            assert_eq!(poll_read(&mut stream, &waker), Poll::Pending);
            wakes.recv_timeout(LOST).expect("a wake-up");
            assert_eq!(poll_read(&mut stream, &waker), Poll::Ready(vec![]));
        })
    });
    let pairs: Vec<_> = pairs.collect();
    for pair in pairs {
        pair.join().expect("every round");
    }
}

#[test]
fn a_glance_sees_what_has_arrived() {
    let (mut stream, mut peer) = pair();
    for round in 0..ROUNDS {
        let (waker, _) = bell();
        assert_eq!(poll_read(&mut stream, &waker), Poll::Pending);
        assert_eq!(poll_read(&mut stream, glance()), Poll::Pending);
        // Loopback delivers before `write` returns.
        peer.write_all(&[round]).expect("write");
        assert_eq!(poll_read(&mut stream, glance()), Poll::Ready(vec![round]));
    }
    // Not closed: a report that is under way might be taken for one about the next stream.
    std::mem::forget(stream);
}
