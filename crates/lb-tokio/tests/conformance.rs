//! tokio passes the suites that define "works".

use lb_testkit::conformance::{self, FullBacklog, Subject};
use lb_tokio::Tokio;

type Case = lb_engine::rt::BoxFuture<'static, ()>;

fn block_on(tokio: &Tokio) -> impl Fn(Case) {
    |case| tokio.block_on(case).expect("an executor")
}

#[test]
fn its_clock_is_a_timer() {
    let tokio = Tokio::new();
    conformance::timer(&tokio, &block_on(&tokio));
}

#[test]
fn its_tasks_and_threads_keep_their_contract() {
    let tokio = Tokio::new();
    conformance::tasks(&tokio, &block_on(&tokio));
}

#[test]
fn its_sockets_are_a_net() {
    let tokio = Tokio::new();
    conformance::net(&tokio, &block_on(&tokio));
}

#[test]
fn its_client_is_a_transport() {
    let tokio = Tokio::new();
    let hole = FullBacklog::new().expect("an address that swallows connections");
    let subject = Subject {
        runtime: &tokio,
        make: |tokio: &Tokio| lb_tokio::transport(lb_engine::rt::Runtime::timer(tokio).clone()),
        hole: hole.address(),
    };
    conformance::transport(&subject, &block_on(&tokio));
}
