use super::super::request::write_head;
use super::*;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use http::{HeaderName, HeaderValue, Request};
use lb_core::error::BodyCause;
use std::io::IoSlice;
use std::task::Waker;

/// A stream that takes some bytes at a time, so many in all, and then fails.
struct Takes {
    step: usize,
    left: usize,
    wire: Vec<u8>,
}

impl AsyncWrite for Takes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = buf.len().min(self.step).min(self.left);
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.left -= count;
        self.wire.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Frames = Result<Frame<Bytes>, BodyError>;

/// A body of frames that a test hands over.
struct Fed {
    frames: UnboundedReceiver<Frames>,
    hint: SizeHint,
}

impl HttpBody for Fed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
        futures::Stream::poll_next(Pin::new(&mut self.frames), cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

fn fed() -> (UnboundedSender<Frames>, Body) {
    hinted(SizeHint::default())
}

fn hinted(hint: SizeHint) -> (UnboundedSender<Frames>, Body) {
    let (feed, frames) = unbounded();
    (feed, Body::stream(Fed { frames, hint }))
}

fn data(text: &'static str) -> Frames {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn takes(step: usize, left: usize) -> Takes {
    Takes {
        step,
        left,
        wire: Vec::new(),
    }
}

fn one_by_one() -> Sending {
    let (enough, small) = (1, 0);
    Sending::none(Gathering { enough, small })
}

fn gathering() -> Sending {
    let (enough, small) = (100, 4);
    Sending::none(Gathering { enough, small })
}

fn begun(body: Body, framing: Framing) -> Sending {
    begun_by(
        one_by_one(),
        Request::post("/").body(body).unwrap(),
        framing,
    )
}

fn begun_by(mut sending: Sending, mut request: Request<Body>, framing: Framing) -> Sending {
    let body = mem::take(request.body_mut());
    let write = |to: &mut Vec<u8>| write_head(&request, to);
    sending.begin(write, request.headers(), framing, body);
    sending
}

/// Lets it write until it is through or has failed, or a hundred times.
fn poll(sending: &mut Sending, stream: &mut Takes) -> Poll<Result<(), Stopped>> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut polls = (0..100).map(|_| sending.poll(stream, &mut cx));
    polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
}

/// What is in a body that is whole, as far as it is there.
fn content(mut body: Body) -> Vec<u8> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut content = Vec::new();
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
        content.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    content
}

const HEAD: &str = "POST / HTTP/1.1\r\n\r\n";

#[test]
fn a_request_is_written_however_little_the_stream_takes() {
    for step in 1..50 {
        let (feed, body) = fed();
        let mut sending = begun(body, Framing::Chunked);
        let mut stream = takes(step, usize::MAX);
        assert!(poll(&mut sending, &mut stream).is_pending());
        assert_eq!(stream.wire, HEAD.as_bytes());
        for frame in [data("some"), data(""), data("more")] {
            feed.unbounded_send(frame).unwrap();
        }
        assert!(poll(&mut sending, &mut stream).is_pending());
        assert!(!sending.is_ended() && !sending.is_done());
        drop(feed);
        assert!(matches!(
            poll(&mut sending, &mut stream),
            Poll::Ready(Ok(()))
        ));
        assert!(sending.is_done());
        let wire = format!("{HEAD}4\r\nsome\r\n4\r\nmore\r\n0\r\n\r\n");
        assert_eq!(stream.wire, wire.as_bytes());
    }
}

#[test]
fn a_request_of_which_nothing_was_written_comes_back_whole() {
    let refused = |body, framing| {
        let mut sending = begun(body, framing);
        let polled = poll(&mut sending, &mut takes(1, 0));
        assert!(matches!(polled, Poll::Ready(Err(Stopped::Stream(_)))));
        assert!(!sending.is_written() && !sending.is_done());
        sending.take_back()
    };
    let empty = refused(Body::empty(), Framing::Exact(0)).unwrap();
    assert!(empty.is_end_stream());
    let full = refused("whole".into(), Framing::Exact(5)).unwrap();
    assert_eq!(full.size_hint().exact(), Some(5));
    assert_eq!(content(full), b"whole");

    let (feed, body) = fed();
    feed.unbounded_send(data("first")).unwrap();
    let begun = refused(body, Framing::Chunked).unwrap();
    feed.unbounded_send(data(" and rest")).unwrap();
    drop(feed);
    assert_eq!(content(begun), b"first and rest");

    let (feed, body) = fed();
    let trailers = HeaderMap::new();
    feed.unbounded_send(Ok(Frame::trailers(trailers))).unwrap();
    assert!(refused(body, Framing::Chunked).is_none());
}

#[test]
fn a_request_of_which_a_byte_was_written_does_not_come_back() {
    let mut sending = begun("whole".into(), Framing::Exact(5));
    assert!(matches!(
        poll(&mut sending, &mut takes(1, 1)),
        Poll::Ready(Err(Stopped::Stream(_)))
    ));
    assert!(sending.is_written());
    assert!(sending.take_back().is_none());
}

#[test]
fn after_a_body_that_is_not_as_announced_nothing_more_is_written() {
    let short: &[fn() -> Frames] = &[|| data("four")];
    let long: &[fn() -> Frames] = &[|| data("four"), || data("five!")];
    let failed: &[fn() -> Frames] = &[|| data("four"), || Err(BodyCause::Closed.into())];
    let table = [
        (short, Framing::Exact(5), ""),
        (long, Framing::Exact(4), "four"),
        (long, Framing::Exact(8), "four"),
        (failed, Framing::Exact(9), "four"),
        (failed, Framing::Chunked, "4\r\nfour\r\n"),
    ];
    for (frames, framing, written) in table {
        let (feed, body) = fed();
        let mut sending = begun(body, framing);
        let mut stream = takes(usize::MAX, usize::MAX);
        let mut polled = poll(&mut sending, &mut stream);
        for frame in frames {
            feed.unbounded_send(frame()).unwrap();
            polled = poll(&mut sending, &mut stream);
        }
        drop(feed);
        if polled.is_pending() {
            polled = poll(&mut sending, &mut stream);
        }
        assert!(matches!(
            polled,
            Poll::Ready(Err(Stopped::Length | Stopped::Body(_)))
        ));
        let wire = String::from_utf8(stream.wire).unwrap();
        let prefix = wire.strip_prefix(HEAD).unwrap();
        assert!(
            prefix.starts_with(written) && !prefix.ends_with("0\r\n\r\n"),
            "{wire:?}"
        );
    }
}

#[test]
fn a_body_is_let_go_at_its_end() {
    let (feed, body) = fed();
    let mut sending = begun(body, Framing::Chunked);
    feed.close_channel();
    assert!(poll(&mut sending, &mut takes(1, usize::MAX)).is_ready());
    assert!(sending.is_done());
    assert!(feed.is_closed());
    assert!(sending.body.is_end_stream());
}

#[test]
fn trailers_are_waited_for_although_no_data_is_left() {
    let (feed, body) = hinted(SizeHint::with_exact(0));
    let mut request = Request::post("/").header("trailer", "x-sum");
    request = request.header("transfer-encoding", "chunked");
    let request = request.body(body).unwrap();
    let mut sending = begun_by(one_by_one(), request, Framing::Chunked);
    let mut stream = takes(usize::MAX, usize::MAX);
    feed.unbounded_send(data("all")).unwrap();
    assert!(poll(&mut sending, &mut stream).is_pending());
    assert!(!sending.is_ended());
    let sum = (
        HeaderName::from_static("x-sum"),
        HeaderValue::from_static("7"),
    );
    let trailers = Frame::trailers(HeaderMap::from_iter([sum]));
    feed.unbounded_send(Ok(trailers)).unwrap();
    assert!(poll(&mut sending, &mut stream).is_ready());
    assert!(sending.is_done());
    assert!(stream.wire.ends_with(b"3\r\nall\r\n0\r\nx-sum: 7\r\n\r\n"));
}

#[test]
fn a_body_of_exact_length_is_not_waited_for_once_it_knows_that_it_is_over() {
    let (_feed, body) = hinted(SizeHint::with_exact(0));
    let mut sending = begun(body, Framing::Exact(0));
    assert!(poll(&mut sending, &mut takes(usize::MAX, usize::MAX)).is_ready());
    assert!(sending.is_done());
}

/// A stream that notes what it is given at a time.
#[derive(Default)]
struct Writes(Vec<Vec<u8>>);

impl AsyncWrite for Writes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.push(buf.to_vec());
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
        let count = all.len();
        self.0.push(all);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn what_is_there_is_written_at_once() {
    let (feed, body) = fed();
    for frame in [data("a"), data("b"), data("long enough"), data("c")] {
        feed.unbounded_send(frame).unwrap();
    }
    drop(feed);
    let request = Request::post("/").body(body).unwrap();
    let mut sending = begun_by(gathering(), request, Framing::Chunked);
    let mut stream = Writes::default();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.poll(&mut stream, &mut cx).is_ready());
    let all = "1\r\na\r\n1\r\nb\r\nb\r\nlong enough\r\n1\r\nc\r\n0\r\n\r\n";
    assert_eq!(stream.0, [format!("{HEAD}{all}").as_bytes()]);
}

#[test]
fn what_came_before_a_failure_can_still_be_written() {
    let (feed, body) = fed();
    for frame in [data("some"), Err(BodyCause::Closed.into())] {
        feed.unbounded_send(frame).unwrap();
    }
    let request = Request::post("/").body(body).unwrap();
    let mut sending = begun_by(gathering(), request, Framing::Exact(9));
    let mut stream = takes(usize::MAX, usize::MAX);
    let failed = poll(&mut sending, &mut stream);
    assert!(matches!(failed, Poll::Ready(Err(Stopped::Body(_)))));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.poll_rest(&mut stream, &mut cx).is_ready());
    assert_eq!(stream.wire, format!("{HEAD}some").as_bytes());
}

#[test]
fn a_body_without_end_gives_others_a_turn() {
    let (feed, body) = fed();
    for _ in 0..TURN * TURN * 2 {
        feed.unbounded_send(data("")).unwrap();
    }
    let mut sending = begun(body, Framing::UntilClose);
    let mut stream = takes(usize::MAX, usize::MAX);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.poll(&mut stream, &mut cx).is_pending());
    assert!(!feed.is_empty());
}
