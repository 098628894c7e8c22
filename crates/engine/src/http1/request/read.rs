//! The head of a request as it is read.

use std::fmt;

use bytes::{Buf as _, Bytes};
use http::{Method, Request, StatusCode, Uri, Version};

use super::super::decoder::Decoder;
use super::super::fields::{self, Length, Said, Seen};
use super::super::{Invalid, Limits, TOO_LARGE};

/// The longest target: what [`Uri`] has room for.
const TARGET_MAX: usize = u16::MAX as usize - 1;

/// Reads the heads of the requests of a connection, one after the other.
#[derive(Debug)]
pub(crate) struct HeadReader {
    limits: Limits,
    seen: Seen,
}

/// A head, and what it says about the rest of the exchange.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) request: Request<()>,
    pub(crate) body: Decoder,
    /// The client wants to send another request on the connection, and its bytes would be found.
    pub(crate) kept: bool,
    /// The client waits for a `100 Continue` before it sends the body.
    pub(crate) expects: bool,
    /// It would rather speak another protocol (RFC 9110 §7.8).
    pub(crate) upgrade: bool,
}

/// A head that is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    /// What the client is told.
    pub(crate) status: StatusCode,
    rule: Invalid,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

impl From<Invalid> for Refused {
    fn from(rule: Invalid) -> Self {
        let status = match rule == TOO_LARGE {
            true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            false => StatusCode::BAD_REQUEST,
        };
        Self { status, rule }
    }
}

impl HeadReader {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            seen: Seen::default(),
        }
    }

    /// Takes a head from `input` once it is there as a whole.
    pub(crate) fn read(&mut self, input: &mut Bytes) -> Result<Option<Head>, Refused> {
        if input.is_empty() {
            return Ok(None);
        }
        let head = match self.seen.is_news(input) {
            true => self.parse(input)?,
            false => None,
        };
        if head.is_some() {
            self.seen.none();
        } else if input.len() >= self.limits.bytes {
            return Err(TOO_LARGE.into());
        } else {
            self.seen.all_of(input);
        }
        Ok(head)
    }

    fn parse(&self, input: &mut Bytes) -> Result<Option<Head>, Refused> {
        let bytes = input.clone();
        fields::with_room(self.limits, |room| {
            let mut head = httparse::Request::new(&mut []);
            let size = match head.parse_with_uninit_headers(&bytes, room) {
                Ok(httparse::Status::Complete(size)) => size,
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(error) => return Err(refused(error).into()),
            };
            if size > self.limits.bytes {
                return Err(TOO_LARGE.into());
            }
            input.advance(size);
            self.finish(&head, &bytes).map(Some)
        })
    }

    fn finish(&self, head: &httparse::Request<'_, '_>, bytes: &Bytes) -> Result<Head, Refused> {
        let mut request = Request::new(());
        *request.method_mut() = head
            .method
            .and_then(|method| Method::from_bytes(method.as_bytes()).ok())
            .ok_or(Invalid("a method that is none"))?;
        *request.uri_mut() = target(head.path.unwrap_or_default(), bytes)?;
        *request.version_mut() = match head.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        };
        let said = fields::take(head.headers, bytes, request.headers_mut())?;
        let old = request.version() == Version::HTTP_10;
        Ok(Head {
            body: self.framing(&said, old)?,
            kept: match old {
                true => said.keep_alive && !said.close,
                // RFC 9112 §6.1: behind a message with both framings there is nothing to be trusted.
                false => !(said.close || said.chunked.is_some() && said.length != Length::Unsaid),
            },
            expects: !old && said.expects,
            upgrade: !old && said.upgrade,
            request,
        })
    }

    /// RFC 9112 §6.3, without the list of equal lengths that one may accept: it takes two senders to make one, and they may
    /// not agree otherwise.
    fn framing(&self, said: &Said, old: bool) -> Result<Decoder, Invalid> {
        match (said.chunked, said.length) {
            _ if said.lengths => Err(Invalid("a Content-Length that is a list")),
            (_, Length::Nonsense) => Err(Invalid("a Content-Length that is no number")),
            (Some(_), _) if old => Err(Invalid("HTTP/1.0 has no Transfer-Encoding")),
            (Some(true), _) => Ok(Decoder::chunked(self.limits)),
            (Some(false), _) => Err(Invalid("a Transfer-Encoding that does not end in chunks")),
            (None, Length::Said(length)) => Ok(Decoder::Exact(length)),
            (None, Length::Unsaid) => Ok(Decoder::Exact(0)),
        }
    }
}

fn target(text: &str, bytes: &Bytes) -> Result<Uri, Refused> {
    if text.len() > TARGET_MAX {
        return Err(Refused {
            status: StatusCode::URI_TOO_LONG,
            rule: Invalid("a target that is too long"),
        });
    }
    Uri::from_maybe_shared(bytes.slice_ref(text.as_bytes()))
        .map_err(|_| Invalid("a target that is none").into())
}

fn refused(error: httparse::Error) -> Invalid {
    Invalid(match error {
        httparse::Error::HeaderName => "a field name that is none",
        httparse::Error::HeaderValue => "a field value that is none",
        httparse::Error::NewLine => "a line that does not end",
        httparse::Error::Token => "a request line that is none",
        httparse::Error::TooManyHeaders => return TOO_LARGE,
        _ => "not HTTP/1.1, nor HTTP/1.0",
    })
}

#[cfg(test)]
mod tests;
