//! Answers of our own: a status, a sentence, and no internal address.

use std::fmt::Write as _;

use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::body::Body;
use crate::error::Reason;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The answer to a request that met a bug of ours: the one local answer that a front end makes, after it caught a panic.
pub fn internal_error(is_head: bool) -> Response<Body> {
    answer(Reason::Internal, "", is_head)
}

/// The answer for `reason`; to a HEAD request without its body.
pub(super) fn build(reason: Reason, pool: &str, id: &HeaderValue, is_head: bool) -> Response<Body> {
    let mut response = answer(reason, pool, is_head);
    response.headers_mut().insert(REQUEST_ID, id.clone());
    response
}

fn answer(reason: Reason, pool: &str, is_head: bool) -> Response<Body> {
    let status = reason.status();
    let text = text(reason, status, pool);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    // RFC 9209: the type is registered, the detail is the word that logs and metrics use.
    let proxy_status = format!(
        "lb; error={}; details=\"{}\"",
        reason.proxy_error(),
        reason.as_str()
    );
    if let Ok(proxy_status) = HeaderValue::try_from(proxy_status) {
        headers.insert(PROXY_STATUS, proxy_status);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 §15.5.6: a 405 names what is allowed; here it is everything but CONNECT and TRACE.
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        headers.insert(ALLOW, allowed);
    }
    if !is_head {
        *response.body_mut() = Body::from(text);
    }
    response
}

fn text(reason: Reason, status: StatusCode, pool: &str) -> String {
    let mut text = status.as_u16().to_string();
    if let Some(phrase) = status.canonical_reason() {
        text.push(' ');
        text.push_str(phrase);
    }
    // Writing to a string does not fail.
    let _ = write!(text, "\n{}", reason.explanation());
    if is_about_the_pool(reason) {
        let _ = write!(text, " (pool {pool})");
    }
    text.push('\n');
    text
}

fn is_about_the_pool(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoMember
            | Reason::Refused
            | Reason::BackendClosed
            | Reason::InvalidAnswer
            | Reason::ConnectTimeout
            | Reason::FirstByteTimeout
            | Reason::SendTimeout
            | Reason::TotalTimeout
    )
}

#[cfg(test)]
mod tests {
    use super::super::headers::testing::lines;
    use super::*;

    fn reply(reason: Reason, is_head: bool) -> (u16, Vec<String>, String) {
        let response = build(reason, "app", &HeaderValue::from_static("id"), is_head);
        let text = response.body().as_bytes().unwrap();
        (
            response.status().as_u16(),
            lines(response.headers()),
            String::from_utf8(text.to_vec()).unwrap(),
        )
    }

    #[test]
    fn nobody_left_is_503_with_the_pool_and_the_cause() {
        let (status, headers, text) = reply(Reason::NoMember, false);
        assert_eq!(status, 503);
        assert_eq!(
            text,
            "503 Service Unavailable\nno server is available (pool app)\n"
        );
        assert_eq!(
            headers,
            [
                "content-length: 58",
                "content-type: text/plain; charset=utf-8",
                "proxy-status: lb; error=destination_unavailable; details=\"no-member\"",
                "retry-after: 1",
                "x-request-id: id"
            ]
        );
    }

    #[test]
    fn the_clients_own_mistakes_do_not_name_the_pool() {
        let (status, headers, text) = reply(Reason::BadRequest("Host is missing"), false);
        assert_eq!(
            (status, text.as_str()),
            (400, "400 Bad Request\nHost is missing\n")
        );
        assert!(!headers.iter().any(|line| line.starts_with("retry-after")));
    }

    #[test]
    fn head_gets_the_same_head_and_no_body() {
        let (_, with, text) = reply(Reason::Refused, false);
        let (_, without, nothing) = reply(Reason::Refused, true);
        assert_eq!(with, without);
        assert!(!text.is_empty());
        assert_eq!(nothing, "");
    }

    #[test]
    fn a_405_says_what_is_allowed() {
        let (status, headers, _) = reply(Reason::MethodNotAllowed, false);
        assert_eq!(status, 405);
        assert!(headers.iter().any(|line| line.starts_with("allow: GET")));
    }
}
