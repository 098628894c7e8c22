//! The body of a message, framed.

use std::io::Write as _;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    HOST, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName};

use super::fields::write_field;
use super::framing::Framing;
use super::outgoing::Outgoing;

/// Frames a body as its head announced it.
#[derive(Debug)]
pub(crate) enum Encoder {
    /// So many bytes are still owed.
    Exact(u64),
    /// In chunks; the fields that may come behind them.
    Chunked(Vec<HeaderName>),
    /// As it is.
    UntilClose,
}

/// The body is not as long as its head announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WrongLength;

impl Encoder {
    /// For a body that is framed like this, behind this head.
    pub(crate) fn new(framing: Framing, head: &HeaderMap) -> Self {
        match framing {
            Framing::Exact(length) => Self::Exact(length),
            Framing::Chunked => Self::Chunked(announced(head)),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Frames a piece of the body, which ends behind it if it is the `last`.
    pub(crate) fn data(
        &mut self,
        data: Bytes,
        last: bool,
        to: &mut Outgoing,
    ) -> Result<(), WrongLength> {
        if data.is_empty() {
            // As a chunk it would be the end.
            return if last { self.end(to) } else { Ok(()) };
        }
        match self {
            Self::Exact(owed) => {
                *owed = owed.checked_sub(data.len() as u64).ok_or(WrongLength)?;
                if last && *owed > 0 {
                    return Err(WrongLength);
                }
                to.put(data);
            }
            Self::UntilClose => to.put(data),
            Self::Chunked(_) => {
                // Writing to memory does not fail.
                let _ = write!(to.framing(), "{:x}\r\n", data.len());
                to.put(data);
                let end: &[u8] = if last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
                to.framing().extend_from_slice(end);
            }
        }
        Ok(())
    }

    /// Ends the body, by trailers: those that were announced, and that may be trailers.
    pub(crate) fn trailers(
        &mut self,
        trailers: &HeaderMap,
        to: &mut Outgoing,
    ) -> Result<(), WrongLength> {
        let Self::Chunked(announced) = self else {
            return self.end(to);
        };
        let front = to.framing();
        front.extend_from_slice(b"0\r\n");
        for (name, value) in trailers {
            if announced.contains(name) {
                write_field(name.as_str(), value, front);
            }
        }
        front.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Ends the body.
    pub(crate) fn end(&mut self, to: &mut Outgoing) -> Result<(), WrongLength> {
        match self {
            Self::Exact(0) | Self::UntilClose => Ok(()),
            Self::Exact(_) => Err(WrongLength),
            Self::Chunked(_) => {
                to.framing().extend_from_slice(b"0\r\n\r\n");
                Ok(())
            }
        }
    }
}

/// The names in `Trailer` of fields that may come behind a body (RFC 9110 §6.5.1).
fn announced(head: &HeaderMap) -> Vec<HeaderName> {
    head.get_all(TRAILER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(|name| !FORBIDDEN.contains(name))
        .collect()
}

const FORBIDDEN: [HeaderName; 12] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    HOST,
    MAX_FORWARDS,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
];

#[cfg(test)]
mod tests {
    use super::super::outgoing::Gathering;
    use super::*;
    use http::HeaderValue;

    /// What becomes of pieces, the last of which knows that it is, or does not.
    fn encoded(
        framing: Framing,
        pieces: &[&'static str],
        knows: bool,
    ) -> Result<String, WrongLength> {
        let mut encoder = Encoder::new(framing, &HeaderMap::new());
        let mut to = outgoing();
        for (index, piece) in pieces.iter().enumerate() {
            let last = knows && index + 1 == pieces.len();
            encoder.data(Bytes::from_static(piece.as_bytes()), last, &mut to)?;
        }
        if !knows {
            encoder.end(&mut to)?;
        }
        Ok(String::from_utf8(written(&to)).unwrap())
    }

    fn outgoing() -> Outgoing {
        Outgoing::new(Gathering {
            enough: 1000,
            small: 0,
        })
    }

    fn written(to: &Outgoing) -> Vec<u8> {
        to.with_slices(|slices| slices.iter().flat_map(|slice| slice.to_vec()).collect())
    }

    #[test]
    fn a_body_is_framed_as_announced_or_fails() {
        use Framing::{Chunked, Exact, UntilClose};
        let table: [(Framing, &[&str], Result<&str, WrongLength>); 12] = [
            (UntilClose, &["he", "", "llo"], Ok("hello")),
            (UntilClose, &[""], Ok("")),
            (Exact(5), &["he", "llo"], Ok("hello")),
            (Exact(5), &["hello", ""], Ok("hello")),
            (Exact(6), &["hello"], Err(WrongLength)),
            (Exact(4), &["hello"], Err(WrongLength)),
            (Exact(5), &["hello", "!"], Err(WrongLength)),
            (Exact(0), &[""], Ok("")),
            (Exact(0), &["x"], Err(WrongLength)),
            (Chunked, &[""], Ok("0\r\n\r\n")),
            (
                Chunked,
                &["hello", "", "0123456789abcdef0"],
                Ok("5\r\nhello\r\n11\r\n0123456789abcdef0\r\n0\r\n\r\n"),
            ),
            (Chunked, &["a", ""], Ok("1\r\na\r\n0\r\n\r\n")),
        ];
        for (framing, pieces, wire) in table {
            for knows in [false, true] {
                let wire = wire.map(str::to_owned);
                assert_eq!(
                    encoded(framing, pieces, knows),
                    wire,
                    "{framing:?} {pieces:?}"
                );
            }
        }
    }

    #[test]
    fn only_trailers_that_were_announced_and_may_be_are_sent() {
        let mut head = HeaderMap::new();
        head.append(TRAILER, HeaderValue::from_static("X-Sum, host,, b@d"));
        head.append(TRAILER, HeaderValue::from_static("etag"));
        let mut trailers = HeaderMap::new();
        for (name, value) in [
            ("x-sum", "7"),
            ("host", "evil"),
            ("etag", "e"),
            ("x-other", "o"),
            ("x-sum", "8"),
        ] {
            trailers.append(name, HeaderValue::from_static(value));
        }
        let mut to = outgoing();
        let mut encoder = Encoder::new(Framing::Chunked, &head);
        encoder.trailers(&trailers, &mut to).unwrap();
        let wire = written(&to);
        assert_eq!(wire, b"0\r\nx-sum: 7\r\nx-sum: 8\r\netag: e\r\n\r\n");
    }

    #[test]
    fn a_body_of_exact_length_has_no_trailers() {
        let trailers = HeaderMap::from_iter([(TE, HeaderValue::from_static("x"))]);
        let mut to = outgoing();
        assert_eq!(Encoder::Exact(0).trailers(&trailers, &mut to), Ok(()));
        assert!(to.is_empty());
        assert_eq!(
            Encoder::Exact(1).trailers(&trailers, &mut to),
            Err(WrongLength)
        );
    }
}
