use std::num::NonZeroU32;
use std::time::Duration;

use futures::executor::block_on;
use http::{HeaderValue, Method, StatusCode};
use lb_core::decision::{AttemptEnd, Attempted, Considered, Decision, Exclusion, Obstacle};
use lb_core::error::{BodyCause, Cause, Reason};
use lb_core::event::{End, Hedge, ProbeFailure, State, Trigger};
use lb_core::picker::Standing;
use lb_core::time::Instant;

use super::*;

struct Fixed;

impl WallClock for Fixed {
    fn since_unix_epoch(&self) -> Duration {
        Duration::from_millis(1_709_210_096_007)
    }
}

/// What a log with these settings writes.
fn logged(access: AccessLog, format: LogFormat, act: impl FnOnce(&Log)) -> String {
    let settings = LogSettings { access, format };
    let (log, writer) = Log::new(settings, false, Fixed, Rng::new(7));
    act(&log);
    drop(log);
    let mut out = Vec::new();
    block_on(writer.run(&mut out));
    String::from_utf8(out).unwrap()
}

fn both(act: impl Fn(&Log)) -> (String, String) {
    let text = logged(AccessLog::All, LogFormat::Text, &act);
    (text, logged(AccessLog::All, LogFormat::Json, &act))
}

fn exchange() -> Exchange {
    Exchange {
        started: Instant::ORIGIN,
        duration: Duration::from_micros(1_234),
        request_id: HeaderValue::from_static("4f2a"),
        client: "192.0.2.7:50000".parse().unwrap(),
        method: Method::GET,
        uri: "/a/b?token=secret".parse().unwrap(),
        status: Some(StatusCode::OK),
        body_bytes: 345,
        pool: "app".into(),
        member: Some("127.0.0.1:9001".into()),
        attempts: 1,
        hedge: None,
        reason: None,
        decision: None,
        end: End::Complete,
    }
}

#[test]
fn a_changed_limit_is_one_line() {
    for (applied, text_end, json_end) in [(true, ")", "true"), (false, ", only observed)", "false")]
    {
        let adapted = Adapted {
            pool: "app",
            member: "127.0.0.1:9001",
            limit: 40,
            in_flight: 38,
            applied,
            at: Instant::ORIGIN,
        };
        let (text, json) = both(|log| log.adapted(&adapted));
        assert_eq!(
            text,
            format!(
                "2024-02-29T12:34:56.007Z info  app/127.0.0.1:9001 adaptive limit 40 (38 in flight{text_end}\n"
            )
        );
        assert_eq!(
            json,
            format!(
                "{{\"time\":\"2024-02-29T12:34:56.007Z\",\"level\":\"info\",\"event\":\"adaptive-limit\",\
                 \"pool\":\"app\",\"member\":\"127.0.0.1:9001\",\"limit\":40,\"in_flight\":38,\
                 \"applied\":{json_end}}}\n"
            )
        );
    }
}

#[test]
fn an_exchange_is_one_line_without_its_query() {
    let (text, json) = both(|log| log.exchange(&exchange()));
    assert_eq!(
        text,
        "2024-02-29T12:34:56.007Z 200   GET        1.2ms       345B /a/b -> app/127.0.0.1:9001 from \
         192.0.2.7:50000 id=4f2a\n"
    );
    assert_eq!(
        json,
        "{\"time\":\"2024-02-29T12:34:56.007Z\",\"event\":\"request\",\"request_id\":\"4f2a\",\
         \"client\":\"192.0.2.7:50000\",\"method\":\"GET\",\"path\":\"/a/b\",\"status\":200,\"bytes\":345,\"duration\":0.001234,\"pool\":\"app\",\
         \"member\":\"127.0.0.1:9001\",\"attempts\":1,\"cause\":null}\n"
    );
}

#[test]
fn an_exchange_that_was_hedged_says_how_that_ended() {
    for (hedge, word) in [(Hedge::Won, "won"), (Hedge::Lost, "lost")] {
        let hedged = Exchange {
            attempts: 2,
            hedge: Some(hedge),
            ..exchange()
        };
        let (text, json) = both(|log| log.exchange(&hedged));
        let expected = format!(" attempts=2 hedge={word} id=4f2a\n");
        assert!(text.ends_with(&expected), "{text}");
        let expected = format!("\"attempts\":2,\"hedge\":\"{word}\",\"cause\":null}}\n");
        assert!(json.ends_with(&expected), "{json}");
    }
}

#[test]
fn a_local_answer_has_its_cause() {
    let (text, json) = both(|log| {
        log.exchange(&Exchange {
            status: Some(StatusCode::SERVICE_UNAVAILABLE),
            member: None,
            attempts: 0,
            duration: Duration::from_millis(12_345),
            reason: Some(Reason::NoMember),
            ..exchange()
        });
    });
    assert_eq!(
        text,
        "2024-02-29T12:34:56.007Z 503   GET       12.35s       345B /a/b -> app from 192.0.2.7:50000 attempts=0 \
         cause=no-member id=4f2a\n"
    );
    assert!(json.contains("\"duration\":12.345000,\"pool\":\"app\",\"member\":null,\"attempts\":0,\"cause\":\"no-member\"}"));
}

fn decision() -> Decision {
    Decision {
        pool: "app".into(),
        size: 2,
        eligible: 1,
        members: vec![
            Considered {
                name: "s1".into(),
                weight: NonZeroU32::MIN,
                backup: false,
                state: State::Suspect,
                in_flight: 0,
                standing: Err(Exclusion::State(Some(Trigger::ConnectFailed(
                    Cause::Refused,
                )))),
                score: None,
            },
            Considered {
                name: "s2".into(),
                weight: NonZeroU32::MIN,
                backup: false,
                state: State::Up,
                in_flight: 3,
                standing: Ok(Standing::Free),
                score: None,
            },
        ],
        pick: None,
        attempts: vec![Attempted {
            member: "s1".into(),
            end: AttemptEnd::Failed(Reason::BackendClosed),
        }],
        stopped: Some(Obstacle::Method),
    }
}

#[test]
fn a_local_answer_that_balancing_caused_has_its_decision() {
    let (text, json) = both(|log| {
        log.exchange(&Exchange {
            status: Some(StatusCode::BAD_GATEWAY),
            reason: Some(Reason::BackendClosed),
            decision: Some(Box::new(decision())),
            ..exchange()
        });
    });
    assert!(
        text.ends_with(
            " cause=backend-closed id=4f2a (1 of 2 eligible: s2; out: s1 (suspect, connect failed: refused); attempts: s1 \
             backend-closed; no retry: the method is not idempotent, and the server may have seen the request)\n"
        ),
        "{text}"
    );
    let line: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        line["decision"],
        serde_json::json!({
            "pool": "app", "size": 2, "eligible": 1, "pick": null, "stopped": "method",
            "attempts": [{ "server": "s1", "end": "backend-closed", "failed": true }],
            "servers": [
                { "name": "s1", "weight": 1, "backup": false, "state": "suspect", "in_flight": 0, "eligible": false,
                  "standing": "out", "why": "connect failed: refused", "score": null },
                { "name": "s2", "weight": 1, "backup": false, "state": "up", "in_flight": 3, "eligible": true,
                  "standing": "free", "why": null, "score": null },
            ],
        })
    );
}

#[test]
fn a_client_that_left_before_an_answer_is_499() {
    let (text, json) = both(|log| {
        log.exchange(&Exchange {
            status: None,
            end: End::ClientGone,
            ..exchange()
        });
    });
    assert!(text.contains("Z 499   GET"), "{text}");
    assert!(text.contains(" cause=client-gone "), "{text}");
    assert!(json.contains("\"status\":499,"), "{json}");
}

#[test]
fn what_the_process_cut_before_an_answer_has_no_status_and_says_why() {
    let (text, json) = both(|log| {
        log.exchange(&Exchange {
            status: None,
            end: End::Shutdown,
            ..exchange()
        });
    });
    assert!(text.contains("Z -     GET"), "{text}");
    assert!(text.contains(" cause=shutdown "), "{text}");
    assert!(json.contains("\"status\":null,"), "{json}");
}

#[test]
fn a_truncated_answer_keeps_its_status_and_says_why() {
    let (text, _) = both(|log| {
        log.exchange(&Exchange {
            end: End::Truncated(BodyCause::Closed),
            ..exchange()
        });
    });
    assert!(text.contains("Z 200   GET"), "{text}");
    assert!(text.contains(" cause=answer-closed "), "{text}");
}

fn down() -> Transition<'static> {
    Transition {
        pool: "app",
        member: "s1",
        from: State::Up,
        to: State::Down,
        trigger: Trigger::ProbesFailed(3, ProbeFailure::Transport(Cause::TimedOut)),
        eligible: 2,
        members: 3,
        at: Instant::ORIGIN,
    }
}

#[test]
fn a_transition_names_who_what_and_why() {
    let (text, json) = both(|log| log.transition(&down()));
    assert_eq!(
        text,
        "2024-02-29T12:34:56.007Z warn  app/s1 up -> down: 3 probes failed: timed out (2 of 3 can serve)\n"
    );
    assert_eq!(
        json,
        "{\"time\":\"2024-02-29T12:34:56.007Z\",\"level\":\"warn\",\"event\":\"transition\",\"pool\":\"app\",\
         \"member\":\"s1\",\"from\":\"up\",\"to\":\"down\",\"cause\":\"3 probes failed: timed out\",\"eligible\":2,\
         \"members\":3}\n"
    );
    let back = Transition {
        from: State::Down,
        to: State::Up,
        trigger: Trigger::ProbesPassed(1),
        eligible: 3,
        ..down()
    };
    let (text, _) = both(|log| log.transition(&back));
    assert_eq!(
        text,
        "2024-02-29T12:34:56.007Z info  app/s1 down -> up: a probe passed (3 of 3 can serve)\n"
    );
}

#[test]
fn plain_lines_have_a_level_and_fields() {
    let (text, json) = both(|log| {
        log.say(
            Level::Error,
            "can't accept",
            &[
                ("listener", Field::Text(&"web")),
                ("error", Field::count(24)),
            ],
        )
    });
    assert_eq!(
        text,
        "2024-02-29T12:34:56.007Z error can't accept listener=web error=24\n"
    );
    assert_eq!(
        json,
        "{\"time\":\"2024-02-29T12:34:56.007Z\",\"level\":\"error\",\"event\":\"can't accept\",\
         \"listener\":\"web\",\"error\":24}\n"
    );
}

#[test]
fn nothing_a_stranger_sent_breaks_a_line_or_reaches_the_terminal() {
    let hostile = Exchange {
        request_id: HeaderValue::from_bytes(b"\"\xff\t\\").unwrap(),
        uri: "/a\u{2028}\u{202e}x".parse().unwrap(),
        method: Method::from_bytes(b"X'!#").unwrap(),
        member: Some("s\u{1b}[2J\n{\"time\":1}".into()),
        decision: Some(Box::new(Decision {
            attempts: vec![Attempted {
                member: "s\u{1b}\u{202e}\n".into(),
                end: AttemptEnd::Stalled,
            }],
            ..decision()
        })),
        ..exchange()
    };
    let (text, json) = both(|log| {
        log.exchange(&hostile);
        log.say(
            Level::Warn,
            "bad head\r\nHTTP/1.1 200",
            &[("error", Field::Text(&"\u{7f}\u{1b}]0;x\u{7}"))],
        );
    });
    for out in [&text, &json] {
        assert_eq!(out.lines().count(), 2, "{out}");
        assert!(
            !out.contains(|c: char| c.is_control() && c != '\n'),
            "{out:?}"
        );
        assert!(!out.contains(['\u{202e}', '\u{2028}']), "{out:?}");
    }
    let lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["request_id"], "\"\\xff\\x09\\\\");
    assert_eq!(lines[0]["member"], "s\\x1b[2J\\x0a{\"time\":1}");
    assert_eq!(lines[1]["event"], "bad head\\x0d\\x0aHTTP/1.1 200");
    assert!(text.contains(r"error=\x7f\x1b]0;x\x07"), "{text}");
}

#[test]
fn long_fields_are_capped() {
    let path = format!("/{}", "a".repeat(60_000));
    let (text, json) = both(|log| {
        log.exchange(&Exchange {
            uri: path.parse().unwrap(),
            ..exchange()
        });
    });
    assert!(text.len() < 5_000 && json.len() < 5_000);
    assert!(text.contains("a… -> app"));
}

#[test]
fn the_access_setting_selects() {
    let failed = || Exchange {
        status: Some(StatusCode::BAD_GATEWAY),
        ..exchange()
    };
    let count = |access| {
        let out = logged(access, LogFormat::Json, |log| {
            for _ in 0..1000 {
                log.exchange(&exchange());
            }
            log.exchange(&failed());
        });
        out.lines().count()
    };
    assert_eq!(count(AccessLog::Off), 0);
    assert_eq!(count(AccessLog::Errors), 1);
    assert_eq!(count(AccessLog::All), 1001);
    assert_eq!(count(AccessLog::Share(0.0)), 1);
    assert_eq!(count(AccessLog::Share(1.0)), 1001);
    let tenth = count(AccessLog::Share(0.1));
    assert!((60..150).contains(&tenth), "{tenth}");
}

#[test]
fn transitions_are_logged_whatever_the_access_setting() {
    let out = logged(AccessLog::Off, LogFormat::Text, |log| {
        let observer: &dyn Observer = log;
        assert!(!observer.wants_exchanges(), "no record is built");
        log.transition(&down());
    });
    assert_eq!(out.lines().count(), 1);
}

#[test]
fn the_form_follows_the_terminal_unless_it_is_set() {
    for (format, terminal, json) in [
        (LogFormat::Auto, true, false),
        (LogFormat::Auto, false, true),
        (LogFormat::Json, true, true),
        (LogFormat::Text, false, false),
    ] {
        let settings = LogSettings {
            format,
            ..LogSettings::default()
        };
        let (log, writer) = Log::new(settings, terminal, Fixed, Rng::new(1));
        log.info("x");
        log.stop();
        let mut out = Vec::new();
        block_on(writer.run(&mut out));
        assert_eq!(out.starts_with(b"{"), json);
    }
}
