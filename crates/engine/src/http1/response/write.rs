//! The head of an answer as it is written.

use http::header::DATE;
use http::{Response, Version};
use hyper::ext::ReasonPhrase;

use super::super::fields::{room, write_field};

/// What the head of an answer says beside what is in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// What the client speaks: nothing newer is for it.
    pub(crate) version: Version,
    /// Whether another request may follow; nothing where the answer switches protocols.
    pub(crate) kept: Option<bool>,
    /// Says what the date is, for an answer that has none (RFC 9110 §6.6.1).
    pub(crate) date: Option<fn() -> Date>,
}

/// A date as HTTP has it (RFC 9110 §5.6.7).
pub(crate) type Date = [u8; 29];

/// Writes the head as it is, with what `line` says.
pub(crate) fn write_head<B>(response: &Response<B>, line: Line, to: &mut Vec<u8>) {
    let (status, headers) = (response.status(), response.headers());
    let old = line.version == Version::HTTP_10;
    to.reserve(room(headers.len()));
    to.extend_from_slice(if old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    to.extend_from_slice(status.as_str().as_bytes());
    to.push(b' ');
    match response.extensions().get::<ReasonPhrase>() {
        Some(reason) => to.extend_from_slice(reason.as_bytes()),
        None => to.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes()),
    }
    to.extend_from_slice(b"\r\n");
    let mut dated = false;
    for (name, value) in headers {
        dated |= *name == DATE;
        write_field(name.as_str(), value, to);
    }
    match line.kept {
        // RFC 9112 §9.3: what is usual in its version need not be said.
        Some(false) => to.extend_from_slice(b"connection: close\r\n"),
        Some(true) if old => to.extend_from_slice(b"connection: keep-alive\r\n"),
        Some(true) | None => {}
    }
    if let Some(date) = line.date
        && !dated
    {
        to.extend_from_slice(b"date: ");
        to.extend_from_slice(&date());
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn written(response: &Response<()>, line: Line) -> String {
        let mut head = Vec::new();
        write_head(response, line, &mut head);
        String::from_utf8(head).unwrap()
    }

    const LINE: Line = Line {
        version: Version::HTTP_11,
        kept: Some(true),
        date: None,
    };

    #[test]
    fn a_head_is_written_in_order_and_in_the_version_of_the_client() {
        let mut response = Response::builder()
            .status(404)
            .version(Version::HTTP_2)
            .header("x-b", "1")
            .header("x-a", "")
            .header("x-b", "2")
            .body(())
            .unwrap();
        let fields = "x-b: 1\r\nx-b: 2\r\nx-a: \r\n";
        let head = format!("HTTP/1.1 404 Not Found\r\n{fields}\r\n");
        assert_eq!(written(&response, LINE), head);
        let old = Line {
            version: Version::HTTP_10,
            kept: Some(false),
            ..LINE
        };
        let head = format!("HTTP/1.0 404 Not Found\r\n{fields}connection: close\r\n\r\n");
        assert_eq!(written(&response, old), head);
        let reason = ReasonPhrase::from_static(b"Not Here");
        response.extensions_mut().insert(reason);
        let head = format!("HTTP/1.1 404 Not Here\r\n{fields}\r\n");
        assert_eq!(written(&response, LINE), head);
    }

    #[test]
    fn a_status_without_a_name_has_an_empty_one() {
        let response = Response::builder().status(599).body(()).unwrap();
        assert_eq!(written(&response, LINE), "HTTP/1.1 599 \r\n\r\n");
    }

    #[test]
    fn only_what_is_unusual_in_its_version_is_said_of_the_connection() {
        let (new, old) = (Version::HTTP_11, Version::HTTP_10);
        for (version, kept, said) in [
            (new, Some(true), ""),
            (new, Some(false), "connection: close\r\n"),
            (new, None, ""),
            (old, Some(true), "connection: keep-alive\r\n"),
            (old, Some(false), "connection: close\r\n"),
        ] {
            let line = Line {
                version,
                kept,
                ..LINE
            };
            let head = format!("{version:?} 200 OK\r\n{said}\r\n");
            assert_eq!(written(&Response::new(()), line), head);
        }
    }

    #[test]
    fn a_date_is_written_and_so_are_bytes_beyond_ascii() {
        let mut response = Response::new(());
        let value = HeaderValue::from_bytes("caf\u{e9}".as_bytes()).unwrap();
        response.headers_mut().insert("x", value);
        let line = Line {
            date: Some(|| *b"Sun, 06 Nov 1994 08:49:37 GMT"),
            ..LINE
        };
        let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        let head = format!("HTTP/1.1 200 OK\r\nx: caf\u{e9}\r\n{date}\r\n");
        assert_eq!(written(&response, line), head);
        let date = HeaderValue::from_static("yesterday");
        response.headers_mut().insert(DATE, date);
        assert!(written(&response, line).ends_with("date: yesterday\r\n\r\n"));
    }
}
