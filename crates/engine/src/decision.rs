//! A decision for machines: the same object in the log and in what `explain` says.

use lb_core::decision::{AttemptEnd, Considered, Decision, Exclusion};
use serde_json::{Value, json};

use crate::logging::clean;

/// The whole decision. Everything in it is escaped as log fields are.
pub(crate) fn value(decision: &Decision) -> Value {
    let attempts = decision.attempts.iter().map(|attempt| {
        json!({ "server": text(&attempt.member), "end": attempt.end.to_string(),
                "failed": !matches!(attempt.end, AttemptEnd::Answered(_) | AttemptEnd::Dropped) })
    });
    let pick = decision.pick.as_ref().map(|pick| {
        let drawn: Vec<String> = pick.drawn.iter().map(|name| text(name)).collect();
        json!({ "choice": pick.choice.as_deref().map(text), "drawn": drawn, "reason": pick.reason })
    });
    json!({
        "pool": text(&decision.pool),
        "size": decision.size,
        "eligible": decision.eligible,
        "servers": decision.members.iter().map(server).collect::<Vec<_>>(),
        "pick": pick,
        "attempts": attempts.collect::<Vec<_>>(),
        "stopped": decision.stopped.map(|obstacle| obstacle.as_str()),
    })
}

fn server(member: &Considered) -> Value {
    let (standing, why) = match member.standing {
        Ok(standing) => (standing.as_str(), None),
        Err(exclusion) => {
            let word = match exclusion {
                Exclusion::Standby => "standby",
                Exclusion::Unproven => "unproven",
                _ => "out",
            };
            (word, Some(exclusion.to_string()))
        }
    };
    json!({
        "name": text(&member.name),
        "weight": member.weight,
        "backup": member.backup,
        "state": member.state.as_str(),
        "in_flight": member.in_flight,
        "eligible": member.is_eligible(),
        "standing": standing,
        "why": why,
        "score": member.score,
    })
}

fn text(text: &str) -> String {
    clean(text.as_bytes())
}
