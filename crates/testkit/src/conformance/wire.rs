//! Raw HTTP/1.1 on a stream: both sides of a test speak and hear bytes, without the code under test.
//!
//! The reader is strict on purpose. What it does not accept is either a bug of whoever sent it, or bytes of somebody
//! else's message.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use futures::io::{AsyncRead, AsyncWrite};

/// Bytes of a head, at most.
const HEAD_MAX: usize = 64 * 1024;
/// Bytes that one read asks for.
const READ: usize = 16 * 1024;

/// A stream with what was read too far.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// A message head: the start line and the fields, names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request line or the status line.
    pub start: String,
    /// The fields in their order.
    pub fields: Vec<(String, Vec<u8>)>,
}

/// Where a message ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk and the trailers.
    Chunked,
    /// With the connection.
    Close,
}

/// A piece of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Content.
    Data(Vec<u8>),
    /// The end, with the trailers.
    End(Vec<(String, Vec<u8>)>),
}

/// The end of a body that is being read.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    framing: Framing,
    /// Bytes of the message, or of the chunk, that are still to come.
    left: u64,
    first: bool,
}

pub(crate) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Head {
    /// The values of a field.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| &**value)
    }

    /// The value of a field that is there at most once.
    pub fn one(&self, name: &str) -> io::Result<Option<&[u8]>> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(invalid(&format!("field {name} more than once"))),
        }
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> io::Result<Option<&str>> {
        self.one(name)?
            .map(|value| std::str::from_utf8(value).map_err(|_| invalid(name)))
            .transpose()
    }

    /// Exactly one framing: `chunked` once, or one canonical length; `otherwise` if there is none.
    pub fn framing(&self, otherwise: Framing) -> io::Result<Framing> {
        match (
            self.text("transfer-encoding")?,
            self.text("content-length")?,
        ) {
            (Some("chunked"), None) => Ok(Framing::Chunked),
            (Some(_), _) => Err(invalid("transfer-encoding that is not one `chunked` alone")),
            (None, Some(length)) => {
                let number: u64 = length.parse().map_err(|_| invalid("content-length"))?;
                if number.to_string() == length {
                    Ok(Framing::Length(number))
                } else {
                    Err(invalid("content-length that is not canonical"))
                }
            }
            (None, None) => Ok(otherwise),
        }
    }

    fn parse(text: &[u8]) -> io::Result<Self> {
        let mut lines = text.split(|byte| *byte == b'\n').map(|line| {
            line.strip_suffix(b"\r")
                .ok_or_else(|| invalid("bare line feed in a head"))
        });
        let start = lines.next().ok_or_else(|| invalid("empty head"))??;
        let start = std::str::from_utf8(start)
            .map_err(|_| invalid("start line"))?
            .to_owned();
        Ok(Self {
            start,
            fields: fields(lines)?,
        })
    }
}

fn fields<'a>(
    lines: impl Iterator<Item = io::Result<&'a [u8]>>,
) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut fields = Vec::new();
    for line in lines {
        let line = line?;
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .ok_or_else(|| invalid("field without a colon"))?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(token) {
            return Err(invalid("field name"));
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        fields.push((name, value.trim_ascii().to_vec()));
    }
    Ok(fields)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Speaks on `stream`.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Bytes that were read and belong to nothing yet.
    pub fn surplus(&self) -> &[u8] {
        &self.buffer
    }

    /// Writes all of `bytes`. Dropped, some of them are written.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            let count = poll_fn(|cx| Pin::new(&mut self.stream).poll_write(cx, bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
        }
        poll_fn(|cx| Pin::new(&mut self.stream).poll_flush(cx)).await
    }

    /// Ends the writing half.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.stream).poll_close(cx)).await
    }

    /// Reads once, and says how many bytes came; none is the end. Dropping the future loses nothing.
    pub async fn fill(&mut self) -> io::Result<usize> {
        let mut room = [0; READ];
        let count = poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut room)).await?;
        self.buffer.extend_from_slice(&room[..count]);
        Ok(count)
    }

    /// Writes `bytes` and reads so many, both at a time.
    pub async fn write_and_read(&mut self, bytes: &[u8], count: usize) -> io::Result<Vec<u8>> {
        let mut written = 0;
        while written < bytes.len() || self.buffer.len() < count {
            let mut room = [0; READ];
            let read = poll_fn(|cx| {
                let stream = Pin::new(&mut self.stream);
                if let Poll::Ready(count) = stream.poll_write(cx, &bytes[written..])
                    && written < bytes.len()
                {
                    written += count?;
                    return Poll::Ready(Ok(None));
                }
                Pin::new(&mut self.stream)
                    .poll_read(cx, &mut room)
                    .map_ok(Some)
            });
            match read.await? {
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.buffer.extend_from_slice(&room[..read.unwrap_or(0)]),
            }
        }
        self.read_exact(count).await
    }

    /// Everything up to the end of the stream.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill().await? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// So many bytes.
    pub async fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill_or_cut().await?;
        }
        Ok(self.take(count))
    }

    /// The first `count` bytes of what was read.
    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }

    async fn fill_or_cut(&mut self) -> io::Result<()> {
        match self.fill().await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Everything before the next `end`, which is taken, too.
    async fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let found = self
                .buffer
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                let mut taken = self.take(at + end.len());
                taken.truncate(at);
                return Ok(taken);
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(invalid("line or head too long"));
            }
            self.fill_or_cut().await?;
        }
    }

    /// The next head; `None` if the stream ends before its first byte.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        if self.buffer.is_empty() && self.fill().await? == 0 {
            return Ok(None);
        }
        let mut head = self.read_until(b"\r\n\r\n").await?;
        head.extend_from_slice(b"\r");
        Head::parse(&head).map(Some)
    }

    /// The next piece of a body.
    pub async fn piece(&mut self, progress: &mut Progress) -> io::Result<Piece> {
        match progress.framing {
            Framing::Length(_) if progress.left == 0 => Ok(Piece::End(Vec::new())),
            Framing::Length(_) => self.data(progress).await,
            Framing::Close => {
                if self.buffer.is_empty() && self.fill().await? == 0 {
                    return Ok(Piece::End(Vec::new()));
                }
                Ok(Piece::Data(std::mem::take(&mut self.buffer)))
            }
            Framing::Chunked => {
                if progress.left == 0 {
                    progress.left = self.chunk_size(progress.first).await?;
                    progress.first = false;
                }
                if progress.left == 0 {
                    return self.trailers().await.map(Piece::End);
                }
                self.data(progress).await
            }
        }
    }

    async fn data(&mut self, progress: &mut Progress) -> io::Result<Piece> {
        if self.buffer.is_empty() {
            self.fill_or_cut().await?;
        }
        let left = usize::try_from(progress.left).unwrap_or(usize::MAX);
        let count = self.buffer.len().min(left);
        progress.left -= count as u64;
        Ok(Piece::Data(self.take(count)))
    }

    async fn chunk_size(&mut self, first: bool) -> io::Result<u64> {
        if !first && !self.read_until(b"\r\n").await?.is_empty() {
            return Err(invalid("chunk without its end"));
        }
        let line = self.read_until(b"\r\n").await?;
        let text = std::str::from_utf8(&line).map_err(|_| invalid("chunk size"))?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid("chunk size"));
        }
        u64::from_str_radix(text, 16).map_err(|_| invalid("chunk size"))
    }

    async fn trailers(&mut self) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_until(b"\r\n").await?;
            if line.is_empty() {
                return fields(lines.iter().map(|line: &Vec<u8>| Ok(&**line)));
            }
            lines.push(line);
        }
    }

    /// A whole body and its trailers.
    pub async fn body(
        &mut self,
        framing: Framing,
    ) -> io::Result<(Vec<u8>, Vec<(String, Vec<u8>)>)> {
        let mut progress = Progress::new(framing);
        let mut all = Vec::new();
        loop {
            match self.piece(&mut progress).await? {
                Piece::Data(data) => all.extend(data),
                Piece::End(trailers) => return Ok((all, trailers)),
            }
        }
    }

    /// A whole request; a request without framing has no body.
    pub async fn request(&mut self) -> io::Result<Option<(Head, Vec<u8>)>> {
        let Some(head) = self.head().await? else {
            return Ok(None);
        };
        let (body, _) = self.body(head.framing(Framing::Length(0))?).await?;
        Ok(Some((head, body)))
    }
}

impl Progress {
    /// Before the first piece.
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            left: match framing {
                Framing::Length(length) => length,
                _ => 0,
            },
            first: true,
        }
    }
}
