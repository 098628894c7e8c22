//! Signals, in a process of their own.

use std::process::Command;

use futures::StreamExt;
use lb_engine::rt::Signal;

#[test]
fn each_signal_arrives_with_its_meaning() {
    let runtime = lb_async_std::AsyncStd::new();
    let process = std::process::id();
    let received = runtime.block_on(async {
        let mut signals = lb_async_std::signals().unwrap();
        let mut received = Vec::new();
        for name in ["HUP", "TERM", "INT", "TERM"] {
            let kill = format!("kill -s {name} {process}");
            assert!(
                Command::new("sh")
                    .args(["-c", &kill])
                    .status()
                    .unwrap()
                    .success()
            );
            received.push(signals.next().await.unwrap());
        }
        received
    });
    use Signal::{Reload, Stop};
    assert_eq!(received.unwrap(), [Reload, Stop, Stop, Stop]);
}
