use super::*;
use crate::config::parse;
use crate::decision::Exclusion;
use crate::event::{ProbeFailure, State, Trigger};
use crate::picker::Standing;

fn settings(pool: &str) -> Settings {
    let text = format!("[listen]\nweb = \":8080\"\n[pool.app]\n{pool}\n");
    parse("lb.toml", text.as_bytes(), &|_| None).unwrap()
}

const THREE: &str = "servers = [{ url = \"10.0.0.1:1\", name = \"a\" }, { url = \"10.0.0.2:1\", name = \"b\" }, \
                     { url = \"10.0.0.3:1\", name = \"c\" }]\n";

fn request(method: &str, fields: &[(&str, &str)]) -> Request<()> {
    let request = Request::builder().method(method).uri("/path?q=1");
    let request = request.header("host", "site");
    let add = |request: http::request::Builder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    fields.iter().fold(request, add).body(()).unwrap()
}

fn explained(
    settings: &Settings,
    request: Request<()>,
    down: &[&str],
    repeat: usize,
) -> Result<Explanation, Unexplained> {
    let down: Vec<String> = down.iter().map(|name| (*name).to_owned()).collect();
    let supposed = Supposed {
        settings,
        from: Downstream::new(([10, 1, 2, 3], 0).into(), false),
        down: &down,
        repeat,
    };
    explain(&supposed, request)
}

fn get(settings: &Settings, down: &[&str]) -> Explanation {
    explained(settings, request("GET", &[]), down, 0).unwrap()
}

fn choice(explanation: &Explanation) -> Option<&str> {
    explanation.decision.pick.as_ref()?.choice.as_deref()
}

/// Who is asked next, or the status of the answer and why.
fn sequels(explanation: &Explanation) -> Vec<String> {
    let then = |sequel: &Sequel| match &sequel.then {
        Then::Retry { member, pause, .. } => {
            format!("{member}{}", if *pause { " later" } else { "" })
        }
        Then::Answer { reason, obstacle } => {
            format!("{} {}", reason.status().as_u16(), obstacle.as_str())
        }
    };
    explanation.sequels.iter().map(then).collect()
}

#[test]
fn who_is_down_is_out_with_the_cause_and_the_others_keep_their_order() {
    let settings = settings(THREE);
    let all = get(&settings, &[]);
    assert_eq!((choice(&all), all.decision.eligible), (Some("a"), 3));
    let without = get(&settings, &["a"]);
    assert_eq!(
        (choice(&without), without.decision.eligible),
        (Some("b"), 2)
    );
    let a = &without.decision.members[0];
    let refused = Trigger::ProbesFailed(1, ProbeFailure::Transport(Cause::Refused));
    assert_eq!(a.state, State::Down);
    assert_eq!(a.standing, Err(Exclusion::State(Some(refused))));
    assert_eq!(without.decision.members[1].standing, Ok(Standing::Free));
    assert_eq!(without.decision.members[1].state, State::Unknown);
    assert_eq!(
        get(&settings, &["10.0.0.1:1"]),
        without,
        "an address will do"
    );
}

#[test]
fn where_nobody_probes_a_refused_connection_makes_a_member_suspect() {
    let settings = settings(&format!("{THREE}health = \"off\""));
    let without = get(&settings, &["a"]);
    let states: Vec<State> = without.decision.members.iter().map(|m| m.state).collect();
    assert_eq!(states, [State::Suspect, State::Up, State::Up]);
}

#[test]
fn a_backup_stands_by_until_it_is_needed() {
    let settings = settings(
        "servers = [{ url = \"10.0.0.1:1\", name = \"a\" }, { url = \"10.0.0.2:1\", name = \"b\", backup = true }]",
    );
    let with = get(&settings, &[]);
    assert_eq!(choice(&with), Some("a"));
    assert_eq!(with.decision.members[1].standing, Err(Exclusion::Standby));
    // A refusal takes `a` out, and that brings the backup in; after a broken connection only this request goes there.
    assert_eq!(sequels(&with), ["b", "b", "504 time-spent"]);
    assert_eq!(choice(&get(&settings, &["a"])), Some("b"));
}

#[test]
fn nobody_left_is_no_choice_and_no_sequel_unless_anybody_is_tried() {
    let all = ["a", "b", "c"];
    let nobody = get(&settings(THREE), &all);
    assert_eq!((choice(&nobody), nobody.decision.eligible), (None, 0));
    assert_eq!(nobody.sequels, []);
    let anyway = get(
        &settings(&format!("{THREE}when-all-down = \"try-anyway\"")),
        &all,
    );
    assert_eq!((choice(&anyway), anyway.decision.eligible), (Some("a"), 3));
}

#[test]
fn the_table_of_retries() {
    let limits = |keys: &str| format!("{THREE}limits = {{ {keys} }}");
    let large = [("content-length", "65537")];
    let small = [("content-length", "9")];
    let chunked = [("transfer-encoding", "chunked")];
    let websocket = [("connection", "upgrade"), ("upgrade", "websocket")];
    type Row<'a> = (
        &'a str,
        String,
        &'a str,
        &'a [(&'a str, &'a str)],
        [&'a str; 3],
    );
    let table: [Row<'_>; 9] = [
        (
            "a GET",
            THREE.into(),
            "GET",
            &[],
            ["b", "b", "504 time-spent"],
        ),
        (
            "a small PUT",
            THREE.into(),
            "PUT",
            &small,
            ["b", "b", "504 time-spent"],
        ),
        (
            "a PUT of unknown length",
            THREE.into(),
            "PUT",
            &chunked,
            ["b", "b", "504 time-spent"],
        ),
        (
            "a POST",
            THREE.into(),
            "POST",
            &small,
            ["b", "502 method", "504 method"],
        ),
        (
            "a large PUT",
            THREE.into(),
            "PUT",
            &large,
            ["b", "502 body-size", "504 body-size"],
        ),
        (
            "an upgrade",
            THREE.into(),
            "GET",
            &websocket,
            ["b", "502 upgrade", "504 upgrade"],
        ),
        (
            "retries are off",
            limits("retries = 0"),
            "GET",
            &[],
            ["503 retries-off", "502 retries-off", "504 retries-off"],
        ),
        (
            "no budget",
            limits("retry-budget = \"0%\""),
            "GET",
            &[],
            ["b", "502 budget-spent", "504 time-spent"],
        ),
        (
            "one server",
            "servers = [\"10.0.0.1:1\"]".into(),
            "GET",
            &[],
            ["503 nobody-left", "10.0.0.1:1 later", "504 time-spent"],
        ),
    ];
    for (name, pool, method, fields, expected) in table {
        let explanation = explained(&settings(&pool), request(method, fields), &[], 0).unwrap();
        assert_eq!(sequels(&explanation), expected, "{name}");
    }
}

#[test]
fn repeated_requests_take_turns_by_weight_and_the_first_is_the_one_foreseen() {
    let weighted = settings(
        "servers = [{ url = \"10.0.0.1:1\", name = \"a\", weight = 2 }, { url = \"10.0.0.2:1\", name = \"b\" }]",
    );
    let explanation = explained(&weighted, request("GET", &[]), &[], 6).unwrap();
    let course: Vec<&str> = explanation
        .course
        .iter()
        .flatten()
        .map(|name| &**name)
        .collect();
    assert_eq!(course, ["a", "a", "b", "a", "a", "b"]);
    for balance in ["random", "least-requests", "p2c", "peak-ewma"] {
        let settings = settings(&format!("{THREE}balance = \"{balance}\""));
        let explanation = explained(&settings, request("GET", &[]), &[], 50).unwrap();
        assert_eq!(
            explanation.course[0].as_deref(),
            choice(&explanation),
            "{balance}"
        );
        assert!(["a", "b", "c"].iter().all(|name| {
            explanation
                .course
                .iter()
                .flatten()
                .any(|choice| **choice == **name)
        }));
        let drawn = &explanation.decision.pick.as_ref().unwrap().drawn;
        let expected = if ["p2c", "peak-ewma"].contains(&balance) {
            2
        } else {
            1
        };
        assert_eq!(drawn.len(), expected, "{balance}: {drawn:?}");
    }
}

#[test]
fn a_hash_follows_its_key_and_tells_whether_there_is_one() {
    let settings = settings(&format!(
        "{THREE}balance = {{ by = \"hash\", key = \"header:x-user\" }}"
    ));
    let of =
        |user: &str| explained(&settings, request("GET", &[("x-user", user)]), &[], 3).unwrap();
    let ann = of("ann");
    assert_eq!(ann.key, Some(crate::picker::digest(b"ann")));
    assert!(
        ann.course
            .iter()
            .all(|name| name.as_deref() == choice(&ann))
    );
    assert!((0..50).any(|user| choice(&of(&user.to_string())) != choice(&ann)));
    let keyless = get(&settings, &[]);
    assert_eq!(keyless.key, None);
    let reason = keyless.decision.pick.unwrap().reason;
    assert!(reason.contains("no key"), "{reason}");
}

#[test]
fn a_client_that_shows_its_cookie_is_sent_where_it_was() {
    let settings = settings(&format!(
        "{THREE}sticky = {{ cookie = \"lb\", key = \"0123456789abcdef\" }}"
    ));
    let pool = SharedPool::new(&settings.pool, Rng::new(1), Arc::new(Silent), NOW);
    let token = pool.token(&pool.snapshot().members()[2]).unwrap();
    let cookie = format!("lb={token}");
    let shows = request("GET", &[("cookie", &cookie)]);
    let explanation = explained(&settings, shows, &[], 0).unwrap();
    let pick = explanation.decision.pick.as_ref().unwrap();
    assert_eq!(pick.choice.as_deref(), Some("c"));
    assert_eq!(pick.reason, "sticky: the client was there before");
    assert_eq!(sequels(&explanation)[0], "a");
}

#[test]
fn what_is_not_balanced_and_who_is_not_there_is_said() {
    let settings = settings(THREE);
    let refused = explained(&settings, request("TRACE", &[]), &[], 0);
    assert_eq!(refused, Err(Unexplained::Refused(Reason::MethodNotAllowed)));
    let unknown = explained(&settings, request("GET", &[]), &["d"], 0);
    assert_eq!(unknown, Err(Unexplained::UnknownServer("d".into())));
    assert_eq!(
        Unexplained::UnknownServer("\u{1b}".into()).to_string(),
        "there is no server `\\u{1b}`"
    );
}
