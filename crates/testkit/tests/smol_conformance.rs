//! The example of a third runtime passes the suites of a runtime, and the engine's client on it those of a transport.

use std::sync::Arc;
use std::time::Instant as StdInstant;

use lb_core::rng::Rng;
use lb_engine::client::{Client, ClientSettings};
use lb_engine::names::Names;
use lb_testkit::conformance::{self, FullBacklog, Subject};

use self::example::{Smol, run};

#[path = "../../engine/examples/smol.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod example;

#[test]
fn its_clock_tasks_and_sockets_are_a_runtime() {
    let smol = Smol(StdInstant::now());
    conformance::timer(&smol, &|case| run(case));
    conformance::tasks(&smol, &|case| run(case));
    conformance::net(&smol, &|case| run(case));
}

fn client(smol: &Smol) -> Client<Smol, Smol> {
    let names = Arc::new(Names::default());
    let settings = ClientSettings::default();
    Client::new(smol.clone(), smol.clone(), names, settings, Rng::new(0))
}

#[test]
fn the_engines_client_on_it_is_a_transport() {
    let smol = Smol(StdInstant::now());
    let hole = FullBacklog::new().expect("an address that swallows connections");
    let subject = Subject {
        runtime: &smol,
        make: client,
        hole: hole.address(),
    };
    conformance::transport(&subject, &|case| run(case));
}
