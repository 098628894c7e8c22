//! A connection that becomes a tunnel.

use lb_core::upgrade::{Duplex, UpgradeHandle};

use super::*;

const UPGRADE: &str =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// An answer that switches, and leads to this wire.
fn switching(to: &Arc<Mutex<Wire>>) -> Response<Body> {
    let end = End(to.clone());
    let mut answer = Response::builder()
        .status(101)
        .header("upgrade", "websocket")
        .body(Body::empty())
        .unwrap();
    let handle = UpgradeHandle::new(async { Ok(Box::new(end) as Box<dyn Duplex>) });
    answer.extensions_mut().insert(handle);
    answer
}

fn wire() -> Arc<Mutex<Wire>> {
    Arc::new(Mutex::new(Wire {
        takes: usize::MAX,
        ..Wire::default()
    }))
}

#[test]
fn what_a_client_sends_behind_its_wish_goes_through_the_tunnel_and_not_for_a_request() {
    let (mut world, backend) = (World::new(), wire());
    world.send(UPGRADE.to_owned() + UPGRADE);
    assert!(!world.answer(switching(&backend)));
    let fields = "connection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(
        world.news(),
        "HTTP/1.1 101 Switching Protocols\r\n".to_owned() + fields
    );
    world.send("more");
    let received = std::mem::take(&mut backend.lock().unwrap().received);
    assert_eq!(received, (UPGRADE.to_owned() + "more").as_bytes());
    {
        let mut backend = backend.lock().unwrap();
        backend.to_server.extend(b"down");
        backend.reader.take().unwrap().wake();
    }
    assert!(!world.step());
    assert_eq!(world.news(), "down");
    assert_eq!(world.desk().requests.len(), 1);
    assert!(!world.close(), "the backend may go on");
    assert!(backend.lock().unwrap().shut);
    world.watch.cut_all();
    assert!(world.step());
    assert!(world.wire().dropped && backend.lock().unwrap().dropped);
}

#[test]
fn a_switch_that_nobody_asked_for_leaves_the_connection_as_it_is() {
    let (mut world, backend) = (World::new(), wire());
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    world.send(get.to_owned() + get);
    assert!(!world.answer(switching(&backend)));
    assert!(world.news().starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    assert!(!world.answer(ok("next")));
    assert_eq!(world.news(), ok_as_sent("next", ""));
}
