//! Replay: keeps what a client has sent of a small body, so that the request can be repeated.
//!
//! It is only made for requests that may be repeated at all. Past [`BYTES_MAX`] in one request, or
//! [`ALL_BYTES_MAX`] in all of them, it forgets what it has and the body goes on as a plain stream.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use crate::body::Body;
use crate::error::{BodyCause, BodyError};

/// Bytes kept of one body.
pub(super) const BYTES_MAX: usize = 64 * 1024;
/// Bytes kept of all bodies together.
pub(super) const ALL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a poll of a body yields.
pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// The memory that all replay buffers share.
#[derive(Debug, Default)]
pub(super) struct Memory {
    used: AtomicUsize,
}

impl Memory {
    fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before
            .checked_add(bytes)
            .is_some_and(|used| used <= ALL_BYTES_MAX);
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One body, read by one reader at a time: what came, and the stream of what is still to come.
pub(super) struct Replay {
    memory: Arc<Memory>,
    state: Mutex<State>,
}

struct State {
    /// What came so far; `None` once it was too much.
    kept: Option<Vec<u8>>,
    /// The trailers, once they came.
    trailers: Option<HeaderMap>,
    /// The client's body.
    rest: Body,
    /// The client's body is at its end.
    ended: bool,
    /// The client's body broke off: nothing that follows can be whole.
    broken: bool,
    /// Who may read: the newest reader.
    reader: u32,
}

impl State {
    fn is_whole(&self) -> bool {
        self.kept.is_some() && !self.broken
    }
}

impl Replay {
    pub(super) fn new(body: Body, memory: &Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            memory: Arc::clone(memory),
            state: Mutex::new(State {
                kept: Some(Vec::new()),
                trailers: None,
                rest: body,
                ended: false,
                broken: false,
                reader: 0,
            }),
        })
    }

    /// The reader that reads it first.
    pub(super) fn first(self: &Arc<Self>) -> Reader {
        Reader {
            reader: 0,
            replay: Arc::clone(self),
            position: 0,
            trailers_sent: false,
        }
    }

    /// A reader that starts at the beginning; earlier ones get errors from now on. `None` when too much came, or
    /// the body broke off.
    pub(super) fn read(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.lock();
        if !state.is_whole() {
            return None;
        }
        state.reader = state.reader.wrapping_add(1);
        Some(Reader {
            reader: state.reader,
            ..self.first()
        })
    }

    /// Everything that came is at hand.
    pub(super) fn is_whole(&self) -> bool {
        self.lock().is_whole()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, kept: &mut Option<Vec<u8>>, data: &[u8]) {
        let Some(buffer) = kept else { return };
        let fits = buffer.len() + data.len() <= BYTES_MAX;
        if fits && self.memory.take(data.len()) {
            buffer.extend_from_slice(data);
        } else {
            self.memory.give_back(buffer.len());
            *kept = None;
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        let kept = self.lock().kept.take();
        self.memory.give_back(kept.map_or(0, |kept| kept.len()));
    }
}

/// One pass over the body.
pub(super) struct Reader {
    replay: Arc<Replay>,
    reader: u32,
    position: usize,
    trailers_sent: bool,
}

impl Reader {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let mut state = self.replay.lock();
        let state = &mut *state;
        if state.reader != self.reader || state.broken {
            return Poll::Ready(Some(Err(BodyCause::Abandoned.into())));
        }
        let again = state
            .kept
            .as_ref()
            .and_then(|kept| kept.get(self.position..))
            .filter(|again| !again.is_empty());
        if let Some(again) = again {
            self.position += again.len();
            return Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(again)))));
        }
        if state.ended {
            let trailers = state.trailers.clone().filter(|_| !self.trailers_sent);
            self.trailers_sent = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let polled = Pin::new(&mut state.rest).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => state.ended = true,
            Poll::Ready(Some(Err(_))) => state.broken = true,
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.replay.keep(&mut state.kept, data);
                    self.position += data.len();
                }
                if let Some(trailers) = frame.trailers_ref() {
                    state.trailers = Some(trailers.clone());
                    self.trailers_sent = true;
                }
                state.ended |= state.rest.is_end_stream();
            }
        }
        polled
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let state = self.replay.lock();
        let all_read = state
            .kept
            .as_ref()
            .is_none_or(|kept| self.position >= kept.len());
        let trailers_done = state.trailers.is_none() || self.trailers_sent;
        state.reader == self.reader && !state.broken && state.ended && all_read && trailers_done
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, frames};
    use super::*;
    use futures::task::noop_waker;

    fn memory() -> Arc<Memory> {
        Arc::default()
    }

    fn next(reader: &mut Reader) -> Option<Result<Frame<Bytes>, BodyError>> {
        let waker = noop_waker();
        match reader.poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Ready(frame) => frame,
            Poll::Pending => panic!("pending"),
        }
    }

    fn data(reader: &mut Reader) -> Option<Vec<u8>> {
        next(reader).map(|frame| frame.unwrap().into_data().unwrap().to_vec())
    }

    #[test]
    fn a_second_reader_gets_what_came_and_then_the_rest() {
        let memory = memory();
        let replay = Replay::new(frames(&["ab", "cd", "ef"]), &memory);
        let mut first = replay.read().unwrap();
        assert_eq!(data(&mut first).unwrap(), b"ab");
        assert_eq!(data(&mut first).unwrap(), b"cd");
        let mut second = replay.read().unwrap();
        assert_eq!(data(&mut second).unwrap(), b"abcd");
        assert!(!second.is_end_stream());
        assert_eq!(data(&mut second).unwrap(), b"ef");
        assert_eq!(data(&mut second), None);
        assert!(second.is_end_stream());
        let mut third = replay.read().unwrap();
        assert_eq!(data(&mut third).unwrap(), b"abcdef");
        assert_eq!(data(&mut third), None);
    }

    #[test]
    fn an_old_reader_takes_nothing_from_the_new_one() {
        let replay = Replay::new(frames(&["ab", "cd"]), &memory());
        let mut first = replay.read().unwrap();
        assert_eq!(data(&mut first).unwrap(), b"ab");
        let mut second = replay.read().unwrap();
        assert_eq!(
            next(&mut first).unwrap().unwrap_err().cause,
            BodyCause::Abandoned
        );
        assert_eq!(data(&mut second).unwrap(), b"ab");
        assert_eq!(data(&mut second).unwrap(), b"cd");
    }

    #[test]
    fn past_64_kib_it_forgets_and_goes_on() {
        let memory = memory();
        let replay = Replay::new(
            Script::new()
                .data(vec![1; BYTES_MAX])
                .data(vec![2; 1])
                .data(vec![3; 1])
                .body(),
            &memory,
        );
        let mut first = replay.read().unwrap();
        assert_eq!(data(&mut first).unwrap().len(), BYTES_MAX);
        assert_eq!(memory.used.load(Ordering::Relaxed), BYTES_MAX);
        assert_eq!(data(&mut first).unwrap(), [2]);
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
        assert!(replay.read().is_none());
        assert_eq!(data(&mut first).unwrap(), [3]);
        assert_eq!(data(&mut first), None);
    }

    #[test]
    fn all_buffers_together_have_a_bound() {
        let memory = memory();
        memory.used.store(ALL_BYTES_MAX - 1, Ordering::Relaxed);
        let replay = Replay::new(frames(&["ab"]), &memory);
        let mut reader = replay.read().unwrap();
        assert_eq!(data(&mut reader).unwrap(), b"ab");
        assert!(replay.read().is_none());
        assert_eq!(memory.used.load(Ordering::Relaxed), ALL_BYTES_MAX - 1);
    }

    #[test]
    fn memory_comes_back_when_the_last_reader_is_gone() {
        let memory = memory();
        let replay = Replay::new(frames(&["abc"]), &memory);
        let mut reader = replay.read().unwrap();
        data(&mut reader);
        assert_eq!(memory.used.load(Ordering::Relaxed), 3);
        drop(replay);
        assert_eq!(memory.used.load(Ordering::Relaxed), 3);
        drop(reader);
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn trailers_are_repeated_and_a_broken_body_is_not() {
        let replay = Replay::new(
            Script::new().data("a").trailers(&[("x-sum", "1")]).body(),
            &memory(),
        );
        let mut first = replay.read().unwrap();
        while next(&mut first).is_some() {}
        let mut second = replay.read().unwrap();
        assert_eq!(data(&mut second).unwrap(), b"a");
        assert_eq!(
            next(&mut second).unwrap().unwrap().into_trailers().unwrap()["x-sum"],
            "1"
        );
        assert!(next(&mut second).is_none());

        let replay = Replay::new(
            Script::new().data("a").fail(BodyCause::Closed).body(),
            &memory(),
        );
        let mut first = replay.read().unwrap();
        data(&mut first);
        assert!(next(&mut first).unwrap().is_err());
        assert!(replay.read().is_none());
    }
}
