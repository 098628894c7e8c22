//! The adaptive limit on the attempts in flight at one member.

use super::limits::IN_FLIGHT_MAX;
use super::raw::Value;
use super::reader::Item;
use super::settings::{Adaptive, AdaptiveMode};

const MODES: [&str; 3] = ["off", "observe", "on"];

/// Reads a mode, or a table with the mode under `mode`; `most` is what a server gets without it.
pub(super) fn adaptive(item: Item<'_>, adaptive: &mut Adaptive, most: u32) {
    let place = item.place();
    let mut fits = true;
    if !matches!(item.value(), Value::Table(_)) {
        if let Some(read) = mode(&item) {
            adaptive.mode = read;
        }
    } else if let Some(mut table) = item.table("", "") {
        match table.take("mode") {
            Some(item) => adaptive.mode = mode(&item).unwrap_or(AdaptiveMode::On),
            None => {
                let help = "begin with mode = \"observe\" and read in the log what it would do";
                table.fail_absent("mode", "\"off\", \"observe\" or \"on\"", help);
                adaptive.mode = AdaptiveMode::On;
            }
        }
        for (key, bound, why) in [
            ("min", &mut adaptive.min, "below it the limit never sinks"),
            ("max", &mut adaptive.max, "above it the limit never grows"),
        ] {
            let Some(item) = table.take(key) else {
                continue;
            };
            if adaptive.mode == AdaptiveMode::Off {
                let help = "leave it out, or write mode = \"on\"";
                item.fail("an adaptive limit that is off has no bounds", "", help);
            } else if let Some(read) = item.integer(1..=IN_FLIGHT_MAX, why) {
                *bound = read;
                if read > most {
                    let problem = format!("above in-flight-per-server, which is {most}");
                    let help = "it only ever lowers that limit: raise in-flight-per-server, too";
                    item.fail(problem, &format!("at most {most}"), help);
                    fits = false;
                }
            }
        }
        table.finish(&[]);
    }
    if fits && adaptive.mode != AdaptiveMode::Off && adaptive.min >= adaptive.max {
        let Adaptive { min, max, .. } = adaptive;
        place.fail(
            format!("no room between the floor, {min}, and the ceiling, {max}"),
            "a floor below the ceiling",
            "set min lower, or max (in-flight-per-server unless given) higher",
        );
    }
}

fn mode(item: &Item<'_>) -> Option<AdaptiveMode> {
    Some(match item.word(&MODES, &[])? {
        "observe" => AdaptiveMode::Observe,
        "on" => AdaptiveMode::On,
        _ => AdaptiveMode::Off,
    })
}
