//! Requests with a key find their member, and others do without.

use std::collections::BTreeSet;

use http::{HeaderName, Request};

use super::world::{Act, World, get};
use crate::body::Body;
use crate::config::settings::{Balance, HashBalance, HashKey, HashRing};

fn world() -> World {
    World::with(|settings| {
        settings.pool.balance = Balance::Hash(HashBalance {
            key: HashKey::Header(HeaderName::from_static("x-user")),
            ring: HashRing::Rendezvous,
            max_load_percent: None,
        });
    })
}

fn by(user: usize) -> Request<Body> {
    let mut request = get("/");
    let name = format!("user-{user}").parse().unwrap();
    request.headers_mut().insert("x-user", name);
    request
}

#[test]
fn a_user_stays_with_a_server_and_users_spread_over_all() {
    let world = world();
    let first: Vec<String> = (0..30).map(|user| world.text(by(user))).collect();
    let again: Vec<String> = (0..30).map(|user| world.text(by(user))).collect();
    assert_eq!(first, again);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn a_user_whose_server_refuses_is_served_by_another_and_always_the_same() {
    let world = world();
    let home = world.text(by(1));
    world.script(home[1..].parse().unwrap(), Act::Refuse);
    let refuge = world.text(by(1));
    assert_ne!(home, refuge);
    // The refusal took the server out, so now the ring decides without it.
    assert_eq!(world.text(by(1)), refuge);
}

#[test]
fn requests_without_the_key_spread_over_all() {
    let world = world();
    let served: BTreeSet<String> = (0..40).map(|_| world.text(get("/"))).collect();
    assert_eq!(served.len(), 3);
}
