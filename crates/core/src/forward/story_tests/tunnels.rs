//! Upgrades: a 101 that was asked for, and the tunnel behind it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures::future::{join, ready};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use http::{Request, Response, StatusCode};

use super::super::testing::{poll_once, run};
use super::world::{Act, World, at, get, response};
use crate::body::Body;
use crate::error::BodyCause;
use crate::event::End;
use crate::forward::Tunnel;
use crate::upgrade::{Duplex, UpgradeHandle};

/// One direction of a pipe in memory.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    closed: bool,
    reader: Option<Waker>,
}

/// One end of a pipe in memory. It takes three bytes at a time, so that writes are partial.
struct PipeEnd {
    read: Arc<Mutex<Lane>>,
    write: Arc<Mutex<Lane>>,
}

fn pipe() -> (PipeEnd, PipeEnd) {
    let (a, b) = (Arc::<Mutex<Lane>>::default(), Arc::<Mutex<Lane>>::default());
    let near = PipeEnd {
        read: Arc::clone(&a),
        write: Arc::clone(&b),
    };
    (near, PipeEnd { read: b, write: a })
}

impl AsyncRead for PipeEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut lane = self.read.lock().unwrap();
        if lane.bytes.is_empty() && !lane.closed {
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = buffer.len().min(lane.bytes.len());
        for (slot, byte) in buffer.iter_mut().zip(lane.bytes.drain(..count)) {
            *slot = byte;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for PipeEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut lane = self.write.lock().unwrap();
        let count = data.len().min(3);
        lane.bytes.extend(&data[..count]);
        lane.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lane = self.write.lock().unwrap();
        lane.closed = true;
        lane.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut lane = self.write.lock().unwrap();
        lane.closed = true;
        lane.reader.take().into_iter().for_each(Waker::wake);
    }
}

fn handle(end: PipeEnd) -> UpgradeHandle {
    UpgradeHandle::new(ready(Ok(Box::new(end) as Box<dyn Duplex>)))
}

fn websocket(handle: Option<UpgradeHandle>) -> Request<Body> {
    let mut request = get("/chat");
    let headers = request.headers_mut();
    headers.insert("connection", "Upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    if let Some(handle) = handle {
        request.extensions_mut().insert(handle);
    }
    request
}

fn switching(handle: UpgradeHandle) -> Response<Body> {
    let mut response = response(101, Body::empty());
    let headers = response.headers_mut();
    headers.insert("connection", "upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    response.extensions_mut().insert(handle);
    response
}

/// A client's end, a backend's end, and the tunnel between them.
fn tunnel(world: &World) -> (PipeEnd, PipeEnd, Tunnel) {
    let (client, near_client) = pipe();
    let (backend, near_backend) = pipe();
    world.script(1, Act::Answer(switching(handle(near_backend))));
    let reply = world.forward(websocket(Some(handle(near_client))));
    assert_eq!(reply.response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(reply.response.headers()["connection"], "upgrade");
    assert_eq!(reply.response.headers()["upgrade"], "websocket");
    (client, backend, reply.tunnel.unwrap())
}

#[test]
fn a_tunnel_copies_both_ways_and_passes_each_end_on() {
    let world = World::new();
    let (mut client, mut backend, tunnel) = tunnel(&world);
    assert_eq!(world.in_flight(), 1);
    let talk = async {
        client.write_all(b"question").await.unwrap();
        client.close().await.unwrap();
        let mut question = Vec::new();
        backend.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        // The client has finished; the backend still may talk.
        backend.write_all(&vec![7; 40_000]).await.unwrap();
        backend.close().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, vec![7; 40_000]);
    };
    run(&world.clock, join(tunnel.run(), talk));
    world.check_idle();
    assert_eq!(world.counters(1).answered, 1);
    let exchange = world.exchange();
    assert_eq!(exchange.status, Some(StatusCode::SWITCHING_PROTOCOLS));
    assert_eq!((exchange.body_bytes, exchange.end), (40_000, End::Complete));
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed() {
    let world = World::new();
    let (mut client, mut backend, tunnel) = tunnel(&world);
    let talk = async {
        let timer = &world.clock;
        crate::time::Timer::sleep_until(timer, at(200)).await;
        backend.write_all(b"x").await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"x");
    };
    run(&world.clock, join(tunnel.run(), talk));
    assert_eq!(world.now(), at(500));
    assert_eq!(world.exchange().end, End::Truncated(BodyCause::Stalled));
    world.check_idle();
}

#[test]
fn a_tunnel_that_is_never_run_ends_its_lease() {
    let world = World::new();
    let (_client, _backend, tunnel) = tunnel(&world);
    drop(tunnel);
    world.check_idle();
    assert_eq!(world.exchange().end, End::ClientGone);
}

#[test]
fn a_tunnel_that_the_process_cuts_is_not_blamed_on_the_client() {
    let world = World::new();
    let (_client, _backend, tunnel) = tunnel(&world);
    let mut runs = Box::pin(tunnel.run());
    assert!(poll_once(runs.as_mut()).is_pending());
    world.cut();
    drop(runs);
    world.check_idle();
    assert_eq!(world.exchange().end, End::Shutdown);
}

#[test]
fn row_13_cve_2026_2833_nothing_passes_before_a_101() {
    let world = World::new();
    let (_client, near_client) = pipe();
    world.script(1, Act::Answer(response(200, Body::from("no"))));
    let reply = world.forward(websocket(Some(handle(near_client))));
    assert_eq!(reply.response.status(), StatusCode::OK);
    assert!(reply.tunnel.is_none());
}

#[test]
fn row_17_a_101_is_invalid_even_where_both_ends_could_switch() {
    let world = World::new();
    let (_client, near_client) = pipe();
    let (_backend, near_backend) = pipe();
    world.script(1, Act::Answer(switching(handle(near_backend))));
    let mut asked = get("/");
    asked.extensions_mut().insert(handle(near_client));
    let reply = world.forward(asked);
    assert_eq!(reply.response.status(), StatusCode::BAD_GATEWAY);
    assert!(reply.tunnel.is_none());
    assert_eq!(world.counters(1).failed, 1);
    world.check_idle();
}

#[test]
fn a_101_without_the_other_end_is_a_502() {
    let world = World::new();
    let (_client, near_client) = pipe();
    let mut answer = response(101, Body::empty());
    answer
        .headers_mut()
        .insert("upgrade", "websocket".parse().unwrap());
    world.script(1, Act::Answer(answer));
    let reply = world.forward(websocket(Some(handle(near_client))));
    assert_eq!(reply.response.status(), StatusCode::BAD_GATEWAY);
    assert!(reply.tunnel.is_none());
    world.check_idle();
}

#[test]
fn an_upgrade_that_the_front_end_cannot_do_is_not_asked_for() {
    let world = World::new();
    assert_eq!(world.text(websocket(None)), "b1");
    let seen = world.seen();
    assert!(!seen[0].headers.contains_key("upgrade"));
    assert!(!seen[0].headers.contains_key("connection"));
}
