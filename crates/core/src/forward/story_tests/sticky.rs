//! A client that comes back.

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};

use super::world::{Act, World, get};
use crate::config::settings::Sticky;

fn world() -> World {
    World::with(|settings| {
        settings.pool.sticky = Some(Sticky {
            cookie: "lb".into(),
            ttl: None,
            key: "k".into(),
        });
    })
}

/// A client with a jar for one cookie.
#[derive(Default)]
struct Client(Option<String>);

impl Client {
    /// Who answers, and whether the cookie was set.
    fn ask(&mut self, world: &World) -> (String, bool) {
        let mut request = get("/");
        if let Some(cookie) = &self.0 {
            let cookie = format!("a=b; {cookie}").parse().unwrap();
            request.headers_mut().insert(COOKIE, cookie);
        }
        let mut response = world.forward(request).response;
        let set = self.keep(response.headers());
        let text = super::run(&world.clock, super::read(response.body_mut())).unwrap();
        (String::from_utf8(text).unwrap(), set)
    }

    fn keep(&mut self, headers: &HeaderMap) -> bool {
        let Some(cookie) = headers.get(SET_COOKIE) else {
            return false;
        };
        let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
        self.0 = Some(cookie.to_owned());
        true
    }
}

#[test]
fn a_client_stays_at_its_member_and_is_told_once() {
    let world = world();
    let mut clients = [Client::default(), Client::default()];
    let first = clients.each_mut().map(|client| client.ask(&world));
    assert_eq!(first, [("b1".into(), true), ("b2".into(), true)]);
    for _ in 0..4 {
        let next = clients.each_mut().map(|client| client.ask(&world));
        assert_eq!(next, [("b1".into(), false), ("b2".into(), false)]);
    }
    let cookie = clients[0].0.take().unwrap();
    assert_eq!(cookie.len(), "lb=".len() + 16);
    world.check_idle();
}

#[test]
fn it_moves_when_its_member_drains_or_refuses_and_stays_where_it_is_then() {
    let world = world();
    let mut client = Client::default();
    assert_eq!(client.ask(&world).0, "b1");
    world.pool.drain("b1", world.now()).unwrap();
    let (moved, set) = client.ask(&world);
    assert!(moved != "b1" && set);
    world.pool.ready("b1", world.now()).unwrap();
    assert_eq!(client.ask(&world), (moved.clone(), false));
    let port = moved[1..].parse().unwrap();
    world.script(port, Act::Refuse);
    let (again, set) = client.ask(&world);
    assert!(again != moved && set);
}

#[test]
fn a_cookie_that_names_nobody_is_replaced() {
    let world = world();
    let mut client = Client(Some("lb=0123456789abcdef".into()));
    assert!(client.ask(&world).1);
    assert!(!client.ask(&world).1);
}
