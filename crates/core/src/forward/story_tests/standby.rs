//! Backups that wait while the first tier is up and fails all the same.

use super::*;
use crate::config::settings::Settings;

/// One server, and two backups.
fn backups(settings: &mut Settings) {
    settings.pool.servers[1].backup = true;
    settings.pool.servers[2].backup = true;
}

#[test]
fn a_retry_goes_to_a_backup_before_it_goes_where_one_failed() {
    let world = World::with(backups);
    world.script(1, Act::Reset(0));
    let text = world.text(get("/"));
    assert!(["b2", "b3"].contains(&&*text), "{text}");
    assert_eq!((world.now(), world.exchange().attempts), (at(0), 2));
    assert_eq!(world.text(get("/")), "b1", "the others are still backups");
    world.check_idle();
}

#[test]
fn each_backup_is_asked_once() {
    let world = World::with(backups);
    (1..=3).for_each(|port| world.script(port, Act::Reset(0)));
    assert_eq!(world.forward(get("/")).response.status(), 502);
    let failed = [1, 2, 3].map(|port| world.counters(port).failed);
    assert_eq!((failed, world.exchange().attempts), ([1; 3], 3));
}

#[test]
fn a_backup_gets_nothing_that_may_not_be_repeated() {
    let world = World::with(backups);
    world.script(1, Act::Reset(0));
    let reply = world.forward(post(Body::empty()));
    assert_eq!(reply.response.status(), 502);
    assert_eq!(world.seen().len(), 1);
}

#[test]
fn without_a_backup_that_is_up_the_only_server_is_asked_again() {
    let world = World::with(backups);
    for name in ["b2", "b3"] {
        world.pool.drain(name, world.now()).unwrap();
    }
    world.script(1, Act::Reset(0));
    assert_eq!(world.text(get("/")), "b1");
    assert!(world.now() > at(0), "after a pause");
}

#[test]
fn a_peer_that_asks_is_told_which_backup() {
    let world = World::with(|settings| {
        decisions::asked(settings);
        settings.pool.servers.truncate(2);
        settings.pool.servers[1].backup = true;
    });
    world.script(1, Act::Reset(0));
    let reply = world.forward(decisions::asking("/")).response;
    assert_eq!(
        reply.headers()["x-lb-decision"],
        "1 of 2 eligible: b1 (tried); out: *b2 (up, a backup, and others can serve); chosen at a second look; attempts: b1 \
         backend-closed, b2 answered 200"
    );
}
