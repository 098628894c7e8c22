//! The rules of a response, in the order they apply.

use http::header::{CONNECTION, TRAILER, UPGRADE};
use http::response::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};

use super::framing::{self, Declared, Shape};
use super::names::{self, FIELDS_MAX, Present, members};
use super::trailers;
use crate::backend::Backend;
use crate::body::Body;

/// What the rules need to know besides the response.
pub(in crate::forward) struct Context<'a> {
    /// The request's method.
    pub(in crate::forward) method: &'a Method,
    /// The request asked to become a WebSocket, and this response carries the other end of it.
    pub(in crate::forward) switching: bool,
    /// The client takes trailers.
    pub(in crate::forward) trailers: bool,
    /// The field that names the backend, if configured.
    pub(in crate::forward) backend_header: Option<&'a HeaderName>,
    /// Who answered.
    pub(in crate::forward) backend: &'a Backend,
}

/// Turns a head as the backend sent it into the head to hand on; tells how long the body will be.
///
/// # Errors
/// The rule it breaks: the client gets a 502.
pub(in crate::forward) fn prepare(
    head: &mut Parts,
    body: &Body,
    context: &Context<'_>,
) -> Result<Shape, &'static str> {
    if head.headers.len() > FIELDS_MAX {
        return Err("too many header fields");
    }
    check_status(head, context.switching)?;
    let present = Present::in_head(&head.headers);
    let shape = settle_length(head, present, body, context.method)?;
    // RFC 9110 §6.5.1: who did not say that it takes trailers gets none, so none are promised.
    let announced = (context.trailers && shape == Shape::Chunked && present.any(Present::TRAILER))
        .then(|| trailers::announcement(&head.headers))
        .flatten();
    names::remove_hop_by_hop(&mut head.headers, present);
    if let Some(names) = announced {
        head.headers.insert(TRAILER, names);
    }
    if context.switching {
        let upgrade = HeaderValue::from_static("upgrade");
        head.headers.insert(CONNECTION, upgrade);
        let websocket = HeaderValue::from_static("websocket");
        head.headers.insert(UPGRADE, websocket);
    }
    if let Some(name) = context.backend_header
        && let Ok(url) = HeaderValue::try_from(format!("http://{}", context.backend.address))
    {
        head.headers.insert(name, url);
    }
    head.version = Version::HTTP_11;
    Ok(shape)
}

/// Only a 101 that was asked for switches (CVE-2024-23326), and no other interim response is an answer.
fn check_status(head: &Parts, switching: bool) -> Result<(), &'static str> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let websocket = members(&head.headers, &UPGRADE)
            .all(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
        return if switching && websocket {
            Ok(())
        } else {
            Err("a 101 that nobody asked for")
        };
    }
    if head.status.is_informational() {
        return Err("an interim response as the answer");
    }
    Ok(())
}

/// One framing, and one that the body keeps (RFC 9112 §6.3).
fn settle_length(
    head: &mut Parts,
    present: Present,
    body: &Body,
    method: &Method,
) -> Result<Shape, &'static str> {
    let headers = &mut head.headers;
    let declared = framing::declared_response(headers, present)?;
    let bodiless_status = head.status.is_informational() || head.status == StatusCode::NO_CONTENT;
    // There a length says what a GET would have got.
    let length_is_news = *method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;

    if bodiless_status || length_is_news {
        let length = match declared {
            Declared::Length(length) if !bodiless_status => Some(length),
            _ => None,
        };
        framing::write_length(headers, present, length);
        return Ok(Shape::Empty);
    }
    let shape = framing::shape(body, declared)?;
    let length = match (shape, declared) {
        // The client would wait for bytes that never come, or take the next answer's for them.
        (Shape::Empty, Declared::Length(length)) if length > 0 => {
            return Err("a length without a body");
        }
        (Shape::Empty, Declared::Length(_)) => Some(0),
        (Shape::Exact(length), _) => Some(length),
        (Shape::Empty | Shape::Chunked, _) => None,
    };
    framing::write_length(headers, present, length);
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lines, map};
    use super::*;
    use crate::backend::Address;
    use crate::error::BodyError;
    use bytes::Bytes;
    use http::Response;
    use http_body::{Body as HttpBody, Frame};
    use std::pin::Pin;
    use std::task::{Context as Cx, Poll};

    struct Unknown;

    impl HttpBody for Unknown {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Cx<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Pending
        }
    }

    fn handed_on(
        method: Method,
        status: u16,
        fields: &[(&str, &str)],
        body: &Body,
        switching: bool,
    ) -> Result<(Shape, Vec<String>), &'static str> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.version_mut() = Version::HTTP_10;
        *response.headers_mut() = map(fields);
        let mut head = response.into_parts().0;
        let backend = Backend::new(Address {
            host: "::1".into(),
            port: 9001,
        });
        let name = HeaderName::from_static("x-forwarded-server");
        let context = Context {
            method: &method,
            switching,
            trailers: true,
            backend_header: switching.then_some(&name),
            backend: &backend,
        };
        let shape = prepare(&mut head, body, &context)?;
        assert_eq!(head.version, Version::HTTP_11);
        Ok((shape, lines(&head.headers)))
    }

    fn get(
        status: u16,
        fields: &[(&str, &str)],
        body: &Body,
    ) -> Result<(Shape, Vec<String>), &'static str> {
        handed_on(Method::GET, status, fields, body, false)
    }

    #[test]
    fn row_26_transfer_encoding_removes_content_length() {
        let fields = [
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("date", "d"),
        ];
        assert_eq!(
            get(200, &fields, &Body::stream(Unknown)),
            Ok((Shape::Chunked, vec!["date: d".into()]))
        );
    }

    #[test]
    fn equal_lengths_become_one_and_unequal_ones_are_invalid() {
        let body = Body::from("abc");
        for good in [
            &[("content-length", "3, 3")][..],
            &[("content-length", "3"), ("content-length", "003")],
        ] {
            let handed_on = get(200, good, &body);
            assert_eq!(
                handed_on,
                Ok((Shape::Exact(3), vec!["content-length: 3".into()]))
            );
        }
        for bad in ["3, 4", "+3", "x", "", "4"] {
            assert!(
                get(200, &[("content-length", bad)], &body).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn head_and_304_keep_a_length_without_a_body_and_204_has_none() {
        let fields = [("content-length", "5")];
        let kept = vec!["content-length: 5".to_owned()];
        let none = Body::empty();
        assert_eq!(
            handed_on(Method::HEAD, 200, &fields, &none, false),
            Ok((Shape::Empty, kept.clone()))
        );
        assert_eq!(get(304, &fields, &none), Ok((Shape::Empty, kept)));
        assert_eq!(get(204, &fields, &none), Ok((Shape::Empty, vec![])));
        assert_eq!(
            handed_on(Method::HEAD, 204, &fields, &none, false),
            Ok((Shape::Empty, vec![]))
        );
    }

    #[test]
    fn row_5_a_length_without_a_body_is_invalid() {
        assert!(get(200, &[("content-length", "5")], &Body::empty()).is_err());
        let nothing = get(200, &[("content-length", "0")], &Body::empty());
        assert_eq!(
            nothing,
            Ok((Shape::Empty, vec!["content-length: 0".into()]))
        );
    }

    #[test]
    fn row_17_an_unsolicited_101_is_invalid() {
        let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert!(get(101, &fields, &Body::empty()).is_err());
        let other = [("connection", "upgrade"), ("upgrade", "h2c")];
        assert!(handed_on(Method::GET, 101, &other, &Body::empty(), true).is_err());
    }

    #[test]
    fn a_101_that_was_asked_for_keeps_its_upgrade_and_names_the_backend_when_told_to() {
        let fields = [
            ("connection", "Upgrade, close"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-accept", "s"),
        ];
        assert_eq!(
            handed_on(Method::GET, 101, &fields, &Body::empty(), true)
                .unwrap()
                .1,
            [
                "connection: upgrade",
                "sec-websocket-accept: s",
                "upgrade: websocket",
                "x-forwarded-server: http://[::1]:9001"
            ]
        );
    }

    #[test]
    fn row_15_cve_2024_23326_a_200_with_upgrade_is_a_plain_answer() {
        let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert_eq!(
            handed_on(Method::GET, 200, &fields, &Body::stream(Unknown), false),
            Ok((Shape::Chunked, vec![]))
        );
    }

    #[test]
    fn an_interim_response_is_no_answer() {
        for status in [100, 102, 103, 199] {
            assert!(get(status, &[], &Body::empty()).is_err());
        }
    }

    #[test]
    fn what_the_backend_says_about_its_connection_stays_there() {
        let fields = [
            ("connection", "close, x-hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("trailer", "x-sum"),
            ("server", "s"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ];
        assert_eq!(
            get(200, &fields, &Body::stream(Unknown)).unwrap().1,
            [
                "server: s",
                "set-cookie: a=1",
                "set-cookie: b=2",
                "trailer: x-sum"
            ]
        );
    }
}
