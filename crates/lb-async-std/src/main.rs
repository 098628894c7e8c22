//! The load balancer on async-std.

use std::process::ExitCode;

use lb_async_std::{AsyncStd, signals};

#[cfg(feature = "surf")]
use lb_async_std::SurfTransport;

fn main() -> ExitCode {
    let runtime = AsyncStd::new();
    #[cfg(feature = "surf")]
    let probes = SurfTransport::new;
    #[cfg(not(feature = "surf"))]
    let probes = |client| client;
    lb_engine::main(
        "lb-async-std",
        &runtime,
        |program| runtime.block_on(program),
        signals,
        probes,
    )
}
