//! The head of a request.

use std::io::Write as _;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request};
use http_body::Body as _;
use lb_core::body::Body;

use super::response::Length;

/// How a request's body is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// So many bytes, perhaps none.
    Exact(u64),
    /// In chunks.
    Chunked,
}

/// Makes a head announce exactly the body that follows. One that announces more would swallow the beginning of the next
/// request on the connection.
pub(crate) fn prepare(request: &mut Request<Body>) -> Framing {
    let exact = request.body().size_hint().exact();
    let empty = request.body().is_end_stream();
    let headers = request.headers_mut();
    if empty {
        headers.remove(TRANSFER_ENCODING);
        if headers.contains_key(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
        return Framing::Exact(0);
    }
    if !headers.contains_key(TRANSFER_ENCODING)
        && let Some(length) = exact.or_else(|| declared(headers))
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
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

/// Writes the head as it is, in our version.
pub(crate) fn write_head<B>(request: &Request<B>, to: &mut Vec<u8>) {
    const FIELD: usize = 40;
    let (uri, headers) = (request.uri(), request.headers());
    to.reserve(FIELD * (headers.len() + 2));
    to.extend_from_slice(request.method().as_str().as_bytes());
    to.push(b' ');
    match uri.path_and_query() {
        Some(target) if uri.authority().is_none() => {
            to.extend_from_slice(target.as_str().as_bytes())
        }
        // Writing to memory does not fail.
        _ => drop(write!(to, "{uri}")),
    }
    to.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        write_field(name.as_str(), value, to);
    }
    to.extend_from_slice(b"\r\n");
}

/// Writes one field.
pub(super) fn write_field(name: &str, value: &HeaderValue, to: &mut Vec<u8>) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value.as_bytes());
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Version;
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

    fn written(mut request: Request<Body>) -> (Framing, String) {
        let framing = prepare(&mut request);
        let mut head = Vec::new();
        write_head(&request, &mut head);
        let head = String::from_utf8_lossy(&head).into_owned();
        (framing, head)
    }

    #[test]
    fn a_head_announces_the_body_that_follows_whatever_it_said_before() {
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
            let head = format!("GET / HTTP/1.1\r\n{head}\r\n");
            assert_eq!(
                written(request.body(body).unwrap()),
                (framing, head),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn a_head_is_written_in_order_and_in_our_version() {
        let request = Request::put("/a/../b?q=%zz|")
            .version(Version::HTTP_3)
            .header("host", "t")
            .header("x-b", "1")
            .header("x-a", "")
            .header("x-b", "2")
            .body(Body::empty());
        assert_eq!(
            written(request.unwrap()).1,
            "PUT /a/../b?q=%zz| HTTP/1.1\r\nhost: t\r\nx-b: 1\r\nx-b: 2\r\nx-a: \r\n\r\n"
        );
    }

    #[test]
    fn targets_of_every_form_are_written_as_they_are() {
        for target in ["/", "/?", "*", "http://t.example/a?b", "http://t.example/"] {
            let request = Request::options(target).body(Body::empty());
            let head = written(request.unwrap()).1;
            assert_eq!(head, format!("OPTIONS {target} HTTP/1.1\r\n\r\n"));
        }
    }

    #[test]
    fn bytes_beyond_ascii_pass() {
        let value = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        let request = Request::get("/").header("x", value).body(());
        let mut head = Vec::new();
        write_head(&request.unwrap(), &mut head);
        assert_eq!(head, b"GET / HTTP/1.1\r\nx: caf\xe9\r\n\r\n");
    }
}
