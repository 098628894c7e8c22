//! Where a message ends: the one place that reads and writes `Content-Length` and `Transfer-Encoding`.
//!
//! What goes out is derived from the body itself, never copied from what came in.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;

use super::names::{Present, list};
use crate::body::Body;

/// How long a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::forward) enum Shape {
    /// There is none.
    Empty,
    /// Exactly so many bytes.
    Exact(u64),
    /// Known at its end only.
    Chunked,
}

/// What a message says about its own length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Declared {
    /// Nothing.
    Nothing,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`, which wins (RFC 9112 §6.3).
    Chunked,
}

/// The declared length of a request.
///
/// # Errors
/// The rule it breaks.
pub(super) fn declared_request(
    headers: &HeaderMap,
    present: Present,
    old_version: bool,
) -> Result<Declared, &'static str> {
    if !present.any(Present::TRANSFER_ENCODING) {
        return declared_length(headers, present);
    }
    // Stricter than RFC 9112 §6.1, which allows lists: whoever sends more than one coding wants two parsers to
    // disagree (CVE-2021-21299).
    if !is_chunked_once(headers) {
        return Err("the only transfer coding understood is a single \"chunked\"");
    }
    if old_version {
        return Err("HTTP/1.0 has no Transfer-Encoding");
    }
    Ok(Declared::Chunked)
}

/// The declared length of a response.
///
/// # Errors
/// The rule it breaks.
pub(super) fn declared_response(
    headers: &HeaderMap,
    present: Present,
) -> Result<Declared, &'static str> {
    if !present.any(Present::TRANSFER_ENCODING) {
        return declared_length(headers, present);
    }
    // Any other coding is still on the body, and would be handed on unnamed.
    if !is_chunked_once(headers) {
        return Err("a transfer coding other than \"chunked\"");
    }
    Ok(Declared::Chunked)
}

fn is_chunked_once(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = |coding: &HeaderValue| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    };
    codings.next().is_some_and(chunked) && codings.next().is_none()
}

/// RFC 9110 §8.6: digits only; a list of equal values is one value.
fn declared_length(headers: &HeaderMap, present: Present) -> Result<Declared, &'static str> {
    if !present.any(Present::CONTENT_LENGTH) {
        return Ok(Declared::Nothing);
    }
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        // One number, as nearly always.
        if length.is_none()
            && !value.is_empty()
            && let Some(number) = digits(value.as_bytes())
        {
            length = Some(number);
            continue;
        }
        let mut members = list(value).peekable();
        if members.peek().is_none() {
            return Err("Content-Length is empty");
        }
        for member in members {
            let number = digits(member).ok_or("Content-Length is not a number")?;
            if length.is_some_and(|length| length != number) {
                return Err("Content-Length has two values");
            }
            length = Some(number);
        }
    }
    Ok(length.map_or(Declared::Nothing, Declared::Length))
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The shape of `body`, which came with this declaration.
///
/// # Errors
/// The declaration and the body contradict each other.
pub(super) fn shape(body: &Body, declared: Declared) -> Result<Shape, &'static str> {
    if body.is_end_stream() {
        return Ok(Shape::Empty);
    }
    match (body.size_hint().exact(), declared) {
        // Nobody reads a body that was announced as empty.
        (Some(0), Declared::Nothing | Declared::Length(0) | Declared::Chunked)
        | (None, Declared::Length(0)) => Ok(Shape::Empty),
        (Some(exact), Declared::Length(length)) if exact != length => {
            Err("the body has another length than Content-Length says")
        }
        (Some(exact), _) => Ok(Shape::Exact(exact)),
        (None, Declared::Length(length)) => Ok(Shape::Exact(length)),
        (None, _) => Ok(Shape::Chunked),
    }
}

/// Makes a request's framing fields say what its body is. `declared` is what the client sent: an empty body that
/// was announced stays announced, with its true length (CVE-2026-33555).
pub(super) fn write(headers: &mut HeaderMap, present: Present, shape: Shape, declared: Declared) {
    let length = match shape {
        Shape::Empty if declared != Declared::Nothing => Some(0),
        Shape::Exact(length) => Some(length),
        Shape::Empty | Shape::Chunked => None,
    };
    write_length(headers, present, length);
    // For every method: a GET's body without framing would be dropped (CVE-2020-35863).
    if shape == Shape::Chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if present.any(Present::TRANSFER_ENCODING) {
        headers.remove(TRANSFER_ENCODING);
    }
}

/// Makes `Content-Length` say `length`, once and in plain digits.
pub(super) fn write_length(headers: &mut HeaderMap, present: Present, length: Option<u64>) {
    let announced = present.any(Present::CONTENT_LENGTH);
    match length {
        Some(length) if announced && says_exactly(headers, length) => {}
        Some(0) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Some(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None if announced => {
            headers.remove(CONTENT_LENGTH);
        }
        None => {}
    }
}

/// Is the field what we would write?
fn says_exactly(headers: &HeaderMap, length: u64) -> bool {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let text = value.as_bytes();
    let canonical = text.len() == 1 || text.first().is_some_and(|digit| *digit != b'0');
    canonical && digits(text) == Some(length) && !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::testing::map;
    use super::*;

    fn declared_request(headers: &HeaderMap, old: bool) -> Result<Declared, &'static str> {
        super::declared_request(headers, Present::in_head(headers), old)
    }

    fn declared_response(headers: &HeaderMap) -> Result<Declared, &'static str> {
        super::declared_response(headers, Present::in_head(headers))
    }

    fn write(headers: &mut HeaderMap, shape: Shape, declared: Declared) {
        let present = Present::in_head(headers);
        super::write(headers, present, shape, declared);
    }

    #[test]
    fn row_7_cve_2021_21299_only_a_single_chunked_is_a_transfer_coding() {
        for good in ["chunked", "Chunked", "chunked "] {
            let headers = map(&[("transfer-encoding", good)]);
            assert_eq!(declared_request(&headers, false), Ok(Declared::Chunked));
        }
        for bad in [
            "",
            "identity",
            "gzip, chunked",
            "chunked, chunked",
            "chunked;a",
            "xchunked",
        ] {
            let headers = map(&[("transfer-encoding", bad)]);
            assert!(declared_request(&headers, false).is_err(), "{bad}");
        }
        let twice = map(&[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ]);
        assert!(declared_request(&twice, false).is_err());
        let mixed = map(&[
            ("transfer-encoding", "identity"),
            ("transfer-encoding", "chunked"),
        ]);
        assert!(declared_request(&mixed, false).is_err());
    }

    #[test]
    fn an_answer_with_another_transfer_coding_is_not_handed_on() {
        let chunked = map(&[("transfer-encoding", "Chunked"), ("content-length", "3")]);
        assert_eq!(declared_response(&chunked), Ok(Declared::Chunked));
        for bad in ["", "identity", "gzip", "gzip, chunked", "chunked, chunked"] {
            let headers = map(&[("transfer-encoding", bad)]);
            assert!(declared_response(&headers).is_err(), "{bad}");
        }
    }

    #[test]
    fn row_14_cve_2026_2835_http_1_0_has_no_transfer_coding() {
        let headers = map(&[("transfer-encoding", "chunked")]);
        assert!(declared_request(&headers, true).is_err());
    }

    #[test]
    fn row_8_cve_2021_32715_a_length_is_digits_and_one_value() {
        let table = [
            ("0", Some(0)),
            ("3", Some(3)),
            ("001", Some(1)),
            ("3, 3", Some(3)),
            ("3,03", Some(3)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("+3", None),
            ("-3", None),
            ("0x3", None),
            ("3 3", None),
            ("", None),
            (",", None),
            ("3, 4", None),
            ("3.0", None),
        ];
        for (text, length) in table {
            let headers = map(&[("content-length", text)]);
            assert_eq!(
                declared_request(&headers, false).ok(),
                length.map(Declared::Length),
                "{text:?}"
            );
        }
        let two =
            |a, b| declared_request(&map(&[("content-length", a), ("content-length", b)]), false);
        assert_eq!(two("5", "5"), Ok(Declared::Length(5)));
        assert!(two("5", "6").is_err());
    }

    #[test]
    fn row_24_transfer_encoding_beats_content_length() {
        let headers = map(&[("content-length", "5"), ("transfer-encoding", "chunked")]);
        assert_eq!(declared_request(&headers, false), Ok(Declared::Chunked));
        assert_eq!(declared_response(&headers), Ok(Declared::Chunked));
    }

    #[test]
    fn row_5_cve_2026_33555_an_empty_body_never_keeps_a_length() {
        for declared in [Declared::Length(5), Declared::Chunked] {
            let mut headers = map(&[("content-length", "5"), ("transfer-encoding", "chunked")]);
            let shape = shape(&Body::empty(), declared).unwrap();
            write(&mut headers, shape, declared);
            assert_eq!(headers, map(&[("content-length", "0")]));
        }
        let mut headers = HeaderMap::new();
        write(&mut headers, Shape::Empty, Declared::Nothing);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_body_of_known_length_gets_exactly_that_length() {
        let shape = shape(&Body::from("hello"), Declared::Chunked).unwrap();
        assert_eq!(shape, Shape::Exact(5));
        let mut headers = map(&[("content-length", "05"), ("content-length", "5")]);
        write(&mut headers, shape, Declared::Length(5));
        assert_eq!(headers, map(&[("content-length", "5")]));
    }

    #[test]
    fn a_length_is_written_once_and_in_plain_digits() {
        for before in [&["5"][..], &["05"], &["5", "5"], &["5, 5"], &["6"], &[]] {
            let fields: Vec<_> = before
                .iter()
                .map(|text| ("content-length", *text))
                .collect();
            for length in [Some(5), Some(0), None] {
                let mut headers = map(&fields);
                let present = Present::in_head(&headers);
                write_length(&mut headers, present, length);
                let values: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().cloned().collect();
                let wanted: Vec<_> = length.into_iter().map(HeaderValue::from).collect();
                assert_eq!(values, wanted, "{before:?}");
            }
        }
    }

    #[test]
    fn a_body_that_contradicts_its_declaration_is_refused() {
        assert!(shape(&Body::from("hello"), Declared::Length(4)).is_err());
    }

    #[test]
    fn row_6_cve_2020_35863_a_body_of_unknown_length_is_chunked() {
        let mut headers = HeaderMap::new();
        write(&mut headers, Shape::Chunked, Declared::Nothing);
        assert_eq!(headers, map(&[("transfer-encoding", "chunked")]));
    }
}
