//! Reading from a stream into memory that is neither cleared nor held for longer than needed.
//!
//! Safe code can only read into memory that is initialised already. So each thread has one buffer that all of its streams
//! read into. Little is copied out of it, so that a connection holds what it needs and an idle one nothing. Much is lent: it
//! stays where it is, another buffer takes its place, and it comes back once nobody has any of it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::io::AsyncRead;

/// Bytes that are read at a time.
const SIZE: usize = 64 * 1024;
/// From here on bytes are lent and not copied. A piece of a buffer keeps all of it: what a slow client holds up is at most half
/// as large as what is held for it.
const LENT: usize = SIZE / 2;
/// Buffers of which a thread remembers that they are lent; it makes others when these do not come back.
const REMEMBERED: usize = 16;

/// The buffers of a thread.
#[derive(Default)]
struct Buffers {
    /// Not there before the first read.
    free: BytesMut,
    lent: Vec<Bytes>,
}

thread_local! {
    static BUFFERS: Cell<Buffers> = Cell::default();
}

/// What `stream` has now, at most 64 KiB; nothing at its end.
pub(crate) fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    let mut buffers = BUFFERS.take();
    let read = buffers.poll_read(stream, cx);
    BUFFERS.set(buffers);
    read
}

/// Puts `more` behind what came before and is not read yet.
pub(crate) fn append(input: &mut Bytes, more: Bytes) {
    if input.is_empty() {
        *input = more;
        return;
    }
    let mut joined = match std::mem::take(input).try_into_mut() {
        Ok(input) => input,
        Err(lent) => BytesMut::from(&lent[..]),
    };
    joined.extend_from_slice(&more);
    *input = joined.freeze();
}

impl Buffers {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        if self.free.is_empty() {
            self.free = BytesMut::zeroed(SIZE);
        }
        let count = ready!(Pin::new(stream).poll_read(cx, &mut self.free))?;
        Poll::Ready(Ok(if count < LENT {
            Bytes::copy_from_slice(&self.free[..count])
        } else {
            self.lend().slice(..count)
        }))
    }

    fn lend(&mut self) -> Bytes {
        let next = self.returned();
        let lent = std::mem::replace(&mut self.free, next).freeze();
        if self.lent.len() == REMEMBERED {
            self.lent.remove(0);
        }
        self.lent.push(lent.clone());
        lent
    }

    /// A buffer that came back, or none.
    fn returned(&mut self) -> BytesMut {
        let Some(index) = self.lent.iter().position(Bytes::is_unique) else {
            return BytesMut::new();
        };
        let returned = self.lent.remove(index);
        returned.try_into_mut().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// A stream that has so many bytes.
    struct Has(usize);

    impl AsyncRead for Has {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let count = self.0.min(buf.len());
            buf[..count].fill(7);
            Poll::Ready(Ok(count))
        }
    }

    fn read(buffers: &mut Buffers, count: usize) -> Bytes {
        let mut cx = Context::from_waker(Waker::noop());
        match buffers.poll_read(&mut Has(count), &mut cx) {
            Poll::Ready(Ok(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn little_is_copied_and_much_is_lent() {
        let mut buffers = Buffers::default();
        for count in [0, 1, LENT - 1] {
            assert_eq!(read(&mut buffers, count), vec![7; count]);
            assert!(buffers.lent.is_empty());
        }
        for count in [LENT, SIZE] {
            assert_eq!(read(&mut buffers, count), vec![7; count]);
        }
        assert_eq!(read(&mut buffers, SIZE + 1).len(), SIZE);
    }

    #[test]
    fn a_lent_buffer_is_not_written_to_before_it_came_back_as_a_whole() {
        let mut buffers = Buffers::default();
        let first = read(&mut buffers, SIZE);
        let (start, rest) = (first.as_ptr(), first.slice(LENT..));
        drop(first);
        let others: Vec<_> = (0..2).map(|_| read(&mut buffers, SIZE)).collect();
        assert!(others.iter().all(|other| other.as_ptr() != start));
        drop(rest);
        // The one that was made ready before it came back, and then it.
        read(&mut buffers, SIZE);
        assert_eq!(read(&mut buffers, SIZE).as_ptr(), start);
    }

    #[test]
    fn buffers_that_are_kept_for_long_are_forgotten() {
        let mut buffers = Buffers::default();
        let kept: Vec<_> = (0..3 * REMEMBERED)
            .map(|_| read(&mut buffers, SIZE))
            .collect();
        assert_eq!(buffers.lent.len(), REMEMBERED);
        drop(kept);
        for _ in 0..10 {
            read(&mut buffers, SIZE);
        }
        assert!(buffers.lent.len() <= REMEMBERED);
    }
}
