//! The simulated runtime passes the suites that define "works", and so does the engine's client on it.

use std::net::SocketAddr;
use std::sync::Arc;

use lb_core::rng::Rng;
use lb_engine::client::{Client, ClientSettings};
use lb_engine::names::Names;
use lb_engine::rt::Runtime as _;
use lb_testkit::conformance::{self, Subject};
use lb_testkit::sim::{Sim, SimNet, SimRuntime, SimTimer, seeds};

const SEEDS: u64 = 20;

fn runtime(sim: &Sim) -> SimRuntime {
    sim.runtime([10, 0, 0, 1].into())
}

#[test]
fn the_simulated_clock_is_a_timer() {
    for seed in seeds(SEEDS) {
        let sim = Sim::new(seed);
        conformance::timer(&runtime(&sim), &|case| sim.block_on(case));
        assert_eq!(sim.take_panics(), [""; 0], "seed {seed}");
    }
}

#[test]
fn simulated_tasks_and_threads_keep_their_contract() {
    for seed in seeds(SEEDS) {
        let sim = Sim::new(seed);
        conformance::tasks(&runtime(&sim), &|case| sim.block_on(case));
        assert_eq!(
            sim.take_panics().len(),
            1,
            "the one that a case makes on purpose"
        );
    }
}

#[test]
fn the_simulated_network_is_a_net() {
    for seed in seeds(SEEDS) {
        let sim = Sim::new(seed);
        conformance::net(&runtime(&sim), &|case| sim.block_on(case));
        assert_eq!(sim.take_panics(), [""; 0], "seed {seed}");
    }
}

fn client(runtime: &SimRuntime) -> Client<SimNet, SimTimer> {
    Client::new(
        runtime.net().clone(),
        runtime.timer().clone(),
        Arc::new(Names::default()),
        ClientSettings::default(),
        Rng::new(0),
    )
}

#[test]
fn the_engines_client_is_a_transport_under_every_schedule() {
    for seed in seeds(SEEDS) {
        let sim = Sim::new(seed);
        let hole = SocketAddr::from(([10, 0, 0, 99], 80));
        sim.cut(hole.ip());
        let subject = Subject {
            runtime: &runtime(&sim),
            make: client,
            hole,
        };
        conformance::transport(&subject, &|case| sim.block_on(case));
        assert_eq!(sim.take_panics(), [""; 0], "seed {seed}");
    }
}
