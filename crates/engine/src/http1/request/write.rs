//! The head of a request as it is written.

use std::io::Write as _;

use http::Request;

use super::super::fields::{room, write_field};

/// Writes the head as it is, in our version.
pub(crate) fn write_head<B>(request: &Request<B>, to: &mut Vec<u8>) {
    let (uri, headers) = (request.uri(), request.headers());
    to.reserve(room(headers.len()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Version};

    fn written(request: &Request<()>) -> String {
        let mut head = Vec::new();
        write_head(request, &mut head);
        String::from_utf8_lossy(&head).into_owned()
    }

    #[test]
    fn a_head_is_written_in_order_and_in_our_version() {
        let request = Request::put("/a/../b?q=%zz|")
            .version(Version::HTTP_3)
            .header("host", "t")
            .header("x-b", "1")
            .header("x-a", "")
            .header("x-b", "2")
            .body(());
        assert_eq!(
            written(&request.unwrap()),
            "PUT /a/../b?q=%zz| HTTP/1.1\r\nhost: t\r\nx-b: 1\r\nx-b: 2\r\nx-a: \r\n\r\n"
        );
    }

    #[test]
    fn targets_of_every_form_are_written_as_they_are() {
        for target in ["/", "/?", "*", "http://t.example/a?b", "http://t.example/"] {
            let request = Request::options(target).body(());
            let head = written(&request.unwrap());
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
