//! One connection of the load: a request goes out, an answer comes back, however both are cut.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::http::{self, Body};
use super::poll::Poller;

/// No head is longer.
const HEAD_MAX: usize = 16 << 10;

/// How far an answer has come.
pub(super) enum Progress {
    Waiting,
    Complete,
}

/// One connection of the load: at most one request under way.
#[derive(Default)]
pub(super) struct Connection {
    pub(super) stream: Option<TcpStream>,
    /// Tells this use of the slot from those before it.
    pub(super) generation: u32,
    pub(super) connecting: bool,
    pub(super) watched_for_room: bool,
    /// When the request under way was due.
    pub(super) due: Option<Duration>,
    pub(super) sent: usize,
    pub(super) head: Vec<u8>,
    /// What is still to come, once the head is there.
    pub(super) body: Option<Body>,
    pub(super) status: u16,
    pub(super) closes: bool,
}

impl Connection {
    pub(super) fn key(&self, index: usize) -> u64 {
        u64::from(self.generation) << 32 | index as u64
    }

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        self.stream
            .as_mut()
            .ok_or(io::ErrorKind::NotConnected.into())
    }

    /// Sends while there is room; true when all is sent.
    pub(super) fn send(&mut self, request: &[u8]) -> io::Result<bool> {
        while self.sent < request.len() {
            let rest = &request[self.sent..];
            match self.stream()?.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    pub(super) fn watch_for_room(
        &mut self,
        poller: &Poller,
        index: usize,
        watch: bool,
    ) -> io::Result<()> {
        if self.watched_for_room != watch {
            self.watched_for_room = watch;
            let key = self.key(index);
            poller.change(self.stream()?, key, watch)?;
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, scratch: &mut [u8]) -> io::Result<Progress> {
        loop {
            match self.stream()?.read(scratch) {
                Ok(0) => {
                    let complete = self.due.is_some() && self.body == Some(Body::UntilClose);
                    let cut = io::ErrorKind::UnexpectedEof.into();
                    return if complete {
                        Ok(Progress::Complete)
                    } else {
                        Err(cut)
                    };
                }
                // Nobody asked.
                Ok(_) if self.due.is_none() => return Err(io::ErrorKind::InvalidData.into()),
                Ok(count) => {
                    if self.take(&scratch[..count])? {
                        return Ok(Progress::Complete);
                    }
                    if count < scratch.len() {
                        return Ok(Progress::Waiting);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Progress::Waiting);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes bytes of an answer; true at its end.
    fn take(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if let Some(body) = &mut self.body {
            let (used, done) = body.eat(bytes);
            return whole(done, used, bytes.len());
        }
        // A head that comes in one piece, as nearly all do, is read where it lies.
        let early = std::mem::take(&mut self.head);
        let joined;
        let mut input = if early.is_empty() {
            bytes
        } else {
            joined = [&early, bytes].concat();
            &joined
        };
        loop {
            let Some(head) = http::response(input)? else {
                if input.len() > HEAD_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.head = input.to_vec();
                return Ok(false);
            };
            input = &input[head.bytes..];
            if (100..200).contains(&head.status) {
                continue;
            }
            (self.status, self.closes) = (head.status, head.closes);
            let mut body = head.body;
            let (used, done) = if body.is_empty() {
                (0, true)
            } else {
                body.eat(input)
            };
            self.body = Some(body);
            return whole(done, used, input.len());
        }
    }
}

/// Bytes behind the end of an answer are nobody's.
fn whole(done: bool, used: usize, all: usize) -> io::Result<bool> {
    if done && used < all {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_however_it_is_cut_and_nothing_may_follow_it() {
        let answer =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\nabc";
        for cut in 0..answer.len() {
            let mut connection = Connection::default();
            assert!(!connection.take(&answer[..cut]).unwrap(), "cut at {cut}");
            assert!(connection.take(&answer[cut..]).unwrap(), "cut at {cut}");
            assert_eq!(connection.status, 404);
        }
        let more = [answer.as_slice(), b"H"].concat();
        assert!(Connection::default().take(&more).is_err());
        assert!(Connection::default().take(b"nonsense\r\n\r\n").is_err());
    }
}
