//! The adaptive limit: what can be said, and what cannot.

use super::with;
use super::wrong::said;
use crate::config::settings::{Adaptive, AdaptiveMode};
use crate::config::{parse, summary};

#[test]
fn it_has_a_mode_and_bounds_and_its_ceiling_is_the_fixed_limit() {
    use AdaptiveMode::{Observe, Off, On};
    for (limits, mode, min, max) in [
        ("", Off, 8, 1024),
        ("adaptive-concurrency = \"off\"", Off, 8, 1024),
        ("adaptive-concurrency = \"observe\"", Observe, 8, 1024),
        (
            "adaptive-concurrency = \"on\", in-flight-per-server = 99",
            On,
            8,
            99,
        ),
        (
            "adaptive-concurrency = { mode = \"on\", min = 2, max = 64 }",
            On,
            2,
            64,
        ),
        (
            "adaptive-concurrency = { mode = \"observe\", max = 10 }",
            Observe,
            8,
            10,
        ),
    ] {
        let read = with(&format!("limits = {{ {limits} }}")).pool.limits;
        assert_eq!(read.adaptive, Adaptive { mode, min, max }, "{limits}");
    }
}

#[test]
fn wrong_bounds_are_refused_with_the_reason() {
    let room = "pool.app.limits.adaptive-concurrency: no room between the floor";
    let help = "a floor below the ceiling | set min lower, or max (in-flight-per-server unless given) higher";
    for (limits, message) in [
        (
            "adaptive-concurrency = \"auto\"",
            "pool.app.limits.adaptive-concurrency: unknown: `auto` | \"off\", \"observe\" or \"on\" | ".to_owned(),
        ),
        (
            "adaptive-concurrency = { min = 4 }",
            "pool.app.limits.adaptive-concurrency.mode: missing | \"off\", \"observe\" or \"on\" | begin with \
             mode = \"observe\" and read in the log what it would do"
                .to_owned(),
        ),
        (
            "adaptive-concurrency = { mode = \"off\", max = 4 }",
            "pool.app.limits.adaptive-concurrency.max: an adaptive limit that is off has no bounds |  | leave it \
             out, or write mode = \"on\""
                .to_owned(),
        ),
        (
            "adaptive-concurrency = { mode = \"on\", max = 2000 }",
            "pool.app.limits.adaptive-concurrency.max: above in-flight-per-server, which is 1024 | at most 1024 | it \
             only ever lowers that limit: raise in-flight-per-server, too"
                .to_owned(),
        ),
        (
            "adaptive-concurrency = { mode = \"on\", max = 8 }",
            format!("{room}, 8, and the ceiling, 8 | {help}"),
        ),
        (
            "adaptive-concurrency = \"on\", in-flight-per-server = 5",
            format!("{room}, 8, and the ceiling, 5 | {help}"),
        ),
        (
            "adaptive-concurrency = { mode = \"on\", min = 0 }",
            "pool.app.limits.adaptive-concurrency.min: found 0 | a number from 1 to 1000000 | below it the limit \
             never sinks"
                .to_owned(),
        ),
    ] {
        assert_eq!(said(&format!("limits = {{ {limits} }}")), [message]);
    }
}

#[test]
fn the_summary_shows_it() {
    let text = format!(
        "{}limits = {{ adaptive-concurrency = \"observe\" }}\n",
        super::BASE
    );
    let settings = parse("lb.toml", text.as_bytes(), &|_| None).unwrap();
    let row = "pool.app.limits.adaptive-concurrency = observe, 8 to 1024 (default off)\n";
    assert!(summary(&settings).ends_with(row), "{}", summary(&settings));
}
