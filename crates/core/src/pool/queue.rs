//! The queue of a pool whose members are all at their limit: bounded, first come, first served.
//!
//! It knows who is next and wakes that one when a place may be free. Who may pick, and how long anybody waits, is the
//! [forwarder](crate::forward)'s business.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Requests that wait for a place, in the order of their coming.
#[derive(Debug)]
pub(crate) struct Queue {
    size: usize,
    /// How many wait, for those who only want to know whether anybody does.
    length: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiting: BTreeMap<u64, Option<Waker>>,
}

impl Line {
    fn first(&self) -> Option<Waker> {
        self.waiting.first_key_value()?.1.clone()
    }
}

impl Queue {
    /// A queue for so many.
    pub(super) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            size,
            length: AtomicUsize::new(0),
            line: Mutex::default(),
        })
    }

    /// Does nobody wait? It costs one load.
    pub(crate) fn is_empty(&self) -> bool {
        // Sequentially consistent, as is the count of a member's attempts: either whoever gives a place back sees who
        // waits, or who waits sees the place.
        self.length.load(Ordering::SeqCst) == 0
    }

    /// How many wait.
    pub(super) fn length(&self) -> usize {
        self.length.load(Ordering::SeqCst)
    }

    /// The place at the end; `None` when the queue is full.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Waiting> {
        let mut line = self.lock();
        if line.waiting.len() >= self.size {
            return None;
        }
        let ticket = line.next;
        line.next += 1;
        line.waiting.insert(ticket, None);
        self.length.store(line.waiting.len(), Ordering::SeqCst);
        Some(Waiting {
            queue: Arc::clone(self),
            ticket,
        })
    }

    /// A place may be free: the first one is woken.
    pub(super) fn call(&self) {
        if !self.is_empty() {
            let first = self.lock().first();
            first.into_iter().for_each(Waker::wake);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // Every method leaves the line whole at each step.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Dropping it leaves the queue, and whoever is next then is woken.
#[derive(Debug)]
pub(crate) struct Waiting {
    queue: Arc<Queue>,
    ticket: u64,
}

impl Waiting {
    /// Is it this one's turn? If not, or if it finds nothing, `waker` is woken when to ask again.
    pub(crate) fn is_next(&self, waker: &Waker) -> bool {
        let mut line = self.queue.lock();
        if let Some(own) = line.waiting.get_mut(&self.ticket) {
            *own = Some(waker.clone());
        }
        line.waiting.keys().next() == Some(&self.ticket)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut line = self.queue.lock();
        line.waiting.remove(&self.ticket);
        self.queue
            .length
            .store(line.waiting.len(), Ordering::SeqCst);
        let first = line.first();
        drop(line);
        first.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn first_come_first_served_and_whoever_leaves_makes_way() {
        let queue = Queue::new(3);
        assert!(queue.is_empty());
        let flags: Vec<Arc<Flag>> = (0..3).map(|_| Arc::default()).collect();
        let mut line: Vec<_> = (0..3).map(|_| queue.enter().unwrap()).collect();
        assert!(queue.enter().is_none(), "it is full");
        let next = |line: &[Waiting]| {
            let ask = |(index, waiting): (usize, &Waiting)| {
                waiting.is_next(&Waker::from(Arc::clone(&flags[index])))
            };
            line.iter().enumerate().map(ask).collect::<Vec<_>>()
        };
        assert_eq!(next(&line), [true, false, false]);
        let woken = || {
            let take = |flag: &Arc<Flag>| flag.0.swap(false, Ordering::SeqCst);
            flags.iter().map(take).collect::<Vec<_>>()
        };
        queue.call();
        assert_eq!(woken(), [true, false, false]);
        // One in the middle goes away: the first is told, for nothing.
        drop(line.remove(1));
        assert_eq!(woken(), [true, false, false]);
        drop(line.remove(0));
        assert_eq!(woken(), [false, false, true]);
        assert_eq!((queue.length(), next(&line)), (1, vec![true]));
        drop(line);
        assert!(queue.is_empty());
        queue.call();
    }

    #[test]
    fn a_queue_of_none_takes_nobody() {
        assert!(Queue::new(0).enter().is_none());
    }
}
