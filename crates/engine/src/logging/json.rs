//! Lines for machines: one object each, keys in a fixed order.

use std::fmt::{Display, Write as _};

use lb_core::event::{Adapted, Exchange, Transition};

use super::clock::Timestamp;
use super::escape::clean;
use super::form::{cause, level, status};
use super::{Field, Level};
use crate::decision;

pub(super) fn plain(
    time: Timestamp,
    level: Level,
    message: &str,
    fields: &[(&str, Field<'_>)],
) -> String {
    let mut object = Object::new(time);
    object.text("level", level.as_str());
    object.text("event", &clean(message.as_bytes()));
    for (key, value) in fields {
        match value {
            Field::Text(text) => object.text(key, &clean(text.to_string().as_bytes())),
            Field::Number(number) if number.is_finite() => object.number(key, number),
            Field::Number(_) => object.number(key, "null"),
        }
    }
    object.line()
}

pub(super) fn transition(time: Timestamp, transition: &Transition<'_>) -> String {
    let mut object = Object::new(time);
    object.text("level", level(transition).as_str());
    object.text("event", "transition");
    object.text("pool", &clean(transition.pool.as_bytes()));
    object.text("member", &clean(transition.member.as_bytes()));
    object.text("from", transition.from.as_str());
    object.text("to", transition.to.as_str());
    object.text("cause", &transition.trigger.to_string());
    object.number("eligible", transition.eligible);
    object.number("members", transition.members);
    object.line()
}

pub(super) fn adapted(time: Timestamp, adapted: &Adapted<'_>) -> String {
    let mut object = Object::new(time);
    object.text("level", Level::Info.as_str());
    object.text("event", "adaptive-limit");
    object.text("pool", &clean(adapted.pool.as_bytes()));
    object.text("member", &clean(adapted.member.as_bytes()));
    object.number("limit", adapted.limit);
    object.number("in_flight", adapted.in_flight);
    object.number("applied", adapted.applied);
    object.line()
}

/// Durations are seconds.
pub(super) fn exchange(time: Timestamp, exchange: &Exchange) -> String {
    let mut object = Object::new(time);
    object.text("event", "request");
    object.text("request_id", &clean(exchange.request_id.as_bytes()));
    object.text("client", &exchange.client.to_string());
    object.text("method", &clean(exchange.method.as_str().as_bytes()));
    object.text("path", &clean(exchange.uri.path().as_bytes()));
    match status(exchange) {
        Some(status) => object.number("status", status),
        None => object.number("status", "null"),
    }
    object.number("bytes", exchange.body_bytes);
    object.number(
        "duration",
        format_args!("{:.6}", exchange.duration.as_secs_f64()),
    );
    object.text("pool", &clean(exchange.pool.as_bytes()));
    match &exchange.member {
        Some(member) => object.text("member", &clean(member.as_bytes())),
        None => object.number("member", "null"),
    }
    object.number("attempts", exchange.attempts);
    if let Some(hedge) = exchange.hedge {
        object.text("hedge", hedge.as_str());
    }
    match cause(exchange) {
        Some(cause) => object.text("cause", cause),
        None => object.number("cause", "null"),
    }
    if let Some(decision) = &exchange.decision {
        object.number("decision", decision::value(decision));
    }
    object.line()
}

/// An object that keeps the order of its keys, which `serde_json`'s map does not.
struct Object(String);

impl Object {
    fn new(time: Timestamp) -> Self {
        Self(format!("{{\"time\":\"{time}\""))
    }

    /// A string.
    fn text(&mut self, key: &str, value: &str) {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        // Writing to a string can't fail.
        let _ = write!(self.0, ",{}:{}", quoted(key), quoted(value));
    }

    /// Anything that is JSON as it stands.
    fn number(&mut self, key: &str, value: impl Display) {
        let _ = write!(self.0, ",\"{key}\":{value}");
    }

    fn line(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}
