//! What a client sends means the same in whatever pieces it comes, and whenever the answers are taken.

use super::*;

const REQUESTS: [&str; 9] = [
    "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /3 HTTP/1.1\r\n\r\n",
    "POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "PUT /5 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\nx: y\r\n\r\n",
    "POST /6 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /7 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "TRACE /8 HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET /9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
];
const ODD: &[u8] = b"\r\n\r\n 05:;,/x\0\x80Gh";

/// What comes of `text` in pieces of so many bytes to a client that takes so many bytes at a time.
fn outcome(text: &[u8], step: usize, takes: usize) -> (String, Vec<String>, bool) {
    let mut world = World::new();
    world.desk().echoes = true;
    for piece in text.chunks(step) {
        let taken = world.wire().received.len();
        world.take_only(taken.saturating_add(takes));
        world.send(piece);
    }
    world.take_only(usize::MAX);
    // Where it lingers the end is the client's to make.
    let ended = world.ended || world.wire().shut;
    let requests = world.desk().requests.clone();
    (world.received(), requests, ended)
}

#[test]
fn any_split_of_what_a_client_sends_gets_the_same_answers() {
    let rng = Rng::new(11);
    let below = |end: usize| rng.below(end as u64) as usize;
    for round in 0..2_000 {
        let count = 1 + below(4);
        let requests = (0..count).map(|_| REQUESTS[below(REQUESTS.len())]);
        let mut text = requests.collect::<String>().into_bytes();
        let changes = round % 3;
        for _ in 0..changes {
            let at = below(text.len());
            text[at] = ODD[below(ODD.len())];
        }
        if changes > 0 {
            // What is no head is noticed at the latest where it ends.
            text.extend_from_slice(b"\r\n\r\n");
        }
        let whole = outcome(&text, text.len(), usize::MAX);
        for (step, takes) in [(1, usize::MAX), (1 + below(40), 1 + below(60))] {
            let split = outcome(&text, step, takes);
            let case = format!("{:?} by {step}, {takes}", String::from_utf8_lossy(&text));
            if changes == 0 {
                assert_eq!(split, whole, "{case}");
                continue;
            }
            // A request that is refused for its head is the last one if its body is not here.
            let [answers, all] = [&split.0, &whole.0].map(|text| text.replace(CLOSE, ""));
            assert!(all.starts_with(&answers), "{case}:\n{answers}\n{all}");
            assert!(whole.1.starts_with(&split.1), "{case}");
            assert!(split.2 || split == whole, "{case}");
        }
    }
}
