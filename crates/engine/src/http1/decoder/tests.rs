use super::*;
use http::HeaderValue;
use lb_core::rng::Rng;

const LIMITS: Limits = Limits {
    bytes: 1024,
    fields: 3,
};

/// A body, its trailers, and how many bytes belong to it.
type Whole = (Vec<u8>, Option<HeaderMap>, usize);

/// What a decoder makes of `text` in pieces of `step` bytes, or what it made until it wanted more.
fn decoded_by(
    step: usize,
    mut decoder: Decoder,
    text: &[u8],
) -> Result<Result<Whole, Whole>, Invalid> {
    let (mut data, mut trailers, mut came) = (Vec::new(), None, 0);
    for piece in text.chunks(step) {
        let mut input = Bytes::copy_from_slice(piece);
        came += piece.len();
        loop {
            match decoder.decode(&mut input)? {
                Decoded::Data(piece) => {
                    assert!(!piece.is_empty());
                    data.extend_from_slice(&piece);
                }
                Decoded::Trailers(fields) => trailers = Some(fields),
                Decoded::End => return Ok(Ok((data, trailers, came - input.len()))),
                Decoded::More => {
                    assert!(input.is_empty());
                    break;
                }
            }
        }
    }
    Ok(Err((data, trailers, came)))
}

fn chunked(text: &str) -> Result<Result<Whole, Whole>, Invalid> {
    decoded_by(text.len().max(1), Decoder::chunked(LIMITS), text.as_bytes())
}

fn data(text: &str) -> String {
    let (data, trailers, end) = chunked(text).unwrap().expect("a whole body");
    assert!(trailers.is_none());
    assert_eq!(end, text.len());
    String::from_utf8(data).unwrap()
}

#[test]
fn an_exact_body_takes_so_much_and_no_more() {
    for step in 1..10 {
        let whole = decoded_by(step, Decoder::Exact(5), b"hellorest");
        assert_eq!(whole, Ok(Ok((b"hello".to_vec(), None, 5))));
    }
    let short = decoded_by(9, Decoder::Exact(5), b"hell");
    assert_eq!(short, Ok(Err((b"hell".to_vec(), None, 4))));
    let huge = decoded_by(9, Decoder::Exact(u64::MAX - 2), b"hell");
    assert!(huge.unwrap().is_err());
}

#[test]
fn only_a_body_until_close_may_end_with_the_connection() {
    assert!(Decoder::UntilClose.may_end());
    assert!(!Decoder::Exact(1).may_end());
    assert!(!Decoder::chunked(LIMITS).may_end());
    let all = decoded_by(2, Decoder::UntilClose, b"hello");
    assert_eq!(all, Ok(Err((b"hello".to_vec(), None, 5))));
}

#[test]
fn chunks_are_put_together() {
    assert_eq!(data("0\r\n\r\n"), "");
    assert_eq!(data("5\r\nhello\r\n0\r\n\r\n"), "hello");
    assert_eq!(data("2\r\nhe\r\n03\r\nllo\r\n000\r\n\r\n"), "hello");
    assert_eq!(data("A\r\n0123456789\r\n0\r\n\r\n"), "0123456789");
    assert_eq!(data("2 \t\r\nok\r\n0;last\r\n\r\n"), "ok");
    assert_eq!(data("2;a=b;c=\"d\"\r\nok\r\n0\r\n\r\n"), "ok");
}

#[test]
fn what_follows_the_last_chunk_is_not_touched() {
    let (_, _, end) = chunked("2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK")
        .unwrap()
        .unwrap();
    assert_eq!(end, "2\r\nok\r\n0\r\n\r\n".len());
}

#[test]
fn chunks_that_make_no_sense_are_refused() {
    let long_extension = format!("2;{}\r\nok\r\n", "x".repeat(16 * 1024));
    let many_extensions = "1;xxxxxxxxxxxxxxx\r\nx\r\n".repeat(1100);
    let table = [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\nx",
        " 1\r\nx",
        ";a\r\n",
        "1 1\r\n",
        "1_0\r\n",
        "ffffffffffffffff1\r\n",
        "10000000000000000\r\n",
        "00000000000000001\r\n",
        "2\nok\r\n",
        "2\rok\r\n",
        "2 \nok\r\n",
        "2;a\nok\r\n",
        "2;a\rb\r\nok",
        "2\r\nokay\r\n",
        "2\r\nok\n",
        "2\r\nok\r0",
        "2\r\nok0\r\n\r\n",
        "0\r\n\n",
        "0\r\n\r\r",
        "0\n\r\n",
        &long_extension,
        &many_extensions,
    ];
    for text in table {
        assert!(chunked(text).is_err(), "{text:?}");
    }
}

#[test]
fn sizes_up_to_the_largest_are_understood() {
    for size in [
        "7fffffffffffffff",
        "8000000000000000",
        "fffffffffffffffe",
        "FFFFFFFFFFFFFFFF",
    ] {
        let begun = chunked(&format!("{size}\r\nok"));
        assert_eq!(begun.unwrap().unwrap_err().0, b"ok", "{size}");
    }
}

#[test]
fn trailers_come_behind_the_data() {
    let (data, trailers, _) = chunked("2\r\nok\r\n0\r\nX-Sum: 7\r\nx-sum:8\r\nx-empty:\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(data, b"ok");
    let trailers = trailers.unwrap();
    let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
    assert_eq!(sums, ["7", "8"]);
    assert_eq!(trailers.get("x-empty"), Some(&HeaderValue::from_static("")));
}

#[test]
fn trailers_are_few_small_and_strict() {
    let large = format!("x: {}\r\n", "y".repeat(1024));
    let many = "x: y\r\n".repeat(4);
    let table = [
        "x\r\n",
        ": y\r\n",
        "x : y\r\n",
        " x: y\r\n",
        "x: y\r\n folded\r\n",
        "x: y\n",
        "x: y\r\nz: a\nb: c\r\n",
        "x: y\rz: a\r\n",
        "x: \0\r\n",
        &large,
        &many,
    ];
    for trailers in table {
        let text = format!("0\r\n{trailers}\r\n");
        assert!(chunked(&text).is_err(), "{trailers:?}");
    }
    for (size, fits) in [(1023, true), (1024, false)] {
        let section = format!("x: {}\r\n\r\n", "y".repeat(size - 7));
        assert_eq!(section.len(), size);
        assert_eq!(chunked(&format!("0\r\n{section}")).is_ok(), fits);
    }
    assert!(
        chunked(&format!("0\r\n{}\r\n", "x: y\r\n".repeat(3)))
            .unwrap()
            .is_ok()
    );
}

#[test]
fn behind_an_error_there_is_no_end_to_be_found() {
    let end = "0\r\n\r\n";
    let trailers = ["0\r\nx y\r\n\r\n", "0\r\nx: \0\r\n\r\n"].map(str::to_owned);
    let sizes = ["3gX", "3;\nX", "00000000000000003XX", "3 X"];
    // Whoever began again at the line would take it for the data of a chunk of three bytes.
    let sizes = sizes.map(|size| format!("1\r\na\r\n{size}\r\n{end}{end}"));
    for text in sizes.into_iter().chain(trailers) {
        let mut decoder = Decoder::chunked(LIMITS);
        let mut input = Bytes::from(text.clone());
        let mut next = || decoder.decode(&mut input);
        let first = (0..3).find_map(|_| next().err());
        assert!(first.is_some(), "{text:?}");
        for _ in 0..9 {
            assert_eq!(next().err(), first, "{text:?}");
        }
    }
}

#[test]
fn any_split_gives_the_same_body() {
    for text in [
        "5\r\nhello\r\n6;x\r\n world\r\n0\r\na: b\r\n\r\nrest",
        "1\r\nx\r\n1\r\ny\r\n0\r\n\r\n",
        "5\r\nhello\r\n6\r\n wor",
        "5\r\nhello\r\nz\r\n",
    ] {
        let whole = chunked(text);
        for step in 1..text.len() {
            let split = decoded_by(step, Decoder::chunked(LIMITS), text.as_bytes());
            assert_eq!(split, whole, "{text:?} by {step}");
        }
    }
}

#[test]
fn no_bytes_make_it_panic_and_any_split_of_them_gives_the_same() {
    let alphabet = b"0123fF\r\n\r\n\r\n; \t:ax\0\x80";
    let rng = Rng::new(7);
    for round in 0..5_000 {
        let mut text = b"3\r\nabc\r\n10;e\r\n0123456789abcdef\r\n0\r\nx: y\r\n\r\nrest".to_vec();
        for _ in 0..=round % 4 {
            let at = rng.below(text.len() as u64) as usize;
            text[at] = alphabet[rng.below(alphabet.len() as u64) as usize];
        }
        let whole = decoded_by(text.len(), Decoder::chunked(LIMITS), &text);
        let split = decoded_by(1 + round % 7, Decoder::chunked(LIMITS), &text);
        assert_eq!(split, whole, "{text:?}");
    }
}
