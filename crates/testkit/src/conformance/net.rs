//! The obligations of [`Net`] and [`Listen`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::future::{join, join_all, select};
use lb_core::config::settings::ListenAddress;
use lb_core::time::{Timer as _, timeout};
use lb_engine::rt::{BoxFuture, Listen as _, Net, Runtime, Spawn as _};

use super::wire::Wire;
use super::{SETTLE, case, sleep};

/// Checks every obligation of [`Net`] and [`Listen`](lb_engine::rt::Listen) that bytes can show. That Nagle's
/// algorithm is off is not among them.
///
/// # Panics
/// When one is not met.
pub fn net<R: Runtime>(runtime: &R, block_on: &dyn Fn(BoxFuture<'static, ()>)) {
    macro_rules! cases {
        ($($name:ident),* $(,)?) => {
            $(case(stringify!($name), runtime, block_on, $name(runtime.clone()));)*
        };
    }
    cases![
        bytes_go_both_ways,
        a_shut_down_half_is_an_end_and_the_other_half_goes_on,
        a_dropped_stream_is_an_end,
        a_dropped_stream_after_reset_is_a_reset,
        a_port_where_nobody_listens_refuses,
        large_transfers_in_both_directions_arrive_whole,
        a_writer_waits_for_a_reader_that_does_not_read,
        a_dropped_accept_loses_no_connection,
        a_dropped_connect_leaves_the_rest_alone,
        a_port_in_use_is_an_error,
        several_sockets_share_one_port,
        connections_wait_in_the_queue_of_a_bound_socket,
        a_shut_listener_still_has_whom_it_had,
        literal_addresses_and_localhost_resolve,
    ];
}

type Stream<R> = <<R as Runtime>::Net as Net>::Stream;
type Listener<R> = <<R as Runtime>::Net as Net>::Listener;

pub(super) fn loopback() -> ListenAddress {
    ListenAddress::Exact(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// A listener on loopback and its address.
pub(super) fn listen<R: Runtime>(runtime: &R) -> (Listener<R>, SocketAddr) {
    let bound = runtime.net().bind(loopback(), 1).expect("bind on loopback");
    let bound = bound.into_iter().next().expect("one socket was asked for");
    let address = R::Net::local_addr(&bound).expect("a bound socket has an address");
    assert_ne!(
        address.port(),
        0,
        "the system's choice of port must be told"
    );
    let listener = runtime
        .net()
        .listen(bound)
        .expect("listen on a bound socket");
    (listener, address)
}

/// Two ends of one connection.
async fn pair<R: Runtime>(runtime: &R) -> (Wire<Stream<R>>, Wire<Stream<R>>) {
    let (mut listener, address) = listen(runtime);
    let (client, server) = join(runtime.net().connect(address), listener.accept()).await;
    let (server, peer) = server.expect("accept");
    assert!(
        peer.ip().is_loopback(),
        "the peer's address is told: {peer}"
    );
    (Wire::new(client.expect("connect")), Wire::new(server))
}

async fn bytes_go_both_ways<R: Runtime>(runtime: R) {
    let (mut client, mut server) = pair(&runtime).await;
    for round in 0..20u8 {
        client.write([round; 3]).await.expect("write");
        assert_eq!(server.read_exact(3).await.expect("read"), [round; 3]);
        server.write([round; 2]).await.expect("write");
        assert_eq!(client.read_exact(2).await.expect("read"), [round; 2]);
    }
    // A reader that waits before the writer writes is woken.
    let (read, ()) = join(client.read_exact(1), async {
        sleep(&runtime, Duration::from_millis(3)).await;
        server.write("x").await.expect("write");
    })
    .await;
    assert_eq!(read.expect("read"), b"x");
}

async fn a_shut_down_half_is_an_end_and_the_other_half_goes_on<R: Runtime>(runtime: R) {
    let (mut client, mut server) = pair(&runtime).await;
    client.write("question").await.expect("write");
    client.shutdown().await.expect("shutdown");
    assert_eq!(
        server.read_to_end().await.expect("an end, no error"),
        b"question"
    );
    server
        .write("answer")
        .await
        .expect("the other half is open");
    drop(server);
    assert_eq!(
        client.read_to_end().await.expect("an end, no error"),
        b"answer"
    );
}

async fn a_dropped_stream_is_an_end<R: Runtime>(runtime: R) {
    let (mut client, mut server) = pair(&runtime).await;
    server.write("all").await.expect("write");
    drop(server);
    let read = client.read_to_end().await;
    assert_eq!(
        read.expect("a stream that is dropped MUST send FIN"),
        b"all"
    );
}

async fn a_dropped_stream_after_reset_is_a_reset<R: Runtime>(runtime: R) {
    let (mut client, server) = pair(&runtime).await;
    R::Net::reset(server.stream());
    drop(server);
    let error = client
        .read_to_end()
        .await
        .expect_err("a stream that is dropped after reset MUST send RST");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

async fn a_port_where_nobody_listens_refuses<R: Runtime>(runtime: R) {
    let (listener, address) = listen(&runtime);
    drop(listener);
    let error = runtime
        .net()
        .connect(address)
        .await
        .err()
        .expect("nobody listens there any more");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

/// Byte `at` of a stream that is known to both sides.
fn pattern(side: u8, from: usize, count: usize) -> Vec<u8> {
    (from..from + count)
        .map(|at| side ^ (at.wrapping_mul(31) >> 3) as u8)
        .collect()
}

async fn large_transfers_in_both_directions_arrive_whole<R: Runtime>(runtime: R) {
    const ALL: usize = 1 << 20;
    const STEP: usize = 1 << 16;
    async fn talk<R: Runtime>(mut wire: Wire<Stream<R>>, runtime: R, mine: u8, theirs: u8) {
        for from in (0..ALL).step_by(STEP) {
            let sent = pattern(mine, from, STEP);
            let seen = wire.write_and_read(&sent, STEP).await.expect("both ways");
            assert!(
                seen == pattern(theirs, from, STEP),
                "wrong bytes near {from}"
            );
            if mine == 1 && from.is_multiple_of(STEP * 4) {
                // One side is late now and then, so that buffers fill.
                sleep(&runtime, Duration::from_millis(1)).await;
            }
        }
        wire.shutdown().await.expect("shutdown");
        let rest = wire.read_to_end().await.expect("a clean end");
        assert_eq!(rest.len(), 0, "nothing follows the last byte");
    }
    let (client, server) = pair(&runtime).await;
    join(
        talk(client, runtime.clone(), 0, 1),
        talk(server, runtime.clone(), 1, 0),
    )
    .await;
}

async fn a_writer_waits_for_a_reader_that_does_not_read<R: Runtime>(runtime: R) {
    const MANY: usize = 64 << 20;
    let (mut client, mut server) = pair(&runtime).await;
    let mut written = 0;
    let block = vec![7; 64 * 1024];
    while written < MANY {
        let deadline = runtime.timer().now() + SETTLE * 2;
        if timeout(runtime.timer(), deadline, client.write(&block))
            .await
            .is_err()
        {
            break;
        }
        written += block.len();
    }
    assert!(written < MANY, "a write MUST wait while nobody reads");
    // It goes on once somebody does. (The write that was given up may have left a part of its block.)
    let (done, ()) = join(client.write(&block), async {
        let mut seen = 0;
        while seen < written + block.len() {
            let count = server.fill().await.expect("read");
            assert_ne!(count, 0, "the stream goes on");
            seen += count;
        }
    })
    .await;
    done.expect("write");
}

async fn a_dropped_accept_loses_no_connection<R: Runtime>(runtime: R) {
    const MANY: u8 = 8;
    let (mut listener, address) = listen(&runtime);
    let clients = runtime.clone();
    runtime.spawn().spawn(async move {
        let mut kept = Vec::new();
        for number in 0..MANY {
            let stream = clients.net().connect(address).await.expect("connect");
            let mut wire = Wire::new(stream);
            wire.write([number]).await.expect("write");
            kept.push(wire);
            sleep(&clients, Duration::from_millis(1)).await;
        }
        // Open until the other side closes.
        for mut wire in kept {
            let _ = wire.fill().await;
        }
    });
    let mut seen = Vec::new();
    while seen.len() < usize::from(MANY) {
        // Given up again and again, in all states.
        let deadline = runtime.timer().now() + Duration::from_micros(300);
        if let Ok(accepted) = timeout(runtime.timer(), deadline, listener.accept()).await {
            let (stream, _) = accepted.expect("accept");
            let mut wire = Wire::new(stream);
            seen.extend(wire.read_exact(1).await.expect("read"));
        }
    }
    seen.sort_unstable();
    assert_eq!(
        seen,
        (0..MANY).collect::<Vec<_>>(),
        "dropping accept MUST lose none"
    );
}

async fn a_dropped_connect_leaves_the_rest_alone<R: Runtime>(runtime: R) {
    let (mut listener, address) = listen(&runtime);
    let now = runtime.timer().now();
    for _ in 0..4 {
        let _ = timeout(runtime.timer(), now, runtime.net().connect(address)).await;
    }
    let connect = async {
        let stream = runtime.net().connect(address).await.expect("connect");
        let mut wire = Wire::new(stream);
        wire.write("real").await.expect("write");
        wire
    };
    let serve = async {
        loop {
            // Those that were given up may show themselves as connections that end at once.
            let (stream, _) = listener.accept().await.expect("accept");
            let mut wire = Wire::new(stream);
            if wire.read_exact(4).await.is_ok_and(|bytes| bytes == b"real") {
                return;
            }
        }
    };
    join(connect, serve).await;
}

async fn a_port_in_use_is_an_error<R: Runtime>(runtime: R) {
    for count in [1, 2] {
        let bound = runtime.net().bind(loopback(), count).expect("bind");
        let address = R::Net::local_addr(&bound[0]).expect("address");
        for again in [1, 2] {
            let error = runtime
                .net()
                .bind(ListenAddress::Exact(address), again)
                .err()
                .expect("a port that somebody else has is an error");
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }
}

async fn several_sockets_share_one_port<R: Runtime>(runtime: R) {
    const MANY: usize = 24;
    let bound = runtime.net().bind(loopback(), 2).expect("bind");
    assert_eq!(bound.len(), 2, "one socket for each worker");
    let address = R::Net::local_addr(&bound[0]).expect("address");
    assert_eq!(R::Net::local_addr(&bound[1]).expect("address"), address);
    let mut listeners = bound
        .into_iter()
        .map(|bound| runtime.net().listen(bound).expect("listen"));
    let (mut one, mut two) = (
        listeners.next().expect("two"),
        listeners.next().expect("two"),
    );
    let connects = join_all((0..MANY).map(|_| runtime.net().connect(address)));
    let accepts = async {
        let mut accepted = Vec::new();
        while accepted.len() < MANY {
            let next = select(Box::pin(one.accept()), Box::pin(two.accept())).await;
            accepted.push(next.factor_first().0.expect("accept"));
        }
        accepted
    };
    let (connected, _accepted) = join(connects, accepts).await;
    for stream in connected {
        stream.expect("connect");
    }
}

async fn connections_wait_in_the_queue_of_a_bound_socket<R: Runtime>(runtime: R) {
    let bound = runtime.net().bind(loopback(), 1).expect("bind").remove(0);
    let address = R::Net::local_addr(&bound).expect("address");
    let stream = runtime
        .net()
        .connect(address)
        .await
        .expect("a bound socket listens");
    let mut client = Wire::new(stream);
    client.write("early").await.expect("write");
    let mut listener = runtime.net().listen(bound).expect("listen");
    let (stream, _) = listener.accept().await.expect("accept");
    let read = Wire::new(stream).read_exact(5).await;
    assert_eq!(read.expect("what was sent before the accept"), b"early");
}

async fn a_shut_listener_still_has_whom_it_had<R: Runtime>(runtime: R) {
    let (mut listener, address) = listen(&runtime);
    let stream = runtime.net().connect(address).await.expect("connect");
    let mut client = Wire::new(stream);
    client.write("early").await.expect("write");
    listener.shut();
    let (stream, _) = listener.accept().await.expect("accept");
    drop(listener);
    let mut server = Wire::new(stream);
    let read = server.read_exact(5).await;
    assert_eq!(read.expect("what was sent before it was shut"), b"early");
    server.write("late").await.expect("write");
    drop(server);
    assert_eq!(client.read_to_end().await.expect("read"), b"late");
}

async fn literal_addresses_and_localhost_resolve<R: Runtime>(runtime: R) {
    let literal = runtime
        .net()
        .resolve("127.0.0.1", 80)
        .await
        .expect("a literal");
    assert_eq!(
        literal,
        ["127.0.0.1:80".parse::<SocketAddr>().expect("literal")]
    );
    let literal = runtime.net().resolve("::1", 80).await.expect("a literal");
    assert_eq!(
        literal,
        ["[::1]:80".parse::<SocketAddr>().expect("literal")]
    );
    let named = runtime
        .net()
        .resolve("localhost", 81)
        .await
        .expect("localhost");
    assert!(!named.is_empty(), "localhost has an address");
    for address in named {
        assert!(
            address.ip().is_loopback() && address.port() == 81,
            "{address}"
        );
    }
}
