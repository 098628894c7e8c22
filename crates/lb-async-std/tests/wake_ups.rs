//! Readiness kept in the adapter loses no wake-up; everything else about its transport is in the conformance suite.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::thread;
use std::time::Duration;

use http::Request;
use http_body::Body as _;
use lb_async_std::{AsyncStd, AsyncStdTimer};
use lb_core::backend::{Address, Backend};
use lb_core::body::Body;
use lb_core::time::Timer;
use lb_core::transport::{Attempt, Reuse, Transport};
use lb_engine::rt::{Runtime, Threads};

/// Reads one request without a body; `false` at the end of the connection.
fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

fn backend(serve: impl FnMut(usize, TcpStream) + Send + 'static) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut serve = serve;
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            serve(number, stream.unwrap());
        }
    });
    Backend::new(Address::from(address))
}

fn attempt<'a>(timer: &AsyncStdTimer, backend: &'a Backend) -> Attempt<'a> {
    Attempt {
        backend,
        connect_deadline: timer.now() + Duration::from_secs(10),
        reuse: Reuse::Allowed,
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "test")
        .body(Body::empty())
        .unwrap()
}

async fn text(mut body: Body) -> String {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.unwrap().into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn no_wake_up_is_lost_with_many_requests_on_two_workers() {
    const TASKS: usize = 8;
    const ROUNDS: usize = 40;
    let backend = backend(|_, mut stream| {
        thread::spawn(move || {
            while read_head(&mut stream) {
                // In two steps, so that readers meet a drained socket in the middle.
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&[b'x'; 50_000]).unwrap();
                thread::yield_now();
                stream.write_all(&[b'x'; 50_000]).unwrap();
            }
        });
    });
    let runtime = AsyncStd::new();
    let (done, ended) = std::sync::mpsc::channel();
    for worker in 0..2 {
        let (runtime, backend, done) = (runtime.clone(), backend.clone(), done.clone());
        let work = move || -> lb_engine::rt::BoxFuture<'static, ()> {
            Box::pin(async move {
                let timer = runtime.timer().clone();
                let transport = lb_async_std::transport(timer.clone());
                let tasks = (0..TASKS).map(|_| async {
                    for _ in 0..ROUNDS {
                        let response = transport.send(&attempt(&timer, &backend), get("/")).await;
                        assert_eq!(text(response.unwrap().into_body()).await.len(), 100_000);
                    }
                });
                futures::future::join_all(tasks).await;
                done.send(()).unwrap();
            })
        };
        let name = format!("worker-{worker}");
        AsyncStd::new().threads().start(&name, work).unwrap();
    }
    for _ in 0..2 {
        ended.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}
