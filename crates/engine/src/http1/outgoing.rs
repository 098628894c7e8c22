//! Bytes on their way to a stream.

use bytes::{Buf, Bytes};

/// What is to be written next: framing, a piece of a body that is not copied, and what closes it.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    front: Vec<u8>,
    /// How much of `front` is written.
    written: usize,
    data: Bytes,
    back: &'static [u8],
    /// Pieces of a body up to this size are copied: a few of them cost less so than each a place of its own.
    gathered: usize,
}

/// So much of what was copied together is written before more is taken.
const GATHERED_MAX: usize = 16 * 1024;
/// Room for framing that is kept from one request to the next.
const KEPT: usize = 1024;

impl Outgoing {
    /// Nothing, to which pieces of a body up to a size of `gathered` are copied.
    pub(crate) fn gathering(gathered: usize) -> Self {
        Self {
            gathered,
            ..Self::default()
        }
    }

    /// Where framing goes. To be filled while nothing is left but framing.
    pub(crate) fn front(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.is_framing_alone());
        &mut self.front
    }

    /// Puts a piece of a body behind the framing, and behind that what closes it.
    pub(crate) fn put(&mut self, data: Bytes, back: &'static [u8]) {
        debug_assert!(self.is_framing_alone());
        if data.len() <= self.gathered {
            self.front.extend_from_slice(&data);
            self.front.extend_from_slice(back);
        } else {
            self.data = data;
            self.back = back;
        }
    }

    /// The piece of a body, or what is left of it.
    pub(crate) fn data(&self) -> &Bytes {
        &self.data
    }

    /// Is there room for a piece of a body?
    pub(crate) fn has_room(&self) -> bool {
        self.is_framing_alone() && self.front.len() < GATHERED_MAX
    }

    fn is_framing_alone(&self) -> bool {
        self.data.is_empty() && self.back.is_empty()
    }

    /// What is left, if it is framing alone.
    pub(crate) fn framing_alone(&self) -> Option<&[u8]> {
        self.is_framing_alone().then(|| &self.front[self.written..])
    }

    /// Is everything written?
    pub(crate) fn is_empty(&self) -> bool {
        self.written == self.front.len() && self.data.is_empty() && self.back.is_empty()
    }

    /// What is left, in order.
    pub(crate) fn slices(&self) -> [&[u8]; 3] {
        [&self.front[self.written..], &self.data, self.back]
    }

    /// So many bytes of what is left were written.
    pub(crate) fn advance(&mut self, mut count: usize) {
        let front = count.min(self.front.len() - self.written);
        self.written += front;
        count -= front;
        let data = count.min(self.data.len());
        self.data.advance(data);
        count -= data;
        self.back = &self.back[count.min(self.back.len())..];
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets what is left, and whatever memory is not worth keeping.
    pub(crate) fn clear(&mut self) {
        self.front.clear();
        self.front.shrink_to(KEPT);
        self.written = 0;
        self.data = Bytes::new();
        self.back = b"";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_shrinks_by_what_was_written_wherever_that_ends() {
        for step in 1..=9 {
            let mut outgoing = Outgoing::default();
            outgoing.front().extend_from_slice(b"2\r\n");
            outgoing.put(Bytes::from_static(b"ok"), b"\r\n");
            let mut wire = Vec::new();
            while !outgoing.is_empty() {
                let left = outgoing.slices().concat();
                let count = step.min(left.len());
                wire.extend_from_slice(&left[..count]);
                outgoing.advance(count);
            }
            assert_eq!(wire, b"2\r\nok\r\n");
            assert_eq!(outgoing.slices().concat(), b"");
        }
    }

    #[test]
    fn small_pieces_are_put_together_until_there_are_enough() {
        let mut outgoing = Outgoing::gathering(4);
        let mut pieces = 0;
        while outgoing.has_room() {
            outgoing.put(Bytes::from_static(b"four"), b"\r\n");
            pieces += 1;
        }
        let wire = "four\r\n".repeat(pieces);
        assert_eq!(outgoing.framing_alone(), Some(wire.as_bytes()));
        assert!((GATHERED_MAX..GATHERED_MAX + 6).contains(&wire.len()));
        outgoing.advance(wire.len());
        outgoing.put(Bytes::from_static(b"fives"), b"");
        assert!(!outgoing.has_room() && outgoing.framing_alone().is_none());
    }

    #[test]
    fn a_large_head_leaves_no_large_buffer() {
        let mut outgoing = Outgoing::default();
        outgoing.front().resize(60_000, b'x');
        outgoing.advance(60_000);
        assert!(outgoing.front().capacity() <= KEPT);
    }
}
