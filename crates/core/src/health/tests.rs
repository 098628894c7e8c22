//! The monitor in virtual time, over a scripted transport.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use http::{Method, Request, Response, StatusCode, uri::PathAndQuery};
use http_body::Frame;

use super::monitor;
use crate::body::Body;
use crate::config::settings::{Check, Health, HttpCheck, ProbeSettings};
use crate::error::{BodyError, Cause, Phase, TransportError};
use crate::event::State::{self, Down, Stalled, Suspect, Unknown, Up};
use crate::picker::Tried;
use crate::pool::testing::{Heard, pool_of, states};
use crate::pool::{Lease, Outcome, SharedPool};
use crate::rng::Rng;
use crate::time::{Instant, Timer};
use crate::transport::{Attempt, Reuse, Transport};

fn at(ms: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(ms)
}

/// A clock that moves only when the test says so.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<Ticks>>);

#[derive(Default)]
struct Ticks {
    now: Instant,
    sleeps: u64,
    sleeping: BTreeMap<(Instant, u64), Waker>,
}

struct Sleep {
    clock: Clock,
    key: (Instant, u64),
}

impl Timer for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.0.lock().unwrap().now
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let mut ticks = self.0.lock().unwrap();
        ticks.sleeps += 1;
        Sleep {
            clock: self.clone(),
            key: (deadline, ticks.sleeps),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut ticks = self.clock.0.lock().unwrap();
        if self.key.0 <= ticks.now {
            return Poll::Ready(());
        }
        ticks.sleeping.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.0.lock().unwrap().sleeping.remove(&self.key);
    }
}

/// What a member does with a probe.
#[derive(Clone, Copy)]
enum Reply {
    /// Accepts, and answers with a status; the body is empty.
    Answers(u16),
    /// Answers 200, then sends a KiB every so many milliseconds for ever.
    Drips(u64),
    /// Answers 200 with this body.
    Says(&'static str),
    /// Refuses the connection.
    Refuses,
    /// Accepts, and never answers.
    Freezes,
    /// Not even a connection.
    Swallows,
    /// This machine has no port left.
    NoPort,
}

#[derive(Clone)]
struct Script(Arc<Mutex<Stage>>, Clock);

struct Stage {
    replies: Vec<Reply>,
    /// Member and millisecond of each probe.
    log: Vec<(usize, u64)>,
    heads: Vec<http::request::Parts>,
    dripped: usize,
    running: usize,
    running_max: usize,
}

impl Script {
    fn begin(&self, to: &Attempt<'_>) -> (Reply, Running) {
        assert_eq!(to.reuse, Reuse::Fresh);
        let index: usize = to.backend.name[1..].parse().unwrap();
        let mut stage = self.0.lock().unwrap();
        let ms = self.1.now().since_origin().as_millis();
        stage.log.push((index, u64::try_from(ms).unwrap()));
        stage.running += 1;
        stage.running_max = stage.running_max.max(stage.running);
        (stage.replies[index], Running(self.clone()))
    }
}

struct Running(Script);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().running -= 1;
    }
}

fn failed(cause: Cause) -> TransportError {
    TransportError::undelivered(Phase::Connect, cause)
}

impl Transport for Script {
    async fn send(
        &self,
        to: &Attempt<'_>,
        request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        let (reply, _running) = self.begin(to);
        let head = request.into_parts().0;
        self.0.lock().unwrap().heads.push(head);
        let mut response = Response::new(Body::empty());
        match reply {
            Reply::Answers(status) => {
                *response.status_mut() = StatusCode::from_u16(status).unwrap()
            }
            Reply::Drips(every) => {
                let every = Duration::from_millis(every);
                let next = self.1.sleep_until(self.1.now() + every);
                *response.body_mut() = Body::stream(Drip(self.clone(), every, next));
            }
            Reply::Says(text) => *response.body_mut() = Body::from(text),
            Reply::Refuses => return Err(failed(Cause::Refused)),
            Reply::NoPort => return Err(failed(Cause::LocalLimit)),
            Reply::Freezes | Reply::Swallows => std::future::pending().await,
        }
        Ok(response)
    }

    async fn check(&self, to: &Attempt<'_>) -> Result<(), TransportError> {
        let (reply, _running) = self.begin(to);
        match reply {
            Reply::Refuses => Err(failed(Cause::Refused)),
            Reply::NoPort => Err(failed(Cause::LocalLimit)),
            Reply::Swallows => std::future::pending().await,
            Reply::Answers(_) | Reply::Says(_) | Reply::Drips(_) | Reply::Freezes => Ok(()),
        }
    }
}

struct Drip(Script, Duration, Sleep);

impl http_body::Body for Drip {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        std::task::ready!(Pin::new(&mut self.2).poll(cx));
        let clock = &self.0.1;
        let next = clock.sleep_until(clock.now() + self.1);
        self.2 = next;
        self.0.0.lock().unwrap().dripped += 1024;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'.'; 1024])))))
    }
}

struct World {
    clock: Clock,
    script: Script,
    heard: Arc<Heard>,
    pool: Arc<SharedPool>,
    rng: Rng,
    tasks: LocalPool,
}

impl World {
    fn new(replies: &[Reply], health: Health) -> Self {
        let clock = Clock::default();
        let stage = Stage {
            replies: replies.to_vec(),
            log: Vec::new(),
            heads: Vec::new(),
            dripped: 0,
            running: 0,
            running_max: 0,
        };
        let heard = Arc::default();
        let mut world = Self {
            script: Script(Arc::new(Mutex::new(stage)), clock.clone()),
            clock,
            pool: pool_of(replies.len(), health, &heard),
            heard,
            rng: Rng::new(1),
            tasks: LocalPool::new(),
        };
        world.start_monitor();
        world
    }

    fn start_monitor(&mut self) {
        let (pool, script, clock) = (self.pool.clone(), self.script.clone(), self.clock.clone());
        let task = async move {
            let _: Infallible = monitor(&pool, &script, &clock).await;
        };
        self.tasks.spawner().spawn_local(task).unwrap();
    }

    /// Lets time pass, stopping wherever something sleeps.
    fn run_to(&mut self, ms: u64) {
        loop {
            self.tasks.run_until_stalled();
            let mut ticks = self.clock.0.lock().unwrap();
            match ticks.sleeping.first_key_value() {
                Some((&(deadline, _), _)) if deadline <= at(ms) => {
                    ticks.now = deadline;
                    let (_, waker) = ticks.sleeping.pop_first().unwrap();
                    drop(ticks);
                    waker.wake();
                }
                _ => {
                    ticks.now = at(ms);
                    return;
                }
            }
        }
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn set(&self, index: usize, reply: Reply) {
        self.script.0.lock().unwrap().replies[index] = reply;
    }

    /// When a member was probed since the last call, in milliseconds.
    fn probes_of(&self, index: usize) -> Vec<u64> {
        let mut stage = self.script.0.lock().unwrap();
        let own = stage.log.iter().filter(|(member, _)| *member == index);
        let times = own.map(|(_, ms)| *ms).collect();
        stage.log.retain(|(member, _)| *member != index);
        times
    }

    fn states(&self) -> Vec<State> {
        states(&self.pool.view())
    }

    fn pick(&self) -> Option<Lease> {
        self.pool.pick(&mut Tried::new(), &self.rng, self.now())
    }

    fn pick_at(&self, index: u32) -> Lease {
        let mut picks = (0..100).map_while(|_| self.pick());
        picks
            .find(|lease| lease.member().index() == index)
            .expect("the member is eligible")
    }

    /// One answered request at `index`.
    fn answer(&self, index: u32) {
        let outcome = Outcome::Answered(StatusCode::OK);
        self.pick_at(index).finish(outcome, self.now());
    }
}

fn http(method: Method) -> Health {
    Health::Probes(ProbeSettings {
        check: Check::from(HttpCheck {
            method,
            ..HttpCheck::get(PathAndQuery::from_static("/healthz"))
        }),
        ..ProbeSettings::default()
    })
}

fn tcp() -> Health {
    Health::Probes(ProbeSettings::default())
}

#[test]
fn a_probe_that_wants_a_text_reads_for_it_up_to_64_kib_and_its_deadline() {
    let health = Health::Probes(ProbeSettings {
        check: Check::from(HttpCheck {
            body: Some(b"all well"[..].into()),
            ..HttpCheck::get(PathAndQuery::from_static("/healthz"))
        }),
        ..ProbeSettings::default()
    });
    let replies = [
        Reply::Says("here all well."),
        Reply::Says("nothing of the kind"),
        Reply::Answers(500),
        Reply::Drips(1),
        Reply::Drips(100),
    ];
    let mut world = World::new(&replies, health);
    world.run_to(0);
    assert_eq!(world.states(), [Up, Down, Down, Unknown, Unknown]);
    world.run_to(64);
    world.run_to(1000);
    let mut heard = world.heard.take();
    heard.sort();
    let causes: Vec<_> = heard
        .iter()
        .filter_map(|line| line.split(": ").nth(2))
        .map(|cause| cause.split(" (").next().unwrap_or_default())
        .collect();
    assert_eq!(
        causes,
        [
            "the wanted text is missing",
            "status 500",
            "the wanted text is missing",
            "timed out"
        ],
        "{heard:?}"
    );
}

const WELL: Reply = Reply::Answers(200);

#[test]
fn every_member_is_probed_at_once_and_then_at_its_own_jittered_interval() {
    let mut world = World::new(&[WELL; 3], http(Method::HEAD));
    world.run_to(0);
    assert_eq!(world.states(), [Up; 3]);
    world.run_to(60_000);
    let times = [0, 1, 2].map(|index| world.probes_of(index));
    for times in &times {
        assert!(times[0] == 0 && times[1] <= 2_000, "{times:?}");
        let mut gaps = times[1..].windows(2).map(|pair| pair[1] - pair[0]);
        // Another one may be due within ten milliseconds.
        assert!(gaps.all(|gap| (1599..=2411).contains(&gap)), "{times:?}");
    }
    assert!(times[0] != times[1] && times[1] != times[2]);
    let stage = world.script.0.lock().unwrap();
    let head = &stage.heads[0];
    assert_eq!((&head.method, head.uri.path()), (&Method::HEAD, "/healthz"));
}

#[test]
fn many_members_that_are_well_are_probed_evenly_from_the_start_on() {
    let mut world = World::new(&[WELL; 500], tcp());
    world.run_to(100);
    assert_eq!(world.states(), [Up; 500]);
    world.script.0.lock().unwrap().log.clear();
    world.run_to(60_000);
    let stage = world.script.0.lock().unwrap();
    let times: Vec<_> = stage.log.iter().map(|&(_, ms)| ms).collect();
    // A fair share of a tenth of a second is 25 of 500 in two seconds.
    let most = times.windows(31).map(|some| some[30] - some[0]).min();
    assert!(most >= Some(95), "31 probes within {most:?} ms");
    assert!(times.len() > 59 * 235, "{} probes", times.len());
    let own = |index| stage.log.iter().filter(move |(member, _)| *member == index);
    for index in 0..500 {
        let times: Vec<_> = own(index).map(|&(_, ms)| ms).collect();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(gap <= Some(2_600), "{index}: {gap:?}");
    }
}

#[test]
fn at_most_64_probes_run_at_a_time_and_every_member_gets_its_turn() {
    let mut world = World::new(&[Reply::Swallows; 200], tcp());
    world.run_to(999);
    assert_eq!(world.script.0.lock().unwrap().running, 64);
    world.run_to(4000);
    assert_eq!(world.script.0.lock().unwrap().running_max, 64);
    assert_eq!(world.states(), [Down; 200]);
}

#[test]
fn a_member_that_refuses_or_does_not_answer_in_time_goes_down() {
    let mut world = World::new(&[WELL, WELL, WELL], http(Method::GET));
    world.run_to(0);
    world.set(0, Reply::Refuses);
    world.set(1, Reply::Freezes);
    world.set(2, Reply::Answers(503));
    world.heard.take();
    world.run_to(9000);
    let heard = world.heard.take();
    assert_eq!(world.states(), [Down; 3]);
    for cause in ["refused", "timed out", "status 503"] {
        let line = format!("3 probes failed: {cause}");
        assert!(heard.iter().any(|heard| heard.contains(&line)), "{heard:?}");
    }
}

#[test]
fn a_member_that_is_back_is_picked_again_within_half_a_second() {
    for others in [0, 2] {
        let mut replies = vec![WELL; others + 1];
        replies[0] = Reply::Refuses;
        let mut world = World::new(&replies, tcp());
        for down in [3000, 10_007, 20_130] {
            world.run_to(down);
            assert_eq!(world.states()[0], Down);
            world.set(0, WELL);
            world.run_to(down + 500);
            assert_eq!(world.states()[0], Up);
            world.set(0, Reply::Refuses);
            world.run_to(down + 7000 - down % 1000);
        }
    }
}

#[test]
fn a_suspect_member_is_probed_at_once() {
    let mut world = World::new(&[WELL; 3], tcp());
    world.run_to(700);
    world.probes_of(1);
    let refused = Outcome::ConnectFailed(Cause::Refused);
    world.pick_at(1).finish(refused, world.now());
    assert_eq!(world.states(), [Up, Suspect, Up]);
    world.run_to(700);
    assert_eq!(world.probes_of(1), [700]);
    assert_eq!(world.states(), [Up; 3]);
}

#[test]
fn a_probe_that_this_machine_cannot_make_is_no_verdict() {
    let mut world = World::new(&[WELL, Reply::NoPort], tcp());
    world.run_to(0);
    world.set(0, Reply::NoPort);
    world.run_to(20_000);
    assert_eq!(world.states(), [Up, Unknown]);
}

#[test]
fn the_verdict_comes_with_the_head_and_the_body_is_drained_within_bounds() {
    // Slow: until the probe's time is up.
    let Health::Probes(probes) = http(Method::GET) else {
        unreachable!("it probes");
    };
    let once = Health::Probes(ProbeSettings {
        interval: Duration::from_secs(600),
        ..probes
    });
    let mut world = World::new(&[Reply::Drips(100)], once.clone());
    world.run_to(0);
    assert_eq!(world.states(), [Up]);
    world.run_to(1500);
    assert_eq!(world.script.0.lock().unwrap().dripped, 10 * 1024);
    // Fast: until 64 KiB are read, and the one frame that shows it.
    let mut world = World::new(&[Reply::Drips(0)], once);
    world.run_to(1500);
    assert_eq!(world.states(), [Up]);
    assert_eq!(world.script.0.lock().unwrap().dripped, 65 * 1024);
}

#[test]
fn a_dropped_monitor_loses_nothing_but_the_running_probes() {
    let mut world = World::new(&[Reply::Freezes; 100], http(Method::GET));
    world.run_to(100);
    world.tasks = LocalPool::new();
    assert_eq!(world.script.0.lock().unwrap().running, 0);
    for index in 0..100 {
        world.probes_of(index);
        world.set(index, WELL);
    }
    world.start_monitor();
    world.run_to(200);
    assert_eq!(world.states(), [Up; 100]);
}

#[test]
fn a_frozen_member_is_out_when_its_second_is_over() {
    for start in [100, 237, 499] {
        let mut world = World::new(&[WELL; 3], tcp());
        world.run_to(start);
        world.set(0, Reply::Freezes);
        let mut stuck = [world.pick_at(0), world.pick_at(0)];
        world.run_to(start + 50);
        world.answer(1);
        for lease in &mut stuck {
            assert!(!lease.is_stuck(Waker::noop(), world.now()));
        }
        world.run_to(start + 500);
        world.answer(1);
        world.run_to(start + 995);
        assert_eq!(world.states(), [Up; 3]);
        world.run_to(start + 1005);
        assert_eq!(world.states(), [Stalled, Up, Up]);
        // Its kernel goes on accepting, and that does not count.
        world.run_to(start + 5000);
        assert_eq!(world.states(), [Stalled, Up, Up]);
        // It is asked for a sign of life instead. Which answer it gives does not matter.
        world.set(0, Reply::Answers(500));
        world.run_to(start + 6100);
        assert_eq!(world.states(), [Up; 3]);
        let heads = world.script.0.lock().unwrap().heads.clone();
        assert!(
            heads
                .iter()
                .all(|head| head.method == Method::HEAD && head.uri == "/")
        );
        let [first, .., last] = &heads[..] else {
            panic!("it was not asked");
        };
        assert_eq!(first.headers, last.headers);
    }
}

#[test]
fn a_thawed_member_is_back_with_its_next_http_probe() {
    let mut world = World::new(&[WELL; 3], http(Method::GET));
    world.run_to(100);
    world.set(0, Reply::Freezes);
    let mut stuck = [world.pick_at(0), world.pick_at(0)];
    world.run_to(200);
    world.answer(1);
    for lease in &mut stuck {
        assert!(!lease.is_stuck(Waker::noop(), world.now()));
    }
    world.run_to(600);
    world.answer(1);
    world.run_to(1200);
    assert_eq!(world.states(), [Stalled, Up, Up]);
    world.set(0, WELL);
    // The probe that runs has been swallowed and takes its second.
    world.run_to(2200);
    assert_eq!(world.states()[0], Up);
}

#[test]
fn without_probes_the_monitor_offers_trials() {
    let mut world = World::new(&[WELL; 1], Health::Off);
    world.run_to(100);
    let refused = Outcome::ConnectFailed(Cause::Refused);
    world.pick_at(0).finish(refused, world.now());
    for (due, last) in [(1100, false), (3100, false), (7100, true)] {
        world.run_to(due - 1);
        assert!(world.pick().is_none());
        world.run_to(due);
        if last {
            world.answer(0);
        } else {
            world.pick_at(0).finish(refused, world.now());
        }
    }
    assert_eq!(world.states(), [Up]);
    assert!(world.probes_of(0).is_empty());
}

#[test]
fn the_monitor_can_be_driven_by_any_thread() {
    fn is_send(_: &impl Send) {}
    let world = World::new(&[WELL], tcp());
    is_send(&monitor(&world.pool, &world.script, &world.clock));
}
