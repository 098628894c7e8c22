//! A connection: two directions, each a queue of what travels and a buffer of what arrived.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use lb_core::time::Instant;

use super::super::executor::lock;
use super::super::trace;
use super::{Conditions, Network};

/// One connection; side 0 opened it, side 1 accepted it.
pub(super) struct Conn {
    id: u64,
    ends: [SocketAddr; 2],
    conditions: Conditions,
    state: Mutex<State>,
}

struct State {
    sides: [Side; 2],
    /// The network breaks the connection when so many bytes have been written.
    reset_at: Option<u64>,
    written: u64,
}

/// One end: what it reads, and what it has been told.
struct Side {
    /// On its way to this side, with the moment of its arrival.
    travelling: VecDeque<(Instant, Segment)>,
    /// Arrived, and not read yet.
    arrived: VecDeque<u8>,
    /// Bytes that may travel and wait in all.
    window: usize,
    held: usize,
    fin_arrived: bool,
    fin_sent: bool,
    /// A reset arrived here, or was sent from here.
    broken: bool,
    /// The stream was dropped.
    closed: bool,
    reset_on_drop: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum Segment {
    Data(Vec<u8>),
    Fin,
    Reset,
}

impl Side {
    fn new(window: u64) -> Self {
        Self {
            travelling: VecDeque::new(),
            arrived: VecDeque::new(),
            window: usize::try_from(window).unwrap_or(usize::MAX).max(1),
            held: 0,
            fin_arrived: false,
            fin_sent: false,
            broken: false,
            closed: false,
            reset_on_drop: false,
            reader: None,
            writer: None,
        }
    }

    fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.reader.take());
        wakers.extend(self.writer.take());
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Conn {
    pub(super) fn new(
        id: u64,
        ends: [SocketAddr; 2],
        windows: [u64; 2],
        conditions: Conditions,
        reset_at: Option<u64>,
    ) -> Self {
        Self {
            id,
            ends,
            conditions,
            state: Mutex::new(State {
                sides: windows.map(Side::new),
                reset_at,
                written: 0,
            }),
        }
    }

    pub(super) fn touches(&self, ip: IpAddr) -> bool {
        self.ends.iter().any(|end| end.ip() == ip)
    }

    pub(super) fn is_open(&self) -> bool {
        lock(&self.state).sides.iter().any(|side| !side.closed)
    }

    pub(super) fn read(
        &self,
        network: &Network,
        side: usize,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.state);
        let me = &mut state.sides[side];
        let there = me.arrived.len().min(buf.len());
        if there > 0 {
            let count = self.some_of(network, there);
            me.arrived.read_exact(&mut buf[..count])?;
            me.held -= count;
            // Room for the peer's next write.
            let writer = state.sides[1 - side].writer.take();
            drop(state);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Ok(count));
        }
        if me.broken {
            return Poll::Ready(Err(reset()));
        }
        if me.fin_arrived || buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        me.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn write(
        self: &Arc<Self>,
        network: &Arc<Network>,
        side: usize,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.state);
        if state.sides[side].broken {
            return Poll::Ready(Err(reset()));
        }
        if state.sides[side].fin_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let peer = &mut state.sides[1 - side];
        let room = peer.window.saturating_sub(peer.held).min(bytes.len());
        if room == 0 {
            state.sides[side].writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = self.some_of(network, room);
        peer.held += count;
        state.written += count as u64;
        let broken = state.reset_at.is_some_and(|at| state.written > at);
        drop(state);
        self.send(network, side, Segment::Data(bytes[..count].to_vec()));
        if broken {
            self.break_both(network);
        }
        Poll::Ready(Ok(count))
    }

    /// Ends the writing half.
    pub(super) fn shutdown(self: &Arc<Self>, network: &Arc<Network>, side: usize) {
        let mut state = lock(&self.state);
        let me = &mut state.sides[side];
        if me.fin_sent || me.broken {
            return;
        }
        me.fin_sent = true;
        drop(state);
        self.send(network, side, Segment::Fin);
    }

    pub(super) fn reset_on_drop(&self, side: usize) {
        lock(&self.state).sides[side].reset_on_drop = true;
    }

    /// The stream of `side` was dropped: FIN, or RST when that was asked for or something stays unread.
    pub(super) fn close(self: &Arc<Self>, network: &Arc<Network>, side: usize) {
        let mut state = lock(&self.state);
        let me = &mut state.sides[side];
        me.closed = true;
        me.reader = None;
        me.writer = None;
        if me.broken {
            return;
        }
        if me.reset_on_drop || !me.arrived.is_empty() {
            me.broken = true;
            drop(state);
            self.send(network, side, Segment::Reset);
        } else {
            drop(state);
            self.shutdown(network, side);
        }
    }

    /// The process at `ip` died with this connection open.
    pub(super) fn reset_by(self: &Arc<Self>, network: &Arc<Network>, ip: IpAddr) {
        for side in 0..2 {
            if self.ends[side].ip() != ip {
                continue;
            }
            let mut state = lock(&self.state);
            let me = &mut state.sides[side];
            if me.closed || me.broken {
                continue;
            }
            me.broken = true;
            let mut wakers = Vec::new();
            me.wake_all(&mut wakers);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
            self.send(network, side, Segment::Reset);
        }
    }

    /// Something between the two resets both.
    fn break_both(self: &Arc<Self>, network: &Arc<Network>) {
        self.send(network, 0, Segment::Reset);
        self.send(network, 1, Segment::Reset);
    }

    /// Puts a segment of `from` on its way. Order is kept, as in TCP.
    fn send(self: &Arc<Self>, network: &Arc<Network>, from: usize, segment: Segment) {
        let (kind, content) = match &segment {
            Segment::Data(bytes) => ("data", trace::bytes(0, bytes)),
            Segment::Fin => ("fin", 0),
            Segment::Reset => ("rst", 0),
        };
        network
            .executor
            .record(kind, &[self.id, from as u64, content]);
        let due = network.executor.now() + network.latency(&self.conditions);
        let mut state = lock(&self.state);
        let queue = &mut state.sides[1 - from].travelling;
        let due = queue.back().map_or(due, |(last, _)| due.max(*last));
        queue.push_back((due, segment));
        drop(state);
        let (conn, network) = (self.clone(), network.clone());
        let executor = network.executor.clone();
        executor.run_at(due, move || conn.deliver(&network, 1 - from));
    }

    /// Hands over what has reached `to` by now.
    pub(super) fn deliver(self: &Arc<Self>, network: &Arc<Network>, to: usize) {
        if network.is_cut(self.ends) {
            return;
        }
        let now = network.executor.now();
        let mut wakers = Vec::new();
        let mut refused = false;
        let mut state = lock(&self.state);
        let side = &mut state.sides[to];
        while side.travelling.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, segment)) = side.travelling.pop_front() else {
                break;
            };
            match segment {
                _ if side.broken => {}
                Segment::Data(_) if side.closed => refused = true,
                Segment::Data(bytes) => side.arrived.extend(&bytes),
                Segment::Fin => side.fin_arrived = true,
                Segment::Reset => side.broken = true,
            }
            side.wake_all(&mut wakers);
        }
        if refused {
            // RFC 9293 §3.10.7.1: bytes for a connection that is gone are answered with a reset.
            side.broken = true;
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        if refused {
            self.send(network, to, Segment::Reset);
        }
    }

    /// How many of `count` bytes move at once.
    fn some_of(&self, network: &Network, count: usize) -> usize {
        if !self.conditions.split || network.rng.below(4) != 0 {
            return count;
        }
        // Now and then a single byte: parsers must survive it.
        if network.rng.below(4) == 0 {
            return 1;
        }
        1 + usize::try_from(network.rng.below(count as u64)).unwrap_or(0)
    }
}
