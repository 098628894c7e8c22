//! A search in a body that comes in pieces.

use crate::config::settings::HttpCheck;

/// Looks for a text in the first [`HttpCheck::BODY_MAX`] bytes, across the pieces' borders.
#[derive(Debug)]
pub(super) struct Search<'a> {
    text: &'a [u8],
    /// The end of what came, as much of it as may be the text's beginning, and then the piece at hand.
    window: Vec<u8>,
    left: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            window: Vec::new(),
            left: HttpCheck::BODY_MAX,
        }
    }

    /// The next piece: whether the text is there, or `None` while that is open.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Option<bool> {
        let piece = piece.get(..self.left).unwrap_or(piece);
        self.left -= piece.len();
        self.window.extend_from_slice(piece);
        if self.text.is_empty()
            || self
                .window
                .windows(self.text.len())
                .any(|part| part == self.text)
        {
            return Some(true);
        }
        let kept = self.window.len().min(self.text.len() - 1);
        self.window.drain(..self.window.len() - kept);
        (self.left == 0).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_found_wherever_the_pieces_end() {
        let body = b"status: aaab, all is well";
        for text in [&b"status"[..], b"aab", b"well", b"s", b": aaab, all"] {
            for size in 1..=body.len() {
                let mut search = Search::new(text);
                let found = body.chunks(size).find_map(|piece| search.feed(piece));
                assert_eq!(found, Some(true), "{text:?} in pieces of {size}");
            }
        }
        let mut search = Search::new(b"ill");
        assert!(body.chunks(3).all(|piece| search.feed(piece).is_none()));
    }

    #[test]
    fn what_comes_after_64_kib_is_not_looked_at() {
        for (before, found) in [
            (HttpCheck::BODY_MAX - 2, true),
            (HttpCheck::BODY_MAX - 1, false),
        ] {
            let body = [vec![b'.'; before], b"ok".to_vec(), vec![b'.'; 1000]].concat();
            let mut search = Search::new(b"ok");
            let verdict = body.chunks(1000).find_map(|piece| search.feed(piece));
            assert_eq!(verdict, Some(found), "after {before}");
        }
    }
}
