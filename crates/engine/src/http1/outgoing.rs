//! Bytes on their way to a stream.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes};

/// So much is copied together, at most, before it is written.
const COPIED_MAX: usize = 16 * 1024;
/// Pieces that are written at a time.
const PIECES_MAX: usize = 8;
/// Room for what is copied that is kept from one message to the next.
const KEPT: usize = 1024;

/// What is to be written next: framing, and pieces of a body, which are not copied unless they are small.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Framing and small pieces.
    copied: Vec<u8>,
    /// How much of `copied` is written.
    written: usize,
    /// The other pieces, each with how much of `copied` comes before it.
    pieces: VecDeque<(usize, Bytes)>,
    /// What is left of the pieces, in bytes.
    held: usize,
    how: Gathering,
}

/// How much of a body is put together before it is written, if that is there: one large write costs less than many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gathering {
    /// So many bytes are enough. They, and the rest of the piece with which they are, are held for as long as the other side
    /// takes nothing.
    pub(crate) enough: usize,
    /// Pieces up to this size are copied: a few of them cost less so than each a place of its own.
    pub(crate) small: usize,
}

impl Outgoing {
    /// Nothing yet.
    pub(crate) fn new(how: Gathering) -> Self {
        Self {
            copied: Vec::new(),
            written: 0,
            pieces: VecDeque::new(),
            held: 0,
            how,
        }
    }

    /// Where framing goes: behind everything else.
    pub(crate) fn framing(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Puts a piece of a body behind everything else.
    pub(crate) fn put(&mut self, data: Bytes) {
        if data.len() <= self.how.small {
            self.copied.extend_from_slice(&data);
        } else {
            self.held += data.len();
            self.pieces.push_back((self.copied.len(), data));
        }
    }

    /// Is it worth waiting for more, if that is there?
    pub(crate) fn has_room(&self) -> bool {
        self.held < self.how.enough
            && self.copied.len() < COPIED_MAX
            && self.pieces.len() < PIECES_MAX
    }

    /// Is everything written?
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.written == self.copied.len()
    }

    /// Takes the pieces that were not copied out of it.
    pub(crate) fn take_pieces(&mut self) -> VecDeque<Bytes> {
        self.held = 0;
        self.pieces.drain(..).map(|(_, piece)| piece).collect()
    }

    /// What is left, if it is in one place.
    pub(crate) fn alone(&self) -> Option<&[u8]> {
        self.pieces.is_empty().then(|| &self.copied[self.written..])
    }

    /// Calls `write` with what is left, in order.
    pub(crate) fn with_slices<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let mut slices = [IoSlice::new(b""); 2 * PIECES_MAX + 1];
        let (mut from, mut count) = (self.written, 0);
        for (at, piece) in &self.pieces {
            if from < *at {
                slices[count] = IoSlice::new(&self.copied[from..*at]);
                (from, count) = (*at, count + 1);
            }
            slices[count] = IoSlice::new(piece);
            count += 1;
        }
        if from < self.copied.len() {
            slices[count] = IoSlice::new(&self.copied[from..]);
            count += 1;
        }
        write(&slices[..count])
    }

    /// So many bytes of what is left were written.
    pub(crate) fn advance(&mut self, mut count: usize) {
        while let Some((at, piece)) = self.pieces.front_mut() {
            let before = count.min(*at - self.written);
            self.written += before;
            count -= before;
            if count < piece.len() {
                piece.advance(count);
                self.held -= count;
                return;
            }
            count -= piece.len();
            self.held -= piece.len();
            self.pieces.pop_front();
        }
        self.written += count;
        if self.written >= self.copied.len() {
            self.copied.clear();
            self.copied.shrink_to(KEPT);
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: usize = 10_000;

    fn copying(small: usize) -> Outgoing {
        let enough = ENOUGH;
        Outgoing::new(Gathering { enough, small })
    }

    fn left(outgoing: &Outgoing) -> Vec<u8> {
        outgoing.with_slices(|slices| slices.iter().flat_map(|slice| slice.to_vec()).collect())
    }

    #[test]
    fn what_is_left_shrinks_by_what_was_written_wherever_that_ends() {
        let text = b"4\r\nfour\r\n1\r\n1\r\n6\r\nsixsix\r\n0\r\n\r\n";
        for step in 1..=text.len() {
            let mut outgoing = copying(1);
            for piece in ["four", "1", "sixsix"] {
                let line = format!("{}\r\n", piece.len());
                outgoing.framing().extend_from_slice(line.as_bytes());
                outgoing.put(Bytes::from_static(piece.as_bytes()));
                outgoing.framing().extend_from_slice(b"\r\n");
            }
            outgoing.framing().extend_from_slice(b"0\r\n\r\n");
            let mut wire = Vec::new();
            while !outgoing.is_empty() {
                let left = left(&outgoing);
                let count = step.min(left.len());
                wire.extend_from_slice(&left[..count]);
                outgoing.advance(count);
                assert_eq!([&wire, &self::left(&outgoing)[..]].concat(), text);
            }
            assert_eq!((outgoing.held, outgoing.copied.len()), (0, 0));
        }
    }

    #[test]
    fn small_pieces_are_put_together_until_there_are_enough() {
        let mut outgoing = copying(4);
        let mut count = 0;
        while outgoing.has_room() {
            outgoing.put(Bytes::from_static(b"four"));
            count += 1;
        }
        let text = "four".repeat(count);
        assert_eq!(text.len(), COPIED_MAX);
        assert_eq!(outgoing.alone(), Some(text.as_bytes()));
    }

    #[test]
    fn large_pieces_are_held_until_there_are_enough() {
        for (length, count) in [(5, PIECES_MAX), (ENOUGH / 4, 4), (ENOUGH, 1)] {
            let mut outgoing = copying(4);
            assert_eq!(fill(&mut outgoing, length), count);
            assert!(outgoing.alone().is_none());
            assert_eq!(left(&outgoing).len(), length * count);
            outgoing.advance(length * count);
            assert!(outgoing.is_empty() && outgoing.has_room());
        }
    }

    /// Puts pieces of this length into it until there are enough; how many.
    fn fill(outgoing: &mut Outgoing, length: usize) -> usize {
        let mut count = 0;
        while outgoing.has_room() {
            outgoing.put(vec![7; length].into());
            count += 1;
        }
        count
    }

    #[test]
    fn pieces_can_be_taken_back() {
        let mut outgoing = copying(0);
        outgoing.framing().extend_from_slice(b"head");
        for piece in ["1", "2"] {
            outgoing.put(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!(outgoing.take_pieces(), ["1", "2"]);
        assert_eq!(outgoing.alone(), Some(&b"head"[..]));
    }

    #[test]
    fn a_large_head_leaves_no_large_buffer() {
        let mut outgoing = copying(0);
        outgoing.framing().resize(60_000, b'x');
        outgoing.advance(60_000);
        assert!(outgoing.framing().capacity() <= KEPT);
    }
}
