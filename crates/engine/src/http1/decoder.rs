//! The body of a message, out of its framing.

use bytes::Bytes;
use http::HeaderMap;

use super::chunked::Chunked;
use super::{Invalid, Limits};

/// Finds a body, and its end, in what a connection brings.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// So many bytes are still to come.
    Exact(u64),
    /// In chunks.
    Chunked(Chunked),
    /// All there is until the connection is closed.
    UntilClose,
}

/// What was found.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Decoded {
    /// A piece, never empty.
    Data(Bytes),
    /// What comes behind the last piece, and nothing follows it.
    Trailers(HeaderMap),
    /// The end.
    End,
    /// Nothing, until there is more.
    More,
}

impl Decoder {
    pub(crate) fn chunked(limits: Limits) -> Self {
        Self::Chunked(Chunked::new(limits))
    }

    /// Takes from `input` what belongs to the body, piece by piece. When there is to be more, nothing is left in it.
    /// Behind an error there are only errors.
    pub(crate) fn decode(&mut self, input: &mut Bytes) -> Result<Decoded, Invalid> {
        match self {
            Self::Chunked(chunked) => chunked.decode(input),
            Self::Exact(0) => Ok(Decoded::End),
            _ if input.is_empty() => Ok(Decoded::More),
            Self::Exact(left) => Ok(Decoded::Data(split(input, left))),
            Self::UntilClose => Ok(Decoded::Data(std::mem::take(input))),
        }
    }

    /// May the connection end here, with nothing of the body missing?
    pub(crate) fn may_end(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// Is there nothing to come, for certain?
    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self, Self::Exact(0))
    }

    /// How much is still to come, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::Exact(left) => Some(*left),
            _ => None,
        }
    }
}

/// The first `left` bytes of `input`, as far as they are there.
pub(super) fn split(input: &mut Bytes, left: &mut u64) -> Bytes {
    let count = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    *left -= count as u64;
    input.split_to(count)
}

#[cfg(test)]
mod tests;
