//! How a message is framed that goes out: its head announces exactly the body that follows.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use lb_core::body::Body;

use super::fields::Length;

/// How a body is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// So many bytes, perhaps none.
    Exact(u64),
    /// In chunks.
    Chunked,
    /// As it is, until the connection is closed.
    UntilClose,
}

/// Makes the head of a request announce its body. One that announces more would swallow the beginning of the next request on
/// the connection.
pub(crate) fn announce_request(request: &mut Request<Body>) -> Framing {
    if !request.body().is_end_stream() {
        let exact = request.body().size_hint().exact();
        return announce(request.headers_mut(), exact);
    }
    let headers = request.headers_mut();
    headers.remove(TRANSFER_ENCODING);
    if headers.contains_key(CONTENT_LENGTH) {
        set_length(headers, 0);
    }
    Framing::Exact(0)
}

/// Makes the head of an answer announce its body. The body of one that has none (to a HEAD, of a 204 or 304) is dropped, and a
/// `Content-Length` there stays as it is: it says what a GET would have got. `old` is for clients that know no chunks.
pub(crate) fn announce_response(
    response: &mut Response<Body>,
    to_head: bool,
    old: bool,
) -> Framing {
    if to_head || is_bodiless(response.status()) {
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(TRANSFER_ENCODING);
        return Framing::Exact(0);
    }
    let exact = match response.body().is_end_stream() {
        true => {
            // Nobody would write the chunk that ends it.
            response.headers_mut().remove(TRANSFER_ENCODING);
            Some(0)
        }
        false => response.body().size_hint().exact(),
    };
    let headers = response.headers_mut();
    match announce(headers, exact) {
        Framing::Chunked if old => {
            headers.remove(TRANSFER_ENCODING);
            Framing::UntilClose
        }
        framing => framing,
    }
}

/// Has no answer with this status a body (RFC 9110 §6.4.1)?
pub(super) fn is_bodiless(status: StatusCode) -> bool {
    const BODILESS: [StatusCode; 2] = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    status.is_informational() || BODILESS.contains(&status)
}

/// For a body whose length is known to be `exact`, or known only as far as the head says it.
fn announce(headers: &mut HeaderMap, exact: Option<u64>) -> Framing {
    if !headers.contains_key(TRANSFER_ENCODING)
        && let Some(length) = exact.or_else(|| declared(headers))
    {
        set_length(headers, length);
        return Framing::Exact(length);
    }
    headers.remove(CONTENT_LENGTH);
    headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    Framing::Chunked
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(CONTENT_LENGTH).iter();
    match values.fold(Length::Unsaid, Length::and) {
        Length::Said(length) => Some(length),
        Length::Unsaid | Length::Nonsense => None,
    }
}

/// Makes `Content-Length` say `length`, once and in plain digits, as it mostly does already.
fn set_length(headers: &mut HeaderMap, length: u64) {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let says = values
        .next()
        .is_some_and(|value| says(value.as_bytes(), length));
    if !says || values.next().is_some() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Is this how we would write `number`?
fn says(text: &[u8], mut number: u64) -> bool {
    for digit in text.iter().skip(1).rev() {
        if u64::from(*digit) != u64::from(b'0') + number % 10 || number < 10 {
            return false;
        }
        number /= 10;
    }
    let first = text.first().map(|digit| u64::from(*digit));
    number < 10 && first == Some(u64::from(b'0') + number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lb_core::error::BodyError;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body that does not know its length.
    struct Unknown;

    impl http_body::Body for Unknown {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
            Poll::Pending
        }
    }

    fn text(headers: &HeaderMap) -> String {
        let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
            format!("{name}: {}\r\n", value.to_str().unwrap())
        };
        headers.iter().map(line).collect()
    }

    #[test]
    fn a_request_announces_the_body_that_follows_whatever_it_said_before() {
        let full = || Body::from("four");
        let stream = || Body::stream(Unknown);
        type Case<'a> = (Body, &'a [(&'a str, &'a str)], Framing, &'a str);
        let table: [Case<'_>; 12] = [
            (Body::empty(), &[], Framing::Exact(0), ""),
            (
                Body::empty(),
                &[("content-length", "5")],
                Framing::Exact(0),
                "content-length: 0\r\n",
            ),
            (
                Body::empty(),
                &[("content-length", "5"), ("content-length", "6")],
                Framing::Exact(0),
                "content-length: 0\r\n",
            ),
            (
                Body::empty(),
                &[("transfer-encoding", "chunked")],
                Framing::Exact(0),
                "",
            ),
            (full(), &[], Framing::Exact(4), "content-length: 4\r\n"),
            (
                full(),
                &[("content-length", "9")],
                Framing::Exact(4),
                "content-length: 4\r\n",
            ),
            (
                full(),
                &[
                    ("transfer-encoding", "gzip"),
                    ("transfer-encoding", "chunked"),
                    ("content-length", "4"),
                ],
                Framing::Chunked,
                "transfer-encoding: chunked\r\n",
            ),
            (
                stream(),
                &[],
                Framing::Chunked,
                "transfer-encoding: chunked\r\n",
            ),
            (
                stream(),
                &[("content-length", "7")],
                Framing::Exact(7),
                "content-length: 7\r\n",
            ),
            (
                stream(),
                &[("content-length", "7, 7")],
                Framing::Exact(7),
                "content-length: 7\r\n",
            ),
            (
                stream(),
                &[("content-length", "+7")],
                Framing::Chunked,
                "transfer-encoding: chunked\r\n",
            ),
            (
                stream(),
                &[("content-length", "7"), ("content-length", "8")],
                Framing::Chunked,
                "transfer-encoding: chunked\r\n",
            ),
        ];
        for (body, fields, framing, head) in table {
            let mut request = Request::get("/");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let mut request = request.body(body).unwrap();
            let announced = announce_request(&mut request);
            let announced = (announced, text(request.headers()));
            assert_eq!(announced, (framing, head.to_owned()), "{fields:?}");
        }
    }

    #[test]
    fn a_number_is_said_in_plain_digits_and_in_no_other_way() {
        for number in [0, 1, 9, 10, 99, 100, 1024, u64::MAX - 1, u64::MAX] {
            let text = number.to_string();
            assert!(says(text.as_bytes(), number), "{number}");
            for other in ["", "0", "1", "+1", "00", ":", "18446744073709551616", "9é"] {
                let wrong = [format!("0{text}"), format!("{text}0"), other.to_owned()];
                for wrong in wrong.iter().filter(|wrong| **wrong != text) {
                    assert!(!says(wrong.as_bytes(), number), "{wrong} {number}");
                }
            }
        }
    }

    #[test]
    fn an_answer_announces_the_body_that_follows_unless_it_has_none() {
        let full = || Body::from("four");
        let stream = || Body::stream(Unknown);
        let (none, chunks) = (Framing::Exact(0), Framing::Chunked);
        type Case<'a> = (u16, Body, &'a [(&'a str, &'a str)], Framing, &'a str);
        let table: [Case<'_>; 13] = [
            (200, Body::empty(), &[], none, "content-length: 0\r\n"),
            (
                200,
                Body::empty(),
                &[("content-length", "5")],
                none,
                "content-length: 0\r\n",
            ),
            (200, full(), &[], Framing::Exact(4), "content-length: 4\r\n"),
            (
                200,
                full(),
                &[("content-length", "4"), ("content-length", "4")],
                Framing::Exact(4),
                "content-length: 4\r\n",
            ),
            (
                404,
                stream(),
                &[("content-length", "07")],
                Framing::Exact(7),
                "content-length: 7\r\n",
            ),
            (200, stream(), &[], chunks, "transfer-encoding: chunked\r\n"),
            (
                200,
                stream(),
                &[("transfer-encoding", "gzip"), ("content-length", "7")],
                chunks,
                "transfer-encoding: chunked\r\n",
            ),
            (204, full(), &[], none, ""),
            (304, Body::empty(), &[], none, ""),
            (
                304,
                stream(),
                &[("content-length", "5")],
                none,
                "content-length: 5\r\n",
            ),
            (
                304,
                Body::empty(),
                &[("transfer-encoding", "chunked")],
                none,
                "",
            ),
            (101, Body::empty(), &[], none, ""),
            (
                200,
                Body::empty(),
                &[("transfer-encoding", "chunked")],
                none,
                "content-length: 0\r\n",
            ),
        ];
        for (status, body, fields, framing, head) in table {
            let mut response = Response::builder().status(status);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            let mut response = response.body(body).unwrap();
            let announced = announce_response(&mut response, false, false);
            let announced = (announced, text(response.headers()));
            assert_eq!(announced, (framing, head.to_owned()), "{status} {fields:?}");
            let ends = response.body().is_end_stream();
            assert_eq!(ends, framing == none, "{status} {fields:?}");
        }
    }

    #[test]
    fn an_answer_to_head_says_what_a_get_would_have_got_and_has_no_body() {
        for (fields, head) in [
            (&[][..], ""),
            (&[("content-length", "5")], "content-length: 5\r\n"),
            (&[("transfer-encoding", "chunked")], ""),
        ] {
            let mut response = Response::new(Body::from("unwanted"));
            for (name, value) in fields {
                let value = HeaderValue::from_static(value);
                response.headers_mut().insert(*name, value);
            }
            let framing = announce_response(&mut response, true, false);
            assert_eq!(framing, Framing::Exact(0));
            assert!(response.body().is_end_stream());
            assert_eq!(text(response.headers()), head);
        }
    }

    #[test]
    fn a_client_that_knows_no_chunks_gets_none() {
        let mut response = Response::new(Body::stream(Unknown));
        let framing = announce_response(&mut response, false, true);
        assert_eq!(
            (framing, text(response.headers())),
            (Framing::UntilClose, String::new())
        );
        let mut response = Response::new(Body::from("four"));
        let framing = announce_response(&mut response, false, true);
        assert_eq!(framing, Framing::Exact(4));
    }
}
