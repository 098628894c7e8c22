//! Host names: who asks when, and what is done with the answers.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join;
use lb_core::backend::{Address, Backend};
use lb_core::error::{Cause, Phase, TransportError};
use lb_core::rng::Rng;
use lb_core::time::{Instant, Timer};
use lb_core::transport::{Reuse, Transport};

use super::World;
use super::script::{Connection, answers};
use crate::client::{Client, ClientSettings};
use crate::names::Names;

/// A world whose backend has a name.
fn named(connections: impl IntoIterator<Item = Connection>) -> (World, Arc<Names>, Address) {
    let mut world = World::new(connections);
    let address = Address {
        host: "two.example".into(),
        port: 80,
    };
    let names = Arc::new(Names::new([&address]));
    world.backend = Backend::new(address.clone());
    world.client = Client::new(
        world.net.clone(),
        world.timer.clone(),
        names.clone(),
        ClientSettings::default(),
        Rng::new(1),
    );
    (world, names, address)
}

fn addresses<const N: usize>(texts: [&str; N]) -> [SocketAddr; N] {
    texts.map(|text| text.parse().unwrap())
}

fn answer(world: &World, answer: io::Result<Vec<SocketAddr>>) {
    world.net.names.lock().unwrap().push_back(answer);
}

fn resolve(world: &World, names: &Names) -> Vec<ErrorKind> {
    let failed = block_on(names.resolve(&world.net, &world.timer, Instant::NEVER));
    failed.into_iter().map(|(_, error)| error.kind()).collect()
}

fn check(world: &World) -> Result<(), TransportError> {
    block_on(world.client.check(&world.attempt(Reuse::Fresh)))
}

#[test]
fn an_unknown_name_is_no_connection_and_no_question() {
    let (world, ..) = named([answers(&[])]);
    let error = check(&world).unwrap_err();
    assert_eq!(error.phase, Phase::Resolve);
    assert_eq!(error.cause, Cause::NameNotFound);
    assert!(world.net.asked.lock().unwrap().is_empty());
}

#[test]
fn addresses_are_tried_in_order_and_the_one_that_worked_comes_first() {
    let refused = Connection::Fails(ErrorKind::ConnectionRefused);
    let (world, names, address) = named([refused, answers(&[]), answers(&[])]);
    let [a, b, c] = addresses(["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"]);
    answer(&world, Ok(vec![a, b, c]));
    assert_eq!(resolve(&world, &names), []);
    check(&world).unwrap();
    check(&world).unwrap();
    assert_eq!(*world.net.asked.lock().unwrap(), [a, b, b]);
    assert_eq!(names.lookup(&address), [b, a, c]);

    // Its place survives a new answer that still has it.
    answer(&world, Ok(vec![c, b]));
    resolve(&world, &names);
    assert_eq!(names.lookup(&address), [b, c]);
}

#[test]
fn a_silent_address_leaves_time_for_the_next() {
    let (world, names, _) = named([Connection::Hangs, answers(&[])]);
    let [a, b] = addresses(["192.0.2.1:80", "192.0.2.2:80"]);
    answer(&world, Ok(vec![a, b]));
    resolve(&world, &names);
    let attempt = world.attempt(Reuse::Fresh);
    let time = async { world.timer.advance(Duration::from_secs(1)) };
    let (checked, ()) = block_on(join(world.client.check(&attempt), time));
    checked.unwrap();
    assert_eq!(*world.net.asked.lock().unwrap(), [a, b]);
}

#[test]
fn a_failed_or_empty_answer_keeps_the_last_good_one() {
    let (world, names, address) = named([]);
    let [a] = addresses(["192.0.2.1:80"]);
    answer(&world, Ok(vec![a]));
    answer(&world, Err(ErrorKind::TimedOut.into()));
    answer(&world, Ok(Vec::new()));
    assert_eq!(resolve(&world, &names), []);
    assert_eq!(resolve(&world, &names), [ErrorKind::TimedOut]);
    assert_eq!(resolve(&world, &names), [ErrorKind::NotFound]);
    assert_eq!(names.lookup(&address), [a]);
}

#[test]
fn a_question_that_nobody_answers_ends_at_its_deadline() {
    let (world, names, _) = named([]);
    let deadline = world.timer.now() + Duration::from_secs(3);
    let time = async { world.timer.advance(Duration::from_secs(3)) };
    let question = names.resolve(&world.net, &world.timer, deadline);
    let (failed, ()) = block_on(join(question, time));
    assert_eq!(failed[0].1.kind(), ErrorKind::TimedOut);
}

#[test]
fn names_are_asked_about_every_second_until_known_and_then_every_thirty() {
    let (world, names, address) = named([]);
    let [a, b] = addresses(["192.0.2.1:80", "192.0.2.2:80"]);
    answer(&world, Err(ErrorKind::NotFound.into()));
    answer(&world, Ok(vec![a]));
    answer(&world, Ok(vec![b]));
    let reported = std::cell::Cell::new(0);
    let refresh = names.refresh(&world.net, &world.timer, |_, _| {
        reported.set(reported.get() + 1);
    });
    let mut refresh = pin!(refresh);
    let mut after = |seconds| {
        world.timer.advance(Duration::from_secs(seconds));
        block_on(poll_fn(|cx| {
            assert!(refresh.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        }));
        names.lookup(&address)
    };
    after(0);
    assert_eq!(after(1), []);
    assert_eq!(after(1), [a]);
    assert_eq!(after(29), [a]);
    assert_eq!(after(1), [b]);
    assert_eq!(reported.get(), 1);
}
