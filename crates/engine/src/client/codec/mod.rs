//! HTTP/1.1 as a client speaks it, without a stream: state machines that are told bytes, and say what they mean.
//!
//! Strict where leniency would let two readers disagree about where a message ends, and bounded everywhere. What a head
//! says beyond its framing is not judged here.

mod chunked;
mod decoder;
mod encoder;
mod outgoing;
mod request;
mod response;

use std::fmt;

pub(super) use decoder::{Decoded, Decoder};
pub(super) use encoder::{Encoder, WrongLength};
pub(super) use outgoing::Outgoing;
pub(super) use request::{Framing, prepare, write_head};
pub(super) use response::{Head, HeadReader, has_token};

/// How large a head may be, and a trailer section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Its size.
    pub(crate) bytes: usize,
    /// Its fields.
    pub(crate) fields: usize,
}

/// What a server sent is not HTTP: the rule that it breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Invalid(pub(crate) &'static str);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A field from bytes that were read.
fn field(name: &[u8]) -> Result<http::HeaderName, Invalid> {
    http::HeaderName::from_bytes(name).map_err(|_| Invalid("a field name that is none"))
}
