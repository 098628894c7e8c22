use super::*;
use http::header::CONNECTION;
use lb_core::rng::Rng;

const LIMITS: Limits = Limits {
    bytes: 8192,
    fields: 100,
};

/// What is made of an answer to GET (or HEAD) that comes in pieces of `step` bytes: its head, and where its body begins.
fn read_by(step: usize, text: &[u8], bodiless: bool) -> Result<Option<(Head, usize)>, Invalid> {
    let mut reader = HeadReader::new(LIMITS, bodiless);
    let mut fields = HeaderMap::from_iter([(CONNECTION, HeaderValue::from_static("of before"))]);
    let (mut input, mut came) = (Bytes::new(), 0);
    for piece in text.chunks(step) {
        input = [&input[..], piece].concat().into();
        came += piece.len();
        if let Some(head) = reader.read(&mut input, &mut fields)? {
            return Ok(Some((head, came - input.len())));
        }
    }
    Ok(None)
}

fn read(text: &str) -> Result<Option<(Head, usize)>, Invalid> {
    read_by(text.len().max(1), text.as_bytes(), false)
}

fn head(text: &str) -> Head {
    read(text).unwrap().expect("a whole head").0
}

#[test]
fn a_head_arrives_as_it_was_sent() {
    let text = "HTTP/1.1 299 Odd\r\nX-A: 1 \r\nx-b:\u{e9}\r\nx-a:\r\n\r\nrest";
    let (head, end) = read(text).unwrap().unwrap();
    assert_eq!(head.response.status(), 299);
    assert_eq!(head.response.version(), Version::HTTP_11);
    let fields: Vec<_> = head.response.headers().iter().collect();
    let lines: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let wanted: [(&str, &[u8]); 3] = [("x-a", b"1"), ("x-a", b""), ("x-b", "\u{e9}".as_bytes())];
    assert_eq!(lines, wanted);
    let reason = head.response.extensions().get::<ReasonPhrase>().unwrap();
    assert_eq!(reason.as_bytes(), b"Odd");
    assert_eq!(&text[end..], "rest");
    let usual = self::head("HTTP/1.1 200 OK\r\n\r\n");
    assert!(usual.response.extensions().get::<ReasonPhrase>().is_none());
}

#[test]
fn where_the_body_ends_follows_from_the_head() {
    use Decoder::{Exact, UntilClose};
    let table = [
        ("200 OK\r\n", Some(UntilClose)),
        ("200 OK\r\ncontent-length: 5\r\n", Some(Exact(5))),
        (
            "200 OK\r\ncontent-length: 5, 5\r\ncontent-length: 05\r\n",
            Some(Exact(5)),
        ),
        (
            "200 OK\r\ncontent-length: 18446744073709551613\r\n",
            Some(Exact(u64::MAX - 2)),
        ),
        (
            "200 OK\r\ntransfer-encoding: gzip\r\ncontent-length: 5\r\n",
            Some(UntilClose),
        ),
        (
            "200 OK\r\ntransfer-encoding: chunked, gzip\r\n",
            Some(UntilClose),
        ),
        (
            "200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: Chunked \r\n",
            None,
        ),
        (
            "200 OK\r\ntransfer-encoding: gzip,\tchunked\r\ncontent-length: x\r\n",
            None,
        ),
        ("204 No Content\r\ncontent-length: 5\r\n", Some(Exact(0))),
        (
            "304 Not Modified\r\ntransfer-encoding: chunked\r\n",
            Some(Exact(0)),
        ),
        ("101 Switching Protocols\r\n", Some(Exact(0))),
    ];
    for (text, wanted) in table {
        let body = head(&format!("HTTP/1.1 {text}\r\n")).body;
        match wanted {
            Some(wanted) => assert_eq!(format!("{body:?}"), format!("{wanted:?}"), "{text}"),
            None => assert!(matches!(body, Decoder::Chunked(_)), "{text}"),
        }
        let to_head = format!("HTTP/1.1 {text}\r\n");
        let to_head = read_by(1000, to_head.as_bytes(), true).unwrap().unwrap().0;
        assert!(to_head.body.is_at_end(), "{text}");
    }
}

#[test]
fn only_http_1_1_keeps_a_connection_and_only_without_close() {
    let table = [
        ("HTTP/1.1 200 OK\r\n", true),
        ("HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n", true),
        ("HTTP/1.1 200 OK\r\nconnection: closed\r\n", true),
        (
            "HTTP/1.1 200 OK\r\nconnection: x, CLOSE\r\nconnection: keep-alive\r\n",
            false,
        ),
        ("HTTP/1.0 200 OK\r\n", false),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n", false),
    ];
    for (text, kept) in table {
        assert_eq!(head(&format!("{text}\r\n")).kept, kept, "{text}");
    }
}

#[test]
fn what_is_no_valid_head_is_refused() {
    let long_name = format!("HTTP/1.1 200 OK\r\n{}: x\r\n\r\n", "n".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(8192));
    let endless = "HTTP/1.1 200 OK\r\nx: ".to_owned() + &"y".repeat(8192);
    let table = [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nspace : x\r\n\r\n",
        "HTTP/1.1 200 OK\r\n first: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: x\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: x\r\n\tfolded\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: x\rb: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\u{e9}: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: ,\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5,\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0x5\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5.0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\ncontent-length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551614\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551621\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        &long_name,
        &many,
        &large,
        &endless,
    ];
    for text in table {
        assert!(read(text).is_err(), "{text:?}");
    }
}

#[test]
fn sixteen_interim_answers_are_skipped_and_one_more_is_too_many() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\nconnection: close\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\n\r\n";
    let enough = head(&(interim.repeat(16) + last));
    assert_eq!(enough.response.status(), 200);
    assert!(enough.kept && enough.response.headers().is_empty());
    assert!(read(&(interim.repeat(17) + last)).is_err());
    assert!(read(&interim.repeat(17)).is_err());
}

#[test]
fn any_split_gives_the_same_head() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    for text in [
        "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 2\r\n\r\nok".to_owned(),
        format!("{interim}{interim}HTTP/1.1 404 Not Here\na: b\n\nrest"),
        "\r\nHTTP/1.1 200 \r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\na: b\r\n".to_owned(),
    ] {
        let by = |step| {
            let read = read_by(step, text.as_bytes(), false);
            read.map(|read| read.map(|(head, end)| format!("{head:?} {end}")))
        };
        let whole = by(text.len());
        for step in 1..text.len() {
            assert_eq!(by(step), whole, "{text:?} by {step}");
        }
    }
}

#[test]
fn no_bytes_make_it_panic_and_any_split_of_them_gives_the_same() {
    let alphabet = b"HTTP/1.1 200 OK\r\n\r\n:,; \t\0\x80content-length:2transfer-encoding:chunked";
    let rng = Rng::new(7);
    for round in 0..3_000 {
        let mut text = b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 2\r\n\r\n".to_vec();
        for _ in 0..=round % 5 {
            let at = rng.below(text.len() as u64) as usize;
            text[at] = alphabet[rng.below(alphabet.len() as u64) as usize];
        }
        let by = |step| {
            let read = read_by(step, &text, false);
            read.map(|read| read.map(|(head, end)| format!("{head:?} {end}")))
        };
        // A part may be refused before the whole is there, and a whole before its rest.
        match (by(text.len()), by(1 + round % 7)) {
            (Err(_), split) => assert!(!matches!(split, Ok(Some(_))), "{text:?}"),
            (whole, split) => assert_eq!(whole, split, "{text:?}"),
        }
    }
}
