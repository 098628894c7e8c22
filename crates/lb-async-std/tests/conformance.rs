//! async-std passes the suites that define "works".

use lb_async_std::AsyncStd;
use lb_testkit::conformance::{self, FullBacklog, Subject};

type Case = lb_engine::rt::BoxFuture<'static, ()>;

fn block_on(runtime: &AsyncStd) -> impl Fn(Case) {
    |case| runtime.block_on(case).expect("an executor")
}

#[test]
fn its_clock_is_a_timer() {
    let runtime = AsyncStd::new();
    conformance::timer(&runtime, &block_on(&runtime));
}

#[test]
fn its_tasks_and_threads_keep_their_contract() {
    let runtime = AsyncStd::new();
    conformance::tasks(&runtime, &block_on(&runtime));
}

#[test]
fn its_sockets_are_a_net() {
    let runtime = AsyncStd::new();
    conformance::net(&runtime, &block_on(&runtime));
}

#[test]
fn its_client_is_a_transport() {
    let runtime = AsyncStd::new();
    let hole = FullBacklog::new().expect("an address that swallows connections");
    let subject = Subject {
        runtime: &runtime,
        make: |runtime: &AsyncStd| {
            lb_async_std::transport(lb_engine::rt::Runtime::timer(runtime).clone())
        },
        hole: hole.address(),
    };
    conformance::transport(&subject, &block_on(&runtime));
}

#[cfg(feature = "surf")]
#[test]
fn surf_is_a_transport_as_far_as_it_says() {
    let runtime = AsyncStd::new();
    let hole = FullBacklog::new().expect("an address that swallows connections");
    let subject = Subject {
        runtime: &runtime,
        make: |runtime: &AsyncStd| {
            let timer = lb_engine::rt::Runtime::timer(runtime).clone();
            lb_async_std::SurfTransport::new(lb_async_std::transport(timer))
        },
        hole: hole.address(),
    };
    conformance::transport(&subject, &block_on(&runtime));
}
