//! The head of an answer, and of the interim answers before it, as it is read.

use std::mem;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use super::super::decoder::Decoder;
use super::super::fields::{self, Length, Said, Seen};
use super::super::framing::is_bodiless;
use super::super::{Invalid, Limits, TOO_LARGE};

/// Interim answers (1xx) to one request; a server that sends more is not one to wait for.
const INTERIM_MAX: u32 = 16;

/// Reads the head of the answer to one request.
#[derive(Debug)]
pub(crate) struct HeadReader {
    limits: Limits,
    /// The request was HEAD.
    bodiless: bool,
    seen: Seen,
    interim: u32,
}

/// A head, and what it says about the rest of the exchange.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) response: Response<()>,
    pub(crate) body: Decoder,
    /// The connection may serve another request.
    pub(crate) kept: bool,
    /// What the server says about keeping it.
    pub(crate) keep_alive: Option<HeaderValue>,
}

impl HeadReader {
    pub(crate) fn new(limits: Limits, bodiless: bool) -> Self {
        Self {
            limits,
            bodiless,
            seen: Seen::default(),
            interim: 0,
        }
    }

    /// Takes the head from `input` once it is there as a whole. `fields` is where its fields go, and what is in it is
    /// forgotten.
    pub(crate) fn read(
        &mut self,
        input: &mut Bytes,
        fields: &mut HeaderMap,
    ) -> Result<Option<Head>, Invalid> {
        while !input.is_empty() {
            let parsed = if self.seen.is_news(input) {
                self.parse(input, fields)?
            } else {
                Parsed::Part
            };
            match parsed {
                Parsed::Final(head) => return Ok(Some(head)),
                Parsed::Interim => {
                    self.seen.none();
                    self.interim += 1;
                    if self.interim > INTERIM_MAX {
                        return Err(Invalid("too many interim answers"));
                    }
                }
                Parsed::Part if input.len() >= self.limits.bytes => return Err(TOO_LARGE),
                Parsed::Part => {
                    self.seen.all_of(input);
                    break;
                }
            }
        }
        Ok(None)
    }

    fn parse(&self, input: &mut Bytes, fields: &mut HeaderMap) -> Result<Parsed, Invalid> {
        let bytes = input.clone();
        fields::with_room(self.limits, |room| {
            let mut head = httparse::Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            let size = match config.parse_response_with_uninit_headers(&mut head, &bytes, room) {
                Ok(httparse::Status::Complete(size)) => size,
                Ok(httparse::Status::Partial) => return Ok(Parsed::Part),
                Err(error) => return Err(refused(error)),
            };
            if size > self.limits.bytes {
                return Err(TOO_LARGE);
            }
            let status = head.code.unwrap_or_default();
            let status =
                StatusCode::from_u16(status).map_err(|_| Invalid("a status that is none"))?;
            input.advance(size);
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Parsed::Interim);
            }
            self.finish(status, &head, &bytes, fields)
                .map(Parsed::Final)
        })
    }

    fn finish(
        &self,
        status: StatusCode,
        head: &httparse::Response<'_, '_>,
        bytes: &Bytes,
        fields: &mut HeaderMap,
    ) -> Result<Head, Invalid> {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = match head.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        };
        // Whoever hands the answer on in HTTP/1 repeats it.
        if let Some(reason) = head.reason
            && status.canonical_reason() != Some(reason)
            && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
        {
            response.extensions_mut().insert(reason);
        }
        let mut map = mem::take(fields);
        map.clear();
        let said = fields::take(head.headers, bytes, &mut map)?;
        *response.headers_mut() = map;
        Ok(Head {
            body: self.framing(status, response.version(), &said)?,
            // HTTP/1.0 keeps connections by agreement only, and who speaks it does not know all that we send.
            kept: response.version() == Version::HTTP_11 && !said.close,
            keep_alive: said.how_long,
            response,
        })
    }

    /// RFC 9112 §6.3.
    fn framing(
        &self,
        status: StatusCode,
        version: Version,
        said: &Said,
    ) -> Result<Decoder, Invalid> {
        if self.bodiless || is_bodiless(status) {
            return Ok(Decoder::Exact(0));
        }
        match (said.chunked, said.length) {
            (Some(_), _) if version == Version::HTTP_10 => {
                Err(Invalid("HTTP/1.0 has no Transfer-Encoding"))
            }
            (Some(true), _) => Ok(Decoder::chunked(self.limits)),
            (Some(false), _) | (None, Length::Unsaid) => Ok(Decoder::UntilClose),
            (None, Length::Said(length)) => Ok(Decoder::Exact(length)),
            (None, Length::Nonsense) => Err(Invalid("a Content-Length that is no number")),
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "taken apart where it is made")]
enum Parsed {
    Part,
    Interim,
    Final(Head),
}

fn refused(error: httparse::Error) -> Invalid {
    Invalid(match error {
        httparse::Error::HeaderName => "a field name that is none",
        httparse::Error::HeaderValue => "a field value that is none",
        httparse::Error::NewLine => "a line that does not end",
        httparse::Error::Status => "a status that is none",
        httparse::Error::TooManyHeaders => TOO_LARGE.0,
        _ => "not HTTP/1.1, nor HTTP/1.0",
    })
}

#[cfg(test)]
mod tests;
