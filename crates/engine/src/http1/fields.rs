//! The fields of a head: how they are read and written, and what those say that frame a message.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Invalid, Limits, TOO_LARGE};

/// Fields of a head for which there is room without allocating.
const ROOM: usize = 100;
/// The longest body that can be announced.
const LENGTH_MAX: u64 = u64::MAX - 2;
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What stands where no field has been read yet.
type Unread<'a> = MaybeUninit<httparse::Header<'a>>;

/// Calls `parse` with room for as many fields as are allowed.
pub(super) fn with_room<'a, T>(limits: Limits, parse: impl FnOnce(&mut [Unread<'a>]) -> T) -> T {
    if limits.fields <= ROOM {
        return parse(&mut [const { MaybeUninit::uninit() }; ROOM][..limits.fields]);
    }
    let mut many = Vec::new();
    many.resize_with(limits.fields, MaybeUninit::uninit);
    parse(&mut many)
}

/// What of the bytes that came has been looked at for the end of a head: one that comes byte by byte is not parsed as often.
#[derive(Debug, Default)]
pub(super) struct Seen(usize);

impl Seen {
    /// Is it worth parsing?
    pub(super) fn is_news(&self, input: &[u8]) -> bool {
        self.0 == 0 || ends_within(input, self.0)
    }

    /// It was not whole.
    pub(super) fn all_of(&mut self, input: &[u8]) {
        self.0 = input.len();
    }

    /// Another head follows.
    pub(super) fn none(&mut self) {
        self.0 = 0;
    }
}

/// Does a head end in what came behind the first `seen` bytes?
fn ends_within(input: &[u8], seen: usize) -> bool {
    let new = &input[seen.saturating_sub(3)..];
    new.windows(2).any(|end| end == b"\n\n") || new.windows(3).any(|end| end == b"\n\r\n")
}

/// Fields that are added to a head before it goes on: there is room for them, so that it need not grow then.
const ADDED: usize = 8;

/// Puts the fields that were found in `bytes` into `map`, which is empty, and notes what they say.
pub(super) fn take(
    found: &[httparse::Header<'_>],
    bytes: &Bytes,
    map: &mut HeaderMap,
) -> Result<Said, Invalid> {
    let mut said = Said::default();
    map.try_reserve(found.len() + ADDED)
        .map_err(|_| TOO_LARGE)?;
    for header in found {
        let name = field(header.name.as_bytes())?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value))
            .map_err(|_| Invalid("a field value that is none"))?;
        said.note(&name, &value);
        map.try_append(name, value).map_err(|_| TOO_LARGE)?;
    }
    Ok(said)
}

/// A field from bytes that were read.
pub(super) fn field(name: &[u8]) -> Result<HeaderName, Invalid> {
    HeaderName::from_bytes(name).map_err(|_| Invalid("a field name that is none"))
}

/// Writes one field.
pub(super) fn write_field(name: &str, value: &HeaderValue, to: &mut Vec<u8>) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value.as_bytes());
    to.extend_from_slice(b"\r\n");
}

/// Room that a head with so many fields mostly needs.
pub(super) fn room(fields: usize) -> usize {
    const FIELD: usize = 40;
    FIELD * (fields + 2)
}

/// What a head says about framing and connection.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) length: Length,
    /// `Content-Length` is a list somewhere, if only of equal values.
    pub(super) lengths: bool,
    /// Whether the last coding is `chunked`, if there is any.
    pub(super) chunked: Option<bool>,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    /// The field `Keep-Alive`.
    pub(super) how_long: Option<HeaderValue>,
    /// RFC 9110 §10.1.1; what else may be expected is not for the codec to judge.
    pub(super) expects: bool,
    /// There is a field `Upgrade`.
    pub(super) upgrade: bool,
}

impl Said {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) {
        if *name == CONTENT_LENGTH {
            self.length = self.length.and(value);
            self.lengths |= value.as_bytes().contains(&b',');
        } else if *name == TRANSFER_ENCODING {
            let codings = value.to_str().unwrap_or_default();
            let last = codings.rsplit(',').next().unwrap_or_default();
            self.chunked = Some(is(last.as_bytes(), "chunked"));
        } else if *name == CONNECTION {
            self.close |= has_token(value, "close");
            self.keep_alive |= value.to_str().is_ok() && has_token(value, "keep-alive");
        } else if *name == KEEP_ALIVE {
            self.how_long = Some(value.clone());
        } else if *name == UPGRADE {
            self.upgrade = true;
        } else if *name == EXPECT {
            self.expects |= value.as_bytes().eq_ignore_ascii_case(b"100-continue");
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
