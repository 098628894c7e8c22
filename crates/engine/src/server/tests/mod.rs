//! What a connection promises, to a client and a backend that a test plays by hand.

mod answers;
mod backend;
mod bodies;
mod pipelines;
mod splits;
mod tunnels;
mod verdicts;
mod wire;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use http::Response;
use lb_core::backend::{Address, Backend};
use lb_core::body::Body;
use lb_core::config::settings::{
    DebugSettings, Limits, LogSettings, PoolSettings, Settings, Workers,
};
use lb_core::event::Observer;
use lb_core::forward::{Forwarder, Shared};
use lb_core::pool::SharedPool;
use lb_core::rng::Rng;
use lb_core::time::Timer as _;

use self::backend::{ByHand, Desk};
use self::wire::{End, Nowhere, Wire};
use super::connection::{Site, serve};
use super::drain::Drain;
use super::watch::{Patience, Watch};
use crate::hand::HandTimer;
use crate::logging::{Log, SystemClock, Throttle};
use crate::rt::BoxFuture;

/// One connection, and those who look after it.
struct World {
    wire: Arc<Mutex<Wire>>,
    backend: ByHand,
    timer: HandTimer,
    drain: Arc<Drain>,
    watch: Arc<Watch>,
    connection: BoxFuture<'static, ()>,
    sweep: BoxFuture<'static, Infallible>,
    woken: Arc<Woken>,
    ended: bool,
}

/// Whether the connection was woken since it was polled last.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The patience of those who look after it.
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(60),
    write: Duration::from_secs(30),
    drain: Duration::from_secs(1),
};

impl World {
    /// A client that takes whatever it gets, and a backend that reads nothing.
    fn new() -> Self {
        let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let server = Backend::new(Address::from(address));
        let settings = Settings {
            workers: Workers::Auto,
            listeners: Vec::new(),
            pool: PoolSettings::new("app", vec![server]),
            limits: Limits::default(),
            log: LogSettings::default(),
            debug: DebugSettings::default(),
        };
        let (log, _) = Log::new(settings.log, false, SystemClock, Rng::new(1));
        let observer: Arc<dyn Observer> = Arc::new(log.clone());
        let (timer, rng) = (HandTimer::default(), Rng::new(2));
        let pool = SharedPool::new(&settings.pool, rng.split(), observer.clone(), timer.now());
        let shared = Shared::new(&settings, pool, observer);
        let backend = ByHand::default();
        let drain = Arc::new(Drain::new());
        let site = Arc::new(Site {
            forwarder: Forwarder::new(&settings, &shared, backend.clone(), timer.clone(), rng),
            timer: timer.clone(),
            limits: crate::http1::Limits {
                bytes: 8192,
                fields: 100,
            },
            date: false,
            drain: drain.clone(),
            log,
            malformed: Throttle::default(),
        });
        let wire = Arc::new(Mutex::new(Wire {
            takes: usize::MAX,
            ..Wire::default()
        }));
        let watch = Arc::new(Watch::default());
        let guard = watch.add(timer.now());
        let end = End(wire.clone());
        let sweep = {
            let (watch, drain, timer) = (watch.clone(), drain.clone(), timer.clone());
            Box::pin(async move { watch.sweep(PATIENCE, &drain, &timer).await })
        };
        Self {
            connection: Box::pin(serve::<Nowhere, _, _>(site, end, address, guard, false)),
            wire,
            backend,
            timer,
            drain,
            watch,
            sweep,
            woken: Arc::new(Woken(AtomicBool::new(true))),
            ended: false,
        }
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.backend.0.lock().unwrap()
    }

    /// Lets the connection do what it can, whenever it was woken; has it ended?
    fn step(&mut self) -> bool {
        for _ in 0..1_000 {
            if self.ended || !self.woken.0.swap(false, Ordering::SeqCst) {
                return self.ended;
            }
            let waker = Waker::from(self.woken.clone());
            let mut context = Context::from_waker(&waker);
            self.ended = self.connection.as_mut().poll(&mut context).is_ready();
        }
        panic!("it never comes to rest");
    }

    /// The client sends this.
    fn send(&mut self, text: impl AsRef<[u8]>) -> bool {
        {
            let mut wire = self.wire();
            wire.to_server.extend(text.as_ref());
            wire.reader.take().into_iter().for_each(Waker::wake);
        }
        self.step()
    }

    /// The client sends no more.
    fn close(&mut self) -> bool {
        self.wire().closed = true;
        self.send("")
    }

    /// The client takes so many bytes, and no more for now.
    fn take_only(&mut self, takes: usize) -> bool {
        {
            let mut wire = self.wire();
            wire.takes = takes;
            wire.writer.take().into_iter().for_each(Waker::wake);
        }
        self.step()
    }

    /// The backend answers this.
    fn answer(&mut self, answer: Response<Body>) -> bool {
        self.desk().answer(answer);
        self.step()
    }

    /// So much time goes by.
    fn wait(&mut self, time: Duration) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        for time in [Duration::ZERO, time] {
            self.timer.advance(time);
            assert!(self.sweep.as_mut().poll(&mut context).is_pending());
        }
        self.step()
    }

    /// What the client has got so far.
    fn received(&self) -> String {
        String::from_utf8_lossy(&self.wire().received).into_owned()
    }

    /// What came to the client since it was asked last.
    fn news(&self) -> String {
        let news = std::mem::take(&mut self.wire().received);
        String::from_utf8_lossy(&news).into_owned()
    }
}

/// An answer of so many bytes.
fn ok(body: &'static str) -> Response<Body> {
    Response::new(body.into())
}

/// What the client gets of that, with this said of the connection.
fn ok_as_sent(body: &str, said: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{said}\r\n{body}")
}

const CLOSE: &str = "connection: close\r\n";
