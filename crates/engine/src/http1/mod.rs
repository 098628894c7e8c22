//! HTTP/1.1 without a stream: state machines that are told bytes, and say what they mean; and the way of a message into a stream.
//!
//! Strict where leniency would let two readers disagree about where a message ends, and bounded everywhere. What a head
//! says beyond its framing is not judged here.

mod chunked;
mod decoder;
mod encoder;
mod fields;
mod framing;
mod input;
mod outgoing;
mod request;
mod response;
mod sending;

use std::fmt;

use futures::io::{AsyncRead, AsyncWrite};

pub(crate) use decoder::{Decoded, Decoder};
pub(crate) use fields::has_token;
pub(crate) use framing::{Framing, announce_request, announce_response};
pub(crate) use input::{append, poll_read};
pub(crate) use outgoing::Gathering;
pub(crate) use request::{
    Head as RequestHead, HeadReader as RequestReader, Refused, write_head as write_request,
};
pub(crate) use response::{
    Date, Head as ResponseHead, HeadReader as ResponseReader, Line, write_head as write_response,
};
pub(crate) use sending::{Sending, Stopped};

/// What a stream must be to carry a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// How large a head may be, and a trailer section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Its size.
    pub(crate) bytes: usize,
    /// Its fields.
    pub(crate) fields: usize,
}

/// What the other side sent is not HTTP: the rule that it breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Invalid(pub(crate) &'static str);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A head, or a trailer section, is larger than the [`Limits`].
const TOO_LARGE: Invalid = Invalid("a head that is too large");
