//! WebSocket upgrades: a tunnel both ways once the backend agreed, and HTTP if it did not.

use std::path::Path;

use super::setup::{before, servers};
use crate::backend::{Backend, Outcome, Talk, Then};
use crate::client::Client;
use crate::process::Proxy;
use crate::wait::eventually;
use crate::wire::{Cut, pattern};

/// A client's part of the opening handshake.
pub(super) const ASK: &str = "GET /chat HTTP/1.1\r\nHost: site.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A server's part.
pub(super) const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Agrees, greets in the same packet, and returns every byte until the peer has finished.
fn echo(talk: &mut Talk<'_>) -> Outcome {
    if !talk.head().lists("upgrade", "websocket") {
        talk.body()?;
        return talk.answer(200, &[], "plain");
    }
    talk.send(format!("{AGREE}welcome"))?;
    loop {
        match talk.incoming().piece() {
            Ok(piece) => talk.send(piece)?,
            Err(Cut::Fin) => {
                talk.send("bye")?;
                return Ok(Then::Close);
            }
            Err(cut) => return Err(cut),
        }
    }
}

fn open(proxy: &Proxy, early: &str) -> Client {
    let mut client = Client::connect(proxy.address());
    client.send(format!("{ASK}{early}"));
    let head = client.head();
    assert_eq!(head.status(), 101);
    assert!(
        head.lists("connection", "upgrade") && head.lists("upgrade", "websocket"),
        "{head:?}"
    );
    assert_eq!(
        head.one("sec-websocket-accept").as_deref(),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(
        client.incoming().exactly(7),
        Ok(b"welcome".to_vec()),
        "early bytes of the backend"
    );
    client
}

/// Bytes go both ways, those sent too early included, and each side's end reaches the other.
pub fn a_websocket_is_a_tunnel_both_ways(binary: &Path) {
    let backend = Backend::start(echo);
    let proxy = before(binary, &backend);
    let mut client = open(&proxy, "early");
    assert_eq!(
        client.incoming().exactly(5),
        Ok(b"early".to_vec()),
        "early bytes of the client"
    );
    for number in 0..20 {
        let text = format!("message {number}");
        client.send(&text);
        assert_eq!(client.incoming().exactly(text.len()), Ok(text.into_bytes()));
    }
    client.finish();
    assert_eq!(
        client.rest(),
        (b"bye".to_vec(), Cut::Fin),
        "half closed, the other half still flows"
    );
    let seen = backend.only().head;
    assert!(
        seen.lists("connection", "upgrade") && seen.lists("upgrade", "websocket"),
        "{seen:?}"
    );
    assert_eq!(
        seen.one("sec-websocket-key").as_deref(),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    eventually("the backend's connection ends", || backend.open() == 0);
}

/// A tunnel carries more than any buffer, in both directions at once.
pub fn a_tunnel_carries_a_lot(binary: &Path) {
    let backend = Backend::start(echo);
    let proxy = before(binary, &backend);
    let mut client = open(&proxy, "");
    let sent = pattern(20_000_000);
    let mut reader = client.reader();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.send(&sent).finish();
        });
        assert!(reader.exactly(sent.len()).expect("all comes back") == sent);
    });
    assert_eq!(reader.piece(), Ok(b"bye".to_vec()));
}

/// A backend that ends the tunnel ends it for the client, and an abort of the client reaches the backend.
pub fn the_end_of_one_side_reaches_the_other(binary: &Path) {
    let backend = Backend::start(echo);
    let proxy = before(binary, &backend);
    let mut client = open(&proxy, "");
    backend.close_connections();
    assert!(client.rest().0.is_empty());
    let client = open(&proxy, "");
    assert_eq!(backend.open(), 1);
    client.reset();
    eventually("the backend's connection ends", || backend.open() == 0);
}

/// A tunnel without a byte in either direction ends after `tunnel-idle`.
pub fn an_idle_tunnel_ends(binary: &Path) {
    let backend = Backend::start(echo);
    let proxy = servers([&backend])
        .limits("tunnel-idle = \"300ms\"")
        .start(binary);
    let mut client = open(&proxy, "");
    assert_ne!(client.rest().1, Cut::Silent);
    eventually("the backend's connection ends", || backend.open() == 0);
}

/// A backend that declines answers like any other, and the connection goes on with HTTP.
pub fn a_declined_upgrade_is_an_ordinary_answer(binary: &Path) {
    let backend = Backend::start(|talk| {
        talk.body()?;
        talk.answer(426, &["Upgrade: other", "Connection: Upgrade"], "no")
    });
    let proxy = before(binary, &backend);
    let mut client = Client::connect(proxy.address());
    for _ in 0..3 {
        let answer = client.send(ASK).response("GET");
        assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
        assert_eq!(client.get("/").status(), 426);
    }
}
