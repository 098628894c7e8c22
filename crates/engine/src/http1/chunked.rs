//! Chunks (RFC 9112 §7.1).
//!
//! A line ends with CRLF and nothing else, wherever it is: who takes a bare LF for the end of a line reads another message
//! than who does not.

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderValue};

use super::decoder::{Decoded, split};
use super::fields::field;
use super::{Invalid, Limits};

/// Bytes of chunk extensions in a whole body: nobody reads them (CVE-2023-39326).
const EXTENSIONS_MAX: usize = 16 * 1024;
/// Digits of a size; more of them could only be zeros.
const DIGITS_MAX: u32 = 16;

/// What ends a trailer section.
const LAST_LINE: &[u8] = b"\r\n";

/// Finds the data in chunks, and the trailers behind them.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    /// What is to come of this chunk, or its size as far as it was read.
    left: u64,
    digits: u32,
    extensions: usize,
    trailers: Vec<u8>,
    lines: usize,
    limits: Limits,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Size,
    /// White space behind the size.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// A trailer, or the last line.
    Trailer,
    InTrailer,
    TrailerLf,
    EndLf,
    End,
    /// A rule was broken: nobody knows where anything begins from there on.
    Broken(Invalid),
}

impl Chunked {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: State::Size,
            left: 0,
            digits: 0,
            extensions: 0,
            trailers: Vec::new(),
            lines: 0,
            limits,
        }
    }

    pub(super) fn decode(&mut self, input: &mut Bytes) -> Result<Decoded, Invalid> {
        let decoded = self.find(input);
        if let Err(rule) = decoded {
            self.state = State::Broken(rule);
        }
        decoded
    }

    fn find(&mut self, input: &mut Bytes) -> Result<Decoded, Invalid> {
        self.skip_framing(input)?;
        match self.state {
            State::End if !self.trailers.is_empty() => self.take_trailers().map(Decoded::Trailers),
            State::End => Ok(Decoded::End),
            State::Broken(rule) => Err(rule),
            State::Data if !input.is_empty() => {
                let data = split(input, &mut self.left);
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                Ok(Decoded::Data(data))
            }
            _ => Ok(Decoded::More),
        }
    }

    fn skip_framing(&mut self, input: &mut Bytes) -> Result<(), Invalid> {
        let mut count = 0;
        for byte in input.iter() {
            if matches!(self.state, State::Data | State::End) {
                break;
            }
            self.state = self.step(*byte)?;
            count += 1;
        }
        input.advance(count);
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<State, Invalid> {
        use State::*;
        Ok(match (self.state, byte) {
            (Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (Size, _) if self.digits == 0 => return Err(Invalid("a chunk without a size")),
            (Size | Space | Extension, b'\r') => SizeLf,
            (Size | Space, b' ' | b'\t') => self.extension(Space)?,
            (Size | Space, b';') => Extension,
            (Size | Space, _) => return Err(Invalid("a chunk size that is no number")),
            (Extension, b'\n') => return Err(BARE_LF),
            (Extension, _) => self.extension(Extension)?,
            (SizeLf, b'\n') => self.sized(),
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size,
            (DataCr | DataLf, _) => return Err(Invalid("a chunk longer than its size")),
            (Trailer, b'\r') => EndLf,
            (Trailer | InTrailer, b'\n') => return Err(BARE_LF),
            (InTrailer, b'\r') => self.trailer(byte, TrailerLf)?,
            (Trailer | InTrailer, _) => self.trailer(byte, InTrailer)?,
            (TrailerLf, b'\n') => self.trailer_line(byte)?,
            (EndLf, b'\n') => End,
            (SizeLf | TrailerLf | EndLf, _) => return Err(Invalid("a bare CR")),
            (Broken(rule), _) => return Err(rule),
            // Not framing.
            (Data | End, _) => self.state,
        })
    }

    fn digit(&mut self, byte: u8) -> Result<State, Invalid> {
        self.digits += 1;
        if self.digits > DIGITS_MAX {
            return Err(Invalid("a chunk size that is too large"));
        }
        let digit = (byte as char).to_digit(16).unwrap_or_default();
        // Sixteen digits fit.
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn extension(&mut self, next: State) -> Result<State, Invalid> {
        self.extensions += 1;
        if self.extensions >= EXTENSIONS_MAX {
            return Err(Invalid("too many chunk extensions"));
        }
        Ok(next)
    }

    fn sized(&mut self) -> State {
        self.digits = 0;
        if self.left == 0 {
            State::Trailer
        } else {
            State::Data
        }
    }

    fn trailer(&mut self, byte: u8, next: State) -> Result<State, Invalid> {
        self.trailers.push(byte);
        if self.trailers.len() + LAST_LINE.len() >= self.limits.bytes {
            return Err(TRAILERS);
        }
        Ok(next)
    }

    fn trailer_line(&mut self, byte: u8) -> Result<State, Invalid> {
        if self.lines >= self.limits.fields {
            return Err(TRAILERS);
        }
        self.lines += 1;
        self.trailer(byte, State::Trailer)
    }

    fn take_trailers(&mut self) -> Result<HeaderMap, Invalid> {
        let mut section = std::mem::take(&mut self.trailers);
        section.extend_from_slice(LAST_LINE);
        let mut room = vec![httparse::EMPTY_HEADER; self.lines];
        let fields = match httparse::parse_headers(&section, &mut room) {
            Ok(httparse::Status::Complete((size, fields))) if size == section.len() => fields,
            _ => return Err(Invalid("a trailer that is none")),
        };
        let mut trailers = HeaderMap::new();
        for header in fields {
            let value = HeaderValue::from_bytes(header.value)
                .map_err(|_| Invalid("a trailer that is none"))?;
            trailers
                .try_append(field(header.name.as_bytes())?, value)
                .map_err(|_| TRAILERS)?;
        }
        Ok(trailers)
    }
}

const BARE_LF: Invalid = Invalid("a bare LF");
const TRAILERS: Invalid = Invalid("too many trailers");
