//! The load balancer on tokio.

use std::process::ExitCode;

use lb_tokio::{Tokio, signals};

fn main() -> ExitCode {
    let tokio = Tokio::new();
    lb_engine::main(
        "lb-tokio",
        &tokio,
        |program| tokio.block_on(program),
        signals,
        |client| client,
    )
}
