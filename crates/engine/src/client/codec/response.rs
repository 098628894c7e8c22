//! The head of an answer, and of the interim answers before it.

use std::mem::{self, MaybeUninit};

use bytes::{Buf as _, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use super::decoder::Decoder;
use super::{Invalid, Limits, field};

/// Interim answers (1xx) to one request; a server that sends more is not one to wait for.
const INTERIM_MAX: u32 = 16;
/// Fields of a head for which there is room without allocating.
const FIELDS: usize = 100;
/// The longest body that can be announced.
const LENGTH_MAX: u64 = u64::MAX - 2;
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Reads the head of the answer to one request.
#[derive(Debug)]
pub(crate) struct HeadReader {
    limits: Limits,
    /// The request was HEAD.
    bodiless: bool,
    /// How much was there when the head was not whole.
    seen: usize,
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
            seen: 0,
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
            // A head that comes byte by byte is not parsed as often.
            let parsed = if self.seen == 0 || ends_within(input, self.seen) {
                self.parse(input, fields)?
            } else {
                Parsed::Part
            };
            match parsed {
                Parsed::Final(head) => return Ok(Some(head)),
                Parsed::Interim => {
                    self.seen = 0;
                    self.interim += 1;
                    if self.interim > INTERIM_MAX {
                        return Err(Invalid("too many interim answers"));
                    }
                }
                Parsed::Part if input.len() >= self.limits.bytes => return Err(TOO_LARGE),
                Parsed::Part => {
                    self.seen = input.len();
                    break;
                }
            }
        }
        Ok(None)
    }

    fn parse(&self, input: &mut Bytes, fields: &mut HeaderMap) -> Result<Parsed, Invalid> {
        let mut few = [const { MaybeUninit::uninit() }; FIELDS];
        let mut many = Vec::new();
        let room = if self.limits.fields <= FIELDS {
            &mut few[..self.limits.fields]
        } else {
            many.resize_with(self.limits.fields, MaybeUninit::uninit);
            &mut many[..]
        };
        let bytes = input.clone();
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
        let status = StatusCode::from_u16(status).map_err(|_| Invalid("a status that is none"))?;
        input.advance(size);
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Parsed::Interim);
        }
        self.finish(status, &head, &bytes, fields)
            .map(Parsed::Final)
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
        let mut said = Said::default();
        let mut map = mem::take(fields);
        map.clear();
        map.try_reserve(head.headers.len()).map_err(|_| TOO_LARGE)?;
        for header in &*head.headers {
            let name = field(header.name.as_bytes())?;
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value))
                .map_err(|_| Invalid("a field value that is none"))?;
            said.note(&name, &value);
            map.try_append(name, value).map_err(|_| TOO_LARGE)?;
        }
        *response.headers_mut() = map;
        Ok(Head {
            body: self.framing(status, response.version(), &said)?,
            // HTTP/1.0 keeps connections by agreement only, and who speaks it does not know all that we send.
            kept: response.version() == Version::HTTP_11 && !said.close,
            keep_alive: said.keep_alive,
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
        const BODILESS: [StatusCode; 3] = [
            StatusCode::SWITCHING_PROTOCOLS,
            StatusCode::NO_CONTENT,
            StatusCode::NOT_MODIFIED,
        ];
        if self.bodiless || BODILESS.contains(&status) {
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

const TOO_LARGE: Invalid = Invalid("a head that is too large");

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

/// Does a head end in what came behind the first `seen` bytes?
fn ends_within(input: &[u8], seen: usize) -> bool {
    let new = &input[seen.saturating_sub(3)..];
    new.windows(2).any(|end| end == b"\n\n") || new.windows(3).any(|end| end == b"\n\r\n")
}

/// What a head says about framing and connection.
#[derive(Default)]
struct Said {
    length: Length,
    /// Whether the last coding is `chunked`, if there is any.
    chunked: Option<bool>,
    close: bool,
    keep_alive: Option<HeaderValue>,
}

impl Said {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) {
        if *name == CONTENT_LENGTH {
            self.length = self.length.and(value);
        } else if *name == TRANSFER_ENCODING {
            let codings = value.to_str().unwrap_or_default();
            let last = codings.rsplit(',').next().unwrap_or_default();
            self.chunked = Some(is(last.as_bytes(), "chunked"));
        } else if *name == CONNECTION {
            self.close |= has_token(value, "close");
        } else if *name == KEEP_ALIVE {
            self.keep_alive = Some(value.clone());
        }
    }
}

/// Is there this token in a list?
pub(crate) fn has_token(list: &HeaderValue, token: &str) -> bool {
    let mut members = list.as_bytes().split(|byte| *byte == b',');
    members.any(|member| is(member, token))
}

fn is(member: &[u8], token: &str) -> bool {
    let member = member.trim_ascii();
    member.eq_ignore_ascii_case(token.as_bytes())
}

/// What `Content-Length` says, however often (RFC 9110 §8.6: equal values are one).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Length {
    #[default]
    Unsaid,
    Said(u64),
    Nonsense,
}

impl Length {
    pub(super) fn and(self, value: &HeaderValue) -> Self {
        let members = value.as_bytes().split(|byte| *byte == b',');
        members.fold(self, |said, member| {
            match (said, digits(member.trim_ascii())) {
                (Self::Unsaid, Some(length)) => Self::Said(length),
                (Self::Said(said), Some(length)) if said == length => Self::Said(length),
                _ => Self::Nonsense,
            }
        })
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let number = text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|length| *length <= LENGTH_MAX)
}

#[cfg(test)]
mod tests;
