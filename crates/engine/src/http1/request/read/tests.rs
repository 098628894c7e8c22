use super::*;
use lb_core::rng::Rng;

const LIMITS: Limits = Limits {
    bytes: 8192,
    fields: 100,
};

/// What is made of requests that come in pieces of `step` bytes: the first head, and where what follows it begins.
fn read_by(step: usize, text: &[u8]) -> Result<Option<(Head, usize)>, Refused> {
    let mut reader = HeadReader::new(LIMITS);
    let (mut input, mut came) = (Bytes::new(), 0);
    for piece in text.chunks(step) {
        input = [&input[..], piece].concat().into();
        came += piece.len();
        if let Some(head) = reader.read(&mut input)? {
            return Ok(Some((head, came - input.len())));
        }
    }
    Ok(None)
}

fn read(text: &str) -> Result<Option<(Head, usize)>, Refused> {
    read_by(text.len().max(1), text.as_bytes())
}

fn head(text: &str) -> Head {
    read(text).unwrap().expect("a whole head").0
}

#[test]
fn a_head_arrives_as_it_was_sent() {
    let text = "BREW /a/../b?q=%zz HTTP/1.1\r\nX-A: 1 \r\nx-b:\u{e9}\r\nx-a:\r\n\r\nrest";
    let (head, end) = read(text).unwrap().unwrap();
    assert_eq!(head.request.method(), "BREW");
    assert_eq!(head.request.uri(), "/a/../b?q=%zz");
    assert_eq!(head.request.version(), Version::HTTP_11);
    let fields = head.request.headers().iter();
    let lines: Vec<_> = fields
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let wanted: [(&str, &[u8]); 3] = [("x-a", b"1"), ("x-a", b""), ("x-b", "\u{e9}".as_bytes())];
    assert_eq!(lines, wanted);
    assert_eq!(&text[end..], "rest");
}

#[test]
fn targets_of_every_form_are_read() {
    for target in ["/", "/?", "*", "http://t.example/a?b", "t.example:80"] {
        let head = head(&format!("OPTIONS {target} HTTP/1.1\r\n\r\n"));
        assert_eq!(head.request.uri(), target);
    }
}

#[test]
fn one_reader_reads_one_head_after_the_other() {
    let mut reader = HeadReader::new(LIMITS);
    let mut input = Bytes::from_static(b"GET /1 HTTP/1.1\r\n\r\n\r\nGET /2 HTTP/1.0\r\n\r\nGET /3");
    let mut next = || reader.read(&mut input).unwrap();
    assert_eq!(next().unwrap().request.uri(), "/1");
    assert_eq!(next().unwrap().request.uri(), "/2");
    assert!(next().is_none());
}

#[test]
fn where_the_body_ends_follows_from_the_head() {
    use Decoder::Exact;
    let table = [
        ("", Some(Exact(0))),
        ("content-length: 0\r\n", Some(Exact(0))),
        ("content-length: 5\r\n", Some(Exact(5))),
        (
            "content-length: 5\r\ncontent-length: 05\r\n",
            Some(Exact(5)),
        ),
        (
            "content-length: 18446744073709551613\r\n",
            Some(Exact(u64::MAX - 2)),
        ),
        ("transfer-encoding: Chunked \r\n", None),
        ("transfer-encoding: gzip,\tchunked\r\n", None),
        ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", None),
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", None),
    ];
    for (fields, wanted) in table {
        for method in ["GET", "HEAD", "POST", "DELETE", "BREW"] {
            let body = head(&format!("{method} / HTTP/1.1\r\n{fields}\r\n")).body;
            match &wanted {
                Some(wanted) => assert_eq!(format!("{body:?}"), format!("{wanted:?}"), "{fields}"),
                None => assert!(matches!(body, Decoder::Chunked(_)), "{fields}"),
            }
        }
    }
}

#[test]
fn a_connection_is_kept_as_its_version_has_it() {
    let table = [
        ("HTTP/1.1\r\n", true),
        ("HTTP/1.1\r\nconnection: keep-alive\r\n", true),
        ("HTTP/1.1\r\nconnection: closed\r\n", true),
        (
            "HTTP/1.1\r\nconnection: x, CLOSE\r\nconnection: keep-alive\r\n",
            false,
        ),
        (
            "HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n",
            false,
        ),
        ("HTTP/1.0\r\n", false),
        ("HTTP/1.0\r\nconnection: x, Keep-Alive\r\n", true),
        ("HTTP/1.0\r\nconnection: keep-alive, close\r\n", false),
    ];
    for (text, kept) in table {
        assert_eq!(head(&format!("GET / {text}\r\n")).kept, kept, "{text}");
    }
    // What is no list of tokens asks for nothing.
    let text = b"GET / HTTP/1.0\r\nconnection: keep-alive, \xff\r\n\r\n";
    let (head, _) = read_by(text.len(), text).unwrap().unwrap();
    assert!(!head.kept);
}

#[test]
fn only_a_client_that_knows_it_waits_for_a_go_ahead() {
    let table = [
        ("HTTP/1.1\r\n", false),
        ("HTTP/1.1\r\nexpect: 100-Continue\r\n", true),
        ("HTTP/1.1\r\nexpect: 200-maybe\r\n", false),
        ("HTTP/1.0\r\nexpect: 100-continue\r\n", false),
    ];
    for (text, expects) in table {
        let text = format!("POST / {text}content-length: 5\r\n\r\n");
        assert_eq!(head(&text).expects, expects, "{text}");
    }
}

#[test]
fn what_is_no_valid_head_is_refused() {
    let long_name = format!("GET / HTTP/1.1\r\n{}: x\r\n\r\n", "n".repeat(7_000));
    assert!(read(&long_name).is_ok());
    let table = [
        "GET / HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.2\r\n\r\n",
        "GET / HTTP/0.9\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /  HTTP/1.1\r\n\r\n",
        "GET /\r\n\r\n",
        "GET\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "G\u{e9}T / HTTP/1.1\r\n\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
        "GET a/b HTTP/1.1\r\n\r\n",
        "GET /<> HTTP/1.1\r\n\r\n",
        "GET /\0 HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\n: no name\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nspace : x\r\n\r\n",
        "GET / HTTP/1.1\r\n first: x\r\n\r\n",
        "GET / HTTP/1.1\r\na: x\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\na: x\rb: y\r\n\r\n",
        "GET / HTTP/1.1\r\na: \0\r\n\r\n",
        "GET / HTTP/1.1\r\n\u{e9}: x\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length:\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 5,\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: +5\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 0x5\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 5 5\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 5, 6\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 5, 5\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 18446744073709551621\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: x\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding:\r\n\r\n",
        "GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
    ];
    for text in table {
        let refused = read(text).expect_err(text);
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{text:?}");
    }
}

#[test]
fn what_is_too_large_is_told_so() {
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101));
    let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(8192));
    let endless = "GET / HTTP/1.1\r\nx: ".to_owned() + &"y".repeat(8192);
    let target = "GET /".to_owned() + &"y".repeat(8192);
    let nothing = "\r\n".repeat(4096);
    for text in [many, large, endless, target, nothing] {
        let refused = read(&text).expect_err(&text);
        assert_eq!(refused.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let mut reader = HeadReader::new(Limits {
        bytes: 100_000,
        fields: 100,
    });
    for (length, fits) in [(TARGET_MAX, true), (TARGET_MAX + 1, false)] {
        let text = format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(length - 1));
        let read = reader.read(&mut text.into());
        let status = read.map(|_| ()).map_err(|refused| refused.status);
        let wanted = if fits {
            Ok(())
        } else {
            Err(StatusCode::URI_TOO_LONG)
        };
        assert_eq!(status, wanted);
    }
}

#[test]
fn more_fields_than_there_is_room_for_are_read_where_they_are_allowed() {
    let mut reader = HeadReader::new(Limits {
        bytes: 100_000,
        fields: 1000,
    });
    let text = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000));
    let head = reader.read(&mut text.into()).unwrap().unwrap();
    assert_eq!(head.request.headers().len(), 1000);
}

#[test]
fn any_split_gives_the_same_head() {
    for text in [
        "GET / HTTP/1.1\r\na: b\r\ncontent-length: 2\r\n\r\nok",
        "\r\n\r\nPOST /x HTTP/1.0\na: b\n\nrest",
        "GET / HTTP/1.1\r\ncontent-length: 2, 3\r\n\r\n",
        "GET / HTTP/1.1\r\na: b\r\n",
    ] {
        let by = |step| {
            let read = read_by(step, text.as_bytes());
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
    let alphabet = b"GET / HTTP/1.1\r\n\r\n:,; \t\0\x80content-length:2transfer-encoding:chunked";
    let rng = Rng::new(7);
    for round in 0..3_000 {
        let mut text = b"POST /a HTTP/1.1\r\na: b\r\ncontent-length: 2\r\n\r\n".to_vec();
        for _ in 0..=round % 5 {
            let at = rng.below(text.len() as u64) as usize;
            text[at] = alphabet[rng.below(alphabet.len() as u64) as usize];
        }
        let by = |step| {
            let read = read_by(step, &text);
            read.map(|read| read.map(|(head, end)| format!("{head:?} {end}")))
        };
        // A part may be refused before the whole is there, and a whole before its rest.
        match (by(text.len()), by(1 + round % 7)) {
            (Err(_), split) => assert!(!matches!(split, Ok(Some(_))), "{text:?}"),
            (whole, split) => assert_eq!(whole, split, "{text:?}"),
        }
    }
}
