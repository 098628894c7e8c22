//! Conformance: what "works" means for a runtime and for a transport.
//!
//! Each suite is a function that an adapter's test calls with its own parts; it panics with the obligation that was
//! not met. Suites are generic over [`Runtime`] and are handed a `block_on` that drives a future on that runtime. On
//! real runtimes everything is on loopback, at ports chosen by the system, and waits are tens of milliseconds; each
//! case is bounded.
//!
//! ```
//! use lb_testkit::{conformance, sim::Sim};
//!
//! let sim = Sim::new(1);
//! let runtime = sim.runtime([10, 0, 0, 1].into());
//! conformance::timer(&runtime, &|case| sim.block_on(case));
//! ```

mod net;
mod peer;
mod tasks;
mod timer;
mod transport;
pub mod wire;

use std::future::Future;
use std::time::Duration;

use lb_core::time::{Timer, timeout};
use lb_engine::rt::{BoxFuture, Runtime};

pub use self::net::net;
pub use self::peer::FullBacklog;
pub use self::tasks::tasks;
pub use self::timer::timer;
pub use self::transport::{Subject, transport};

/// How long one case may take on the runtime's own clock.
const CASE_MAX: Duration = Duration::from_secs(20);
/// Long enough for what happens on loopback to have happened.
const SETTLE: Duration = Duration::from_millis(25);

/// Runs one case, bounded, and names it if it fails.
fn case<R: Runtime>(
    name: &'static str,
    runtime: &R,
    block_on: &dyn Fn(BoxFuture<'static, ()>),
    body: impl Future<Output = ()> + Send + 'static,
) {
    let _name = Named(name);
    let timer = runtime.timer().clone();
    block_on(Box::pin(async move {
        let deadline = timer.now() + CASE_MAX;
        if timeout(&timer, deadline, body).await.is_err() {
            panic!("`{name}` did not end within {CASE_MAX:?}");
        }
    }));
}

/// Names the case that panics.
struct Named(&'static str);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("conformance: `{}` failed", self.0);
        }
    }
}

async fn sleep<R: Runtime>(runtime: &R, duration: Duration) {
    let timer = runtime.timer();
    timer.sleep_until(timer.now() + duration).await;
}
