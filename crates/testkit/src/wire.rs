//! HTTP/1.1 messages as bytes: what the raw client and the raw backends read with.
//!
//! It depends on nothing of the engine, reads strictly, and never hides how a message ended: a body that broke
//! off says so. It is no HTTP implementation for anybody else: it reads what the scenarios need.

use std::fmt;
use std::io::{self, Read};

/// How a peer broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It closed the connection in order (FIN).
    Fin,
    /// It reset the connection (RST).
    Reset,
    /// It sent nothing within the read timeout of the socket.
    Silent,
    /// It sent something that is not HTTP/1.1.
    Garbled,
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Fin,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Reset,
        }
    }
}

/// A message head, byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    raw: Vec<u8>,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.raw))
    }
}

impl Head {
    /// The bytes up to and including the empty line.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        self.raw
            .split(|byte| *byte == b'\n')
            .map(|line| {
                String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
            })
            .filter(|line| !line.is_empty())
    }

    /// The request or status line.
    pub fn first_line(&self) -> String {
        self.lines().next().unwrap_or_default()
    }

    /// The `n`th word of the first line.
    fn word(&self, n: usize) -> String {
        let line = self.first_line();
        line.split(' ').nth(n).unwrap_or_default().to_owned()
    }

    /// The method of a request.
    pub fn method(&self) -> String {
        self.word(0)
    }

    /// The target of a request.
    pub fn target(&self) -> String {
        self.word(1)
    }

    /// The status of a response; 0 when this is none.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// Is it a message of version 1.0?
    pub fn is_http_10(&self) -> bool {
        let line = self.first_line();
        line.starts_with("HTTP/1.0") || line.ends_with("HTTP/1.0")
    }

    /// Names as written and values, in order.
    pub fn fields(&self) -> Vec<(String, String)> {
        self.lines().skip(1).map(|line| field(&line)).collect()
    }

    /// The values of every field of this name, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.fields()
            .into_iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The value of a field that stands there once; `None` if it does not stand there.
    ///
    /// # Panics
    /// If it stands there more than once.
    pub fn one(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() <= 1, "{name} more than once in\n{self:?}");
        all.pop()
    }

    /// Does a field of this name stand there?
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Does the list in the fields of this name hold `token`?
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .iter()
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    /// What follows a request head.
    pub fn request_framing(&self) -> Framing {
        self.declared_framing().unwrap_or(Framing::Sized(0))
    }

    /// What follows a response head (RFC 9112 §6.3).
    pub fn response_framing(&self, method: &str) -> Framing {
        match self.status() {
            100..=199 | 204 | 304 => Framing::Sized(0),
            _ if method == "HEAD" => Framing::Sized(0),
            _ => self.declared_framing().unwrap_or(Framing::UntilClose),
        }
    }

    fn declared_framing(&self) -> Option<Framing> {
        if self.lists("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        let length = self.all("content-length").first()?.parse().ok()?;
        Some(Framing::Sized(length))
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Sized(u64),
    /// Chunks.
    Chunked,
    /// The connection's end.
    UntilClose,
}

/// A body as it was received.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// Its bytes, without framing.
    pub bytes: Vec<u8>,
    /// Its trailer fields, in order.
    pub trailers: Vec<(String, String)>,
    /// `None` when it is complete.
    pub cut: Option<Cut>,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.bytes[..self.bytes.len().min(200)];
        f.debug_struct("Received")
            .field("length", &self.bytes.len())
            .field("start", &String::from_utf8_lossy(start))
            .field("trailers", &self.trailers)
            .field("cut", &self.cut)
            .finish()
    }
}

/// The bytes that come from a peer, those included that were read too early.
#[derive(Debug)]
pub struct Incoming<R> {
    source: R,
    buffer: Vec<u8>,
}

impl<R: Read> Incoming<R> {
    /// Nothing read yet.
    pub fn new(source: R) -> Self {
        Self {
            source,
            buffer: Vec::new(),
        }
    }

    /// Waits for at least one byte more.
    fn fill(&mut self) -> Result<(), Cut> {
        let mut piece = [0; 16 * 1024];
        let read = loop {
            match self.source.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if read == 0 {
            return Err(Cut::Fin);
        }
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(())
    }

    /// Whatever there is, one byte at least.
    ///
    /// # Errors
    /// The peer broke off.
    pub fn piece(&mut self) -> Result<Vec<u8>, Cut> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// So many bytes.
    ///
    /// # Errors
    /// The peer broke off before.
    pub fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Cut> {
        while self.buffer.len() < length {
            self.fill()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// A line without its CRLF.
    ///
    /// # Errors
    /// The peer broke off before.
    pub fn line(&mut self) -> Result<String, Cut> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(|_| Cut::Garbled);
            }
            self.fill()?;
        }
    }

    /// A message head.
    ///
    /// # Errors
    /// The peer broke off before.
    pub fn head(&mut self) -> Result<Head, Cut> {
        let mut seen = 0;
        loop {
            let found = self.buffer[seen..]
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            if let Some(end) = found {
                let raw = self.buffer.drain(..seen + end + 4).collect();
                return Ok(Head { raw });
            }
            seen = self.buffer.len().saturating_sub(3);
            self.fill()?;
        }
    }

    /// A body, as far as it comes.
    pub fn body(&mut self, framing: Framing) -> Received {
        let mut body = Received::default();
        let end = match framing {
            Framing::Sized(length) => self.copy(length, &mut body.bytes),
            Framing::Chunked => self.chunks(&mut body),
            Framing::UntilClose => self.copy(u64::MAX, &mut body.bytes),
        };
        body.cut = match (framing, end) {
            (Framing::UntilClose, Err(Cut::Fin)) => None,
            (_, end) => end.err(),
        };
        body
    }

    fn copy(&mut self, length: u64, into: &mut Vec<u8>) -> Result<(), Cut> {
        let mut missing = length;
        while missing > 0 {
            if self.buffer.is_empty() {
                self.fill()?;
            }
            let take = self
                .buffer
                .len()
                .min(usize::try_from(missing).unwrap_or(usize::MAX));
            into.extend(self.buffer.drain(..take));
            missing -= take as u64;
        }
        Ok(())
    }

    fn chunks(&mut self, body: &mut Received) -> Result<(), Cut> {
        loop {
            let size = self.chunk_size()?;
            if size == 0 {
                break;
            }
            self.copy(size, &mut body.bytes)?;
            if self.exactly(2)? != b"\r\n" {
                return Err(Cut::Garbled);
            }
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(());
            }
            body.trailers.push(field(&line));
        }
    }

    /// The size line of the next chunk.
    ///
    /// # Errors
    /// The peer broke off, or the line is none.
    pub fn chunk_size(&mut self) -> Result<u64, Cut> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default();
        if digits.starts_with(['+', '-']) {
            return Err(Cut::Garbled);
        }
        u64::from_str_radix(digits, 16).map_err(|_| Cut::Garbled)
    }
}

/// One chunk of a chunked body.
pub fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// Bytes that are easy to make, hard to guess, and differ at every place: a lost or doubled piece shows.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_breaks_off_is_never_complete() {
        let table: [(&[u8], Framing, Option<Cut>); 8] = [
            (b"hello", Framing::Sized(5), None),
            (b"hell", Framing::Sized(5), Some(Cut::Fin)),
            (b"5\r\nhello\r\n0\r\n\r\n", Framing::Chunked, None),
            (b"5\r\nhello\r\n0\r\n", Framing::Chunked, Some(Cut::Fin)),
            (b"5\r\nhello\r\n", Framing::Chunked, Some(Cut::Fin)),
            (b"5\r\nhelloXX", Framing::Chunked, Some(Cut::Garbled)),
            (b"+5\r\nhello\r\n", Framing::Chunked, Some(Cut::Garbled)),
            (b"hello", Framing::UntilClose, None),
        ];
        for (bytes, framing, cut) in table {
            let body = Incoming::new(bytes).body(framing);
            assert_eq!(body.cut, cut, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_head_is_kept_byte_for_byte_and_read_without_regard_to_case() {
        let raw = b"GET /a?b HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two:2\r\n\r\nrest";
        let mut incoming = Incoming::new(&raw[..]);
        let head = incoming.head().unwrap();
        assert_eq!(head.raw(), &raw[..raw.len() - 4]);
        assert_eq!(
            (head.method(), head.target()),
            ("GET".into(), "/a?b".into())
        );
        assert_eq!(head.all("x-TWO"), ["1", "2"]);
        assert_eq!(incoming.piece().unwrap(), b"rest");
    }

    #[test]
    fn trailers_are_read_and_what_follows_is_left() {
        let raw = b"3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nGET";
        let mut incoming = Incoming::new(&raw[..]);
        let body = incoming.body(Framing::Chunked);
        assert_eq!(body.bytes, b"abc");
        assert_eq!(body.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
        assert_eq!(incoming.piece().unwrap(), b"GET");
    }
}
