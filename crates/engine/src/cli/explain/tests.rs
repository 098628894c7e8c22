use std::ffi::OsString;

use crate::cli::{Exit, parse};

/// What `explain` says over three servers, by flags.
fn said(args: &[&str]) -> Exit {
    let servers = [
        "--listen",
        ":8080",
        "--to",
        "10.0.0.1:1",
        "--to",
        "10.0.0.2:1",
        "--to",
        "10.0.0.3:1",
    ];
    let all = ["lb-test", "explain"].iter().chain(&servers).chain(args);
    parse("lb-test", all.map(OsString::from), &|_| None).unwrap_err()
}

fn json(args: &[&str]) -> serde_json::Value {
    let exit = said(&[args, &["--format", "json"]].concat());
    assert_eq!(exit.code, 0, "{}", exit.text);
    serde_json::from_str(&exit.text).unwrap()
}

#[test]
fn a_person_reads_who_what_why_and_what_next() {
    let exit = said(&[
        "GET",
        "http://site.example/x",
        "--from",
        "10.1.2.3",
        "--down",
        "10.0.0.1:1",
        "--repeat",
        "3",
    ]);
    assert_eq!(exit.code, 0);
    assert_eq!(
        exit.text,
        "\
request  GET http://site.example/x from 10.1.2.3
pool     app: round-robin, 2 of 3 can be chosen

     server      weight  tier   state    in flight  standing
     10.0.0.1:1  1       first  down     0          out: a probe failed: refused
  *  10.0.0.2:1  1       first  unknown  0          free
     10.0.0.3:1  1       first  unknown  0          free

choice   10.0.0.2:1 (round robin: the next in turn)
retry    if 10.0.0.2:1 refuses the connection: 10.0.0.3:1 is asked (round robin: the next in turn)
         if 10.0.0.2:1 breaks the connection: 10.0.0.3:1 is asked (round robin: the next in turn)
         if 10.0.0.2:1 sends no answer in time: no retry, because the time that the client may wait is spent; answered 504 \
(first-byte-timeout)
in turn  10.0.0.2:1, 10.0.0.3:1, 10.0.0.2:1
shares   10.0.0.2:1 2 (66.7%), 10.0.0.3:1 1 (33.3%)

As at a fresh start: no probe has told anything yet, but what is said to be down is, and nothing is in flight. Lots are drawn
always alike here; in life each start draws its own.
"
    );
}

#[test]
fn machines_get_one_object() {
    let told = json(&["/x", "--repeat", "4", "--header", "X-User: ann"]);
    assert_eq!(told["request"]["method"], "GET");
    assert_eq!(told["decision"]["pick"]["choice"], "10.0.0.1:1");
    assert_eq!(told["decision"]["servers"].as_array().unwrap().len(), 3);
    assert_eq!(told["sequels"][0]["if"], "refused");
    assert_eq!(told["sequels"][0]["server"], "10.0.0.2:1");
    assert_eq!(told["sequels"][2]["no_retry"], "time-spent");
    assert_eq!(told["repeated"]["counts"]["10.0.0.1:1"], 2);
    let nobody = json(&[
        "/",
        "--down",
        "10.0.0.1:1",
        "--down",
        "10.0.0.2:1",
        "--down",
        "10.0.0.3:1",
    ]);
    assert_eq!(
        nobody["decision"]["pick"]["choice"],
        serde_json::Value::Null
    );
    assert_eq!(
        nobody["decision"]["servers"][1]["why"],
        "a probe failed: refused"
    );
    assert_eq!(nobody["sequels"], serde_json::json!([]));
    let refused = json(&["TRACE", "/"]);
    assert!(
        refused["answered"]
            .as_str()
            .unwrap()
            .starts_with("answered 405 "),
        "{refused}"
    );
}

#[test]
fn a_post_is_not_repeated_once_it_was_sent() {
    let told = json(&["POST", "/", "--header", "Content-Length: 3"]);
    let then: Vec<_> = (0..3)
        .map(|index| told["sequels"][index]["then"].clone())
        .collect();
    assert_eq!(then, ["retry", "answer", "answer"]);
    assert_eq!(told["sequels"][1]["no_retry"], "method");
}

#[test]
fn a_target_cannot_turn_the_text_around() {
    let exit = said(&["/a\u{202e}b"]);
    assert_eq!(exit.code, 0);
    assert!(
        exit.text.starts_with("request  GET /a\\u{202e}b from "),
        "{}",
        exit.text
    );
}

#[test]
fn wrong_usage_says_what_to_do() {
    for (args, expected) in [
        (
            &["/", "--down", "d"][..],
            "there is no server `d`\n  = help: the servers are 10.0.0.1:1, 10.0.0.2:1, 10.0.0.3:1",
        ),
        (&[], "<URL>"),
        (&["/", "--from", "here"], "'here' for '--from <ADDR>'"),
        (
            &["/", "--header", "x"],
            "write it as 'Name: value', with a colon",
        ),
        (&["/", "--header", "x y: z"], "this is no name of a field"),
        (&["/", "--repeat", "10001"], "10001 is not in 0..=10000"),
        (&["/", "--format", "xml"], "possible values: text, json"),
        (&["G T", "/"], "'G T' for '[METHOD]'"),
    ] {
        let exit = said(args);
        assert_eq!(exit.code, 2, "{args:?}: {}", exit.text);
        assert!(exit.text.contains(expected), "{args:?}: {}", exit.text);
    }
}
