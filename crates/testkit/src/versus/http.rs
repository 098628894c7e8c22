//! As much HTTP/1.1 as the load generator and its backend need: where a head ends, what follows it, and whether the
//! connection lasts. The heads are `httparse`'s; only the bodies are counted here.

use std::io;

/// Heads have at most so many fields.
const FIELDS: usize = 64;

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks until the last.
    Chunked(Chunk),
    /// Everything until the connection closes.
    UntilClose,
}

/// Where in a chunked body we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In the line with the size; `digits` ends at the first byte that is none.
    Size { size: u64, digits: bool },
    /// In the data, so many bytes left.
    Data(u64),
    /// Behind the data, before the line's end.
    DataEnd,
    /// In the trailer; `blank` as long as this line has no byte.
    Trailer { blank: bool },
}

impl Body {
    /// Chunks from the first.
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunk::Size {
            size: 0,
            digits: true,
        })
    }

    /// Is nothing to come?
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::Length(0)
    }

    /// Takes its share of `bytes`: how many belong to the body, and whether it is complete.
    pub(super) fn eat(&mut self, bytes: &[u8]) -> (usize, bool) {
        match self {
            Self::UntilClose => (bytes.len(), false),
            Self::Length(left) => {
                let used = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= used as u64;
                (used, *left == 0)
            }
            Self::Chunked(chunk) => chunk.eat(bytes),
        }
    }
}

impl Chunk {
    fn eat(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < bytes.len() {
            if let Self::Data(left) = self {
                let used = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= used as u64;
                at += used;
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                continue;
            }
            let last = matches!(self, Self::Trailer { blank: true }) && bytes[at] == b'\n';
            self.step(bytes[at]);
            at += 1;
            if last {
                return (at, true);
            }
        }
        (at, false)
    }

    /// One byte outside the data.
    fn step(&mut self, byte: u8) {
        *self = match (&*self, byte) {
            (Self::Size { size: 0, .. }, b'\n') => Self::Trailer { blank: true },
            (Self::Size { size, .. }, b'\n') => Self::Data(*size),
            (Self::Size { size, digits }, byte) => {
                let digit = char::from(byte).to_digit(16).filter(|_| *digits);
                Self::Size {
                    size: digit.map_or(*size, |digit| {
                        size.saturating_mul(16).saturating_add(digit.into())
                    }),
                    digits: digit.is_some(),
                }
            }
            (Self::DataEnd, b'\n') => Self::Size {
                size: 0,
                digits: true,
            },
            (Self::DataEnd, _) => Self::DataEnd,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { blank: true },
            (Self::Trailer { blank }, byte) => Self::Trailer {
                blank: *blank && byte == b'\r',
            },
            (Self::Data(left), _) => Self::Data(*left),
        };
    }
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    /// How many bytes it has.
    pub(super) bytes: usize,
    /// Its status.
    pub(super) status: u16,
    /// What follows.
    pub(super) body: Body,
    /// Does the server close the connection afterwards?
    pub(super) closes: bool,
}

/// The head of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    /// How many bytes it has.
    pub(super) bytes: usize,
    /// How many bytes it asks for: `/b/N` means N.
    pub(super) wanted: Option<u64>,
    /// Is the answer to be a head alone?
    pub(super) head_only: bool,
    /// What follows.
    pub(super) body: Body,
    /// Is the connection to be closed after the answer?
    pub(super) closes: bool,
    /// Does the client wait for leave to send the body?
    pub(super) expects: bool,
}

/// Reads the head of an answer to a GET or POST; `None` if it is not all there.
///
/// # Errors
/// When this is no HTTP.
pub(super) fn response(bytes: &[u8]) -> io::Result<Option<ResponseHead>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(malformed)? else {
        return Ok(None);
    };
    let framing = Framing::of(head.headers);
    let status = head.code.unwrap_or(0);
    let body = if matches!(status, 100..=199 | 204 | 304) {
        Body::Length(0)
    } else {
        framing.body.unwrap_or(Body::UntilClose)
    };
    Ok(Some(ResponseHead {
        bytes: length,
        status,
        closes: body == Body::UntilClose || framing.closes(head.version),
        body,
    }))
}

/// Reads the head of a request; `None` if it is not all there.
///
/// # Errors
/// When this is no HTTP.
pub(super) fn request(bytes: &[u8]) -> io::Result<Option<RequestHead>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(malformed)? else {
        return Ok(None);
    };
    let framing = Framing::of(head.headers);
    let path = head.path.unwrap_or("");
    Ok(Some(RequestHead {
        bytes: length,
        wanted: path.strip_prefix("/b/").and_then(|n| n.parse().ok()),
        head_only: head.method == Some("HEAD"),
        closes: framing.closes(head.version),
        expects: framing.expects,
        body: framing.body.unwrap_or(Body::Length(0)),
    }))
}

fn malformed(error: httparse::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[derive(Default)]
struct Framing {
    body: Option<Body>,
    close: bool,
    keep: bool,
    expects: bool,
}

impl Framing {
    fn of(fields: &[httparse::Header<'_>]) -> Self {
        let mut framing = Self::default();
        for field in fields {
            let value = str::from_utf8(field.value).unwrap_or("").trim();
            if field.name.eq_ignore_ascii_case("content-length") {
                // A transfer coding beats a length (RFC 9112 §6.3).
                framing.body = framing.body.or(value.parse().ok().map(Body::Length));
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                framing.body = Some(Body::chunked());
            } else if field.name.eq_ignore_ascii_case("connection") {
                framing.close |= value.eq_ignore_ascii_case("close");
                framing.keep |= value.eq_ignore_ascii_case("keep-alive");
            } else if field.name.eq_ignore_ascii_case("expect") {
                framing.expects = true;
            }
        }
        framing
    }

    fn closes(&self, version: Option<u8>) -> bool {
        self.close || (version == Some(0) && !self.keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_tells_its_status_its_body_and_whether_the_connection_lasts() {
        let table = [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                (200, Body::Length(5), false),
            ),
            (
                "HTTP/1.1 502 Bad\r\ncontent-length: 0\r\nConnection: Close\r\n\r\n",
                (502, Body::Length(0), true),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
                (200, Body::chunked(), false),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                (200, Body::chunked(), false),
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
                (200, Body::Length(5), true),
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", (200, Body::UntilClose, true)),
            ("HTTP/1.1 204 No\r\n\r\n", (204, Body::Length(0), false)),
        ];
        for (text, (status, body, closes)) in table {
            let bytes = text.len();
            let wanted = ResponseHead {
                bytes,
                status,
                body,
                closes,
            };
            assert_eq!(response(text.as_bytes()).unwrap(), Some(wanted), "{text}");
            for cut in 0..bytes {
                assert_eq!(response(&text.as_bytes()[..cut]).unwrap(), None);
            }
        }
        assert!(response(b"SMTP\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_tells_how_many_bytes_it_wants() {
        let read = |text: &str| request(text.as_bytes()).unwrap().unwrap();
        let plain = read("GET /b/128 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(plain.wanted, Some(128));
        assert!(plain.body.is_empty() && !plain.closes && !plain.head_only && !plain.expects);
        let other = read("HEAD /b/many HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(
            (other.wanted, other.head_only, other.closes),
            (None, true, false)
        );
        let posted = read("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n");
        assert_eq!((posted.body, posted.expects), (Body::Length(7), true));
    }

    #[test]
    fn a_chunked_body_ends_where_it_ends_however_it_is_cut() {
        let text = b"4;x=a\r\nwiki\r\n00A\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\nNEXT";
        let end = text.len() - 4;
        for cut in 0..end {
            let mut body = Body::chunked();
            assert_eq!(body.eat(&text[..cut]), (cut, false));
            assert_eq!(body.eat(&text[cut..]), (end - cut, true), "cut at {cut}");
        }
    }

    #[test]
    fn a_body_of_known_length_leaves_the_rest() {
        let mut body = Body::Length(5);
        assert_eq!(body.eat(b"abc"), (3, false));
        assert_eq!(body.eat(b"defgh"), (2, true));
        assert!(body.is_empty());
    }
}
