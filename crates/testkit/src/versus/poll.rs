//! Readiness of many sockets on one thread: `epoll`, by keys.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// What became of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    /// The key it was added with.
    pub(super) key: u64,
    /// There is something to read: bytes, an end or an error.
    pub(super) read: bool,
    /// It can be written to.
    pub(super) write: bool,
}

/// Many sockets, level-triggered: what is not dealt with is reported again. A socket that is closed leaves by itself.
pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    /// Watches nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(512),
        })
    }

    /// Watches for something to read and, if asked, for room to write.
    pub(super) fn add(&self, socket: impl AsFd, key: u64, write: bool) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(key),
            flags(write),
        )?)
    }

    /// Changes what it is watched for.
    pub(super) fn change(&self, socket: impl AsFd, key: u64, write: bool) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            socket,
            EventData::new_u64(key),
            flags(write),
        )?)
    }

    /// Waits, at most for `patience`, and puts what is ready into `ready`.
    pub(super) fn wait(&mut self, patience: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        self.events.clear();
        let patience = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&patience),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            Ready {
                key: data.u64(),
                read: broken || flags.contains(EventFlags::IN),
                write: broken || flags.contains(EventFlags::OUT),
            }
        }));
        Ok(())
    }
}

fn flags(write: bool) -> EventFlags {
    if write {
        EventFlags::IN | EventFlags::OUT
    } else {
        EventFlags::IN
    }
}
