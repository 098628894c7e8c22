//! The end of a program on tokio.

use std::sync::mpsc;
use std::time::Duration;

use lb_tokio::Tokio;

/// Host names are looked up on threads that nobody can interrupt.
#[test]
fn the_end_does_not_wait_for_a_resolver_that_hangs() {
    let (release, held) = mpsc::channel::<()>();
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let output = Tokio::new().block_on(async {
            let (begun, begins) = futures::channel::oneshot::channel();
            drop(tokio::task::spawn_blocking(move || {
                let _ = begun.send(());
                let _ = held.recv();
            }));
            begins.await.is_ok()
        });
        let _ = done.send(output.ok());
    });
    let output = ended.recv_timeout(Duration::from_secs(20));
    drop(release);
    assert_eq!(output, Ok(Some(true)));
}
