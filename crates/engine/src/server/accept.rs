//! The acceptor: takes connections from one listener while there is room, and leaves none behind when it stops.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::future::{Either, select};
use lb_core::time::{Timer, timeout};

use super::drain::{Drain, Phase};
use crate::logging::{Field, Level, Log};
use crate::rt::Listen;

/// How long the acceptor rests when it is at the cap, or when the system refuses to hand out a descriptor.
const REST: Duration = Duration::from_millis(20);

/// A listener is empty when nothing came for so long: readiness may lag behind the queue.
const QUIET: Duration = Duration::from_millis(20);

/// After so long nobody is waited for: what is queued then is taken.
const CLOSING: Duration = Duration::from_millis(250);

/// And after so long the listener is closed, empty or not.
const CLOSED: Duration = Duration::from_millis(500);

/// Connections accepted before the connections of the same worker have their turn: a flood must not keep it from those
/// that it has.
const IN_A_ROW: u32 = 32;

/// Connections above the cap that are accepted to be told so; past these, clients wait until they are accepted.
const BEYOND: usize = 16;

/// The process-wide cap on client connections.
#[derive(Debug)]
pub(crate) struct Slots {
    open: AtomicUsize,
    beyond: AtomicUsize,
    cap: usize,
}

impl Slots {
    pub(crate) fn new(cap: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            beyond: AtomicUsize::new(0),
            cap,
        })
    }

    /// Is there room for another connection? Nothing is taken yet: an acceptor that waits for a client must not keep
    /// the last place from the acceptor that has one.
    fn have_room(&self) -> bool {
        self.open.load(Ordering::Relaxed) < self.cap || self.beyond.load(Ordering::Relaxed) < BEYOND
    }

    /// Counts an accepted connection, below the cap if there is room. Acceptors that saw the same last place above it all
    /// get one, so that there may be as many connections more as there are other acceptors.
    fn take(self: &Arc<Self>) -> Slot {
        let beyond = self.open.fetch_add(1, Ordering::Relaxed) >= self.cap;
        if beyond {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.beyond.fetch_add(1, Ordering::Relaxed);
        }
        Slot {
            slots: self.clone(),
            beyond,
        }
    }
}

/// The right to hold one connection open.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    beyond: bool,
}

impl Slot {
    /// Is the connection one too many, so that its request is not served?
    pub(crate) fn is_beyond(&self) -> bool {
        self.beyond
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let count = match self.beyond {
            true => &self.slots.beyond,
            false => &self.slots.open,
        };
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an acceptor needs besides its listener.
pub(crate) struct Acceptor<C> {
    pub(crate) slots: Arc<Slots>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) timer: C,
    pub(crate) log: Log,
}

impl<C: Timer> Acceptor<C> {
    /// Accepts until the process drains, then empties the listener's queue and closes it: closing resets what is
    /// queued. `start` must not block. Dropping the future closes the listener at once.
    pub(crate) async fn run<L: Listen>(
        self,
        mut listener: L,
        mut start: impl FnMut(L::Stream, SocketAddr, Slot),
    ) {
        let mut draining = pin!(self.drain.reached(Phase::Draining));
        let mut troubled = false;
        let mut in_a_row = 0;
        // Asked each time, because a crowd may leave no moment in which nobody is there to be accepted.
        while !self.drain.has_reached(Phase::Draining) {
            if !self.slots.have_room() {
                match self.rest(&mut draining).await {
                    Rest::Over => continue,
                    Rest::Draining => break,
                }
            }
            match select(pin!(listener.accept()), &mut draining).await {
                Either::Left((Ok((stream, peer)), _)) => {
                    troubled = false;
                    start(stream, peer, self.slots.take());
                    in_a_row += 1;
                    if in_a_row == IN_A_ROW {
                        in_a_row = 0;
                        let_others_run().await;
                    }
                }
                // The client went away while it was queued: nothing to do, nothing to wait for.
                Either::Left((Err(error), _))
                    if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Either::Left((Err(error), _)) => {
                    if !std::mem::replace(&mut troubled, true) {
                        self.log.say(
                            Level::Error,
                            "accept failed",
                            &[("cause", Field::Text(&error))],
                        );
                    }
                    if let Rest::Draining = self.rest(&mut draining).await {
                        break;
                    }
                }
                Either::Right(_) => break,
            }
        }
        self.empty(listener, start).await;
    }

    /// Takes what is queued, and closes the listener. Where newcomers can't be kept out of the queue, clients that keep
    /// coming must not keep the door open for ever.
    async fn empty<L: Listen>(
        &self,
        mut listener: L,
        mut start: impl FnMut(L::Stream, SocketAddr, Slot),
    ) {
        listener.shut();
        let began = self.timer.now();
        let mut now = began;
        while now < began + CLOSED {
            let patience = (began + CLOSING).min(now + QUIET);
            if self.slots.have_room() {
                match timeout(&self.timer, patience, listener.accept()).await {
                    Ok(Ok((stream, peer))) => start(stream, peer, self.slots.take()),
                    Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Ok(Err(_)) | Err(_) => break,
                }
            } else if now < patience {
                // Connections that end make room.
                self.timer.sleep_until(patience).await;
            } else {
                break;
            }
            now = self.timer.now();
        }
    }

    async fn rest(&self, draining: impl Future<Output = ()> + Unpin) -> Rest {
        match select(
            pin!(self.timer.sleep_until(self.timer.now() + REST)),
            draining,
        )
        .await
        {
            Either::Left(_) => Rest::Over,
            Either::Right(_) => Rest::Draining,
        }
    }
}

enum Rest {
    Over,
    Draining,
}

/// Gives the executor back once: not every runtime does so by itself.
pub(super) async fn let_others_run() {
    let mut ran = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut ran, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt as _;
    use lb_core::config::settings::LogSettings;
    use lb_core::rng::Rng;

    use super::*;
    use crate::hand::HandTimer;
    use crate::logging::SystemClock;

    /// A listener with so many clients in its queue.
    struct Queue(usize);

    impl Listen for Queue {
        type Stream = ();

        async fn accept(&mut self) -> io::Result<((), SocketAddr)> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Ok(((), SocketAddr::from(([127, 0, 0, 1], 1))))
                }
                None => std::future::pending().await,
            }
        }
    }

    /// The same, where each accept takes so long.
    struct Slow(Queue, Duration, HandTimer);

    impl Listen for Slow {
        type Stream = ();

        async fn accept(&mut self) -> io::Result<((), SocketAddr)> {
            let accepted = self.0.accept().await;
            self.2.advance(self.1);
            accepted
        }
    }

    /// How many of the clients in such a queue an acceptor takes that finds the process draining.
    fn taken_while_draining(queued: usize, pace: Duration) -> usize {
        let acceptor = acceptor(&Slots::new(usize::MAX));
        let timer = acceptor.timer.clone();
        acceptor.drain.advance(Phase::Draining);
        let mut taken = 0;
        let listener = Slow(Queue(queued), pace, timer.clone());
        let mut run = Box::pin(acceptor.run(listener, |(), _, _| taken += 1));
        if run.as_mut().now_or_never().is_none() {
            timer.advance(QUIET);
            assert!(run.as_mut().now_or_never().is_some(), "it is still open");
        }
        drop(run);
        taken
    }

    fn acceptor(slots: &Arc<Slots>) -> Acceptor<HandTimer> {
        let (log, _) = Log::new(LogSettings::default(), false, SystemClock, Rng::new(1));
        Acceptor {
            slots: slots.clone(),
            drain: Arc::new(Drain::new()),
            timer: HandTimer::default(),
            log,
        }
    }

    #[test]
    fn an_acceptor_that_waits_keeps_no_place_from_one_that_has_a_client() {
        let slots = Slots::new(1);
        let mut waits = Box::pin(acceptor(&slots).run(Queue(0), |(), _, _| unreachable!()));
        assert!(waits.as_mut().now_or_never().is_none());
        let mut open = Vec::new();
        let mut has = Box::pin(acceptor(&slots).run(Queue(1), |(), _, slot| open.push(slot)));
        assert!(has.as_mut().now_or_never().is_none());
        drop(has);
        assert_eq!(open.len(), 1);
    }

    #[test]
    fn at_the_cap_some_are_told_and_then_nobody_is_accepted_until_a_connection_has_ended() {
        let slots = Slots::new(2);
        let open = Mutex::new(Vec::new());
        let acceptor = acceptor(&slots);
        let timer = acceptor.timer.clone();
        let start = |(), _, slot| open.lock().unwrap().push(slot);
        let mut run = Box::pin(acceptor.run(Queue(2 + BEYOND + 3), start));
        let mut step = || {
            timer.advance(REST);
            assert!(run.as_mut().now_or_never().is_none());
            open.lock().unwrap().len()
        };
        assert_eq!((step(), step()), (2 + BEYOND, 2 + BEYOND));
        let beyond = || {
            let open = open.lock().unwrap();
            open.iter().map(Slot::is_beyond).collect::<Vec<_>>()
        };
        let expected = [vec![false; 2], vec![true; BEYOND]].concat();
        assert_eq!(beyond(), expected);
        // Whoever comes when one of the two has ended is served; one that was told so makes room for another such.
        open.lock().unwrap().remove(0);
        assert_eq!(step(), 2 + BEYOND);
        assert_eq!(beyond().last(), Some(&false));
        open.lock().unwrap().remove(1);
        assert_eq!(step(), 2 + BEYOND);
        assert_eq!(beyond().last(), Some(&true));
        let counts = [&slots.open, &slots.beyond].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [2, BEYOND]);
    }

    #[test]
    fn a_flood_leaves_the_worker_time_for_its_connections() {
        let slots = Slots::new(usize::MAX);
        let mut open = Vec::new();
        let mut run = Box::pin(acceptor(&slots).run(Queue(100), |(), _, slot| open.push(slot)));
        assert!(run.as_mut().now_or_never().is_none());
        drop(run);
        assert_eq!(open.len(), 32);
    }

    #[test]
    fn an_empty_queue_is_closed_when_nobody_has_come_for_a_moment() {
        assert_eq!(taken_while_draining(0, Duration::ZERO), 0);
        assert_eq!(taken_while_draining(3, Duration::ZERO), 3);
    }

    #[test]
    fn who_is_queued_when_the_time_for_waiting_is_over_is_still_taken() {
        assert_eq!(taken_while_draining(3, CLOSING / 2), 3);
    }

    #[test]
    fn clients_that_never_cease_to_come_do_not_keep_the_door_open() {
        let pace = Duration::from_millis(10);
        assert_eq!(taken_while_draining(usize::MAX, pace), 50);
    }

    #[test]
    fn a_place_that_becomes_free_while_the_process_drains_is_for_whoever_is_queued() {
        let slots = Slots::new(0);
        let open = Mutex::new(Vec::new());
        let acceptor = acceptor(&slots);
        let timer = acceptor.timer.clone();
        acceptor.drain.advance(Phase::Draining);
        let start = |(), _, slot| open.lock().unwrap().push(slot);
        let mut run = Box::pin(acceptor.run(Queue(BEYOND + 2), start));
        let mut step = || {
            timer.advance(QUIET);
            run.as_mut().now_or_never().is_some()
        };
        assert!(!step());
        assert_eq!(open.lock().unwrap().len(), BEYOND);
        open.lock().unwrap().pop();
        assert!(!step());
        assert_eq!(open.lock().unwrap().len(), BEYOND);
        timer.advance(CLOSING);
        assert!(step(), "one too many is not waited for");
        assert_eq!(slots.beyond.load(Ordering::Relaxed), BEYOND);
    }
}
