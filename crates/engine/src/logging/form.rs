//! The two forms of a line, and what both say about an exchange.

use lb_core::error::{BodyCause, Reason};
use lb_core::event::{Adapted, End, Exchange, State, Transition};

use super::clock::Timestamp;
use super::{Field, Level, json, text};

/// The form of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

impl Form {
    pub(super) fn plain(
        self,
        time: Timestamp,
        level: Level,
        message: &str,
        fields: &[(&str, Field<'_>)],
    ) -> String {
        match self {
            Self::Text => text::plain(time, level, message, fields),
            Self::Json => json::plain(time, level, message, fields),
        }
    }

    pub(super) fn transition(self, time: Timestamp, transition: &Transition<'_>) -> String {
        match self {
            Self::Text => text::transition(time, transition),
            Self::Json => json::transition(time, transition),
        }
    }

    pub(super) fn adapted(self, time: Timestamp, adapted: &Adapted<'_>) -> String {
        match self {
            Self::Text => text::adapted(time, adapted),
            Self::Json => json::adapted(time, adapted),
        }
    }

    pub(super) fn exchange(self, time: Timestamp, exchange: &Exchange) -> String {
        match self {
            Self::Text => text::exchange(time, exchange),
            Self::Json => json::exchange(time, exchange),
        }
    }
}

/// Somebody may want to look when a member can't serve.
pub(super) fn level(transition: &Transition<'_>) -> Level {
    match transition.to {
        State::Up | State::Unknown => Level::Info,
        _ => Level::Warn,
    }
}

/// The status sent, or 499 if the client left before there was one; none if it was the process that ended before.
pub(super) fn status(exchange: &Exchange) -> Option<u16> {
    let left = || (exchange.end == End::ClientGone).then_some(499);
    exchange.status.map(|status| status.as_u16()).or_else(left)
}

/// Why the exchange did not go as it should: a short stable word.
pub(super) fn cause(exchange: &Exchange) -> Option<&'static str> {
    if let Some(reason) = exchange.reason {
        return Some(reason.as_str());
    }
    match exchange.end {
        End::Complete => None,
        End::ClientGone => Some("client-gone"),
        End::Shutdown => Some("shutdown"),
        End::Panicked => Some(Reason::Internal.as_str()),
        End::Truncated(cause) => Some(match cause {
            BodyCause::Closed => "answer-closed",
            BodyCause::Invalid => "answer-invalid",
            BodyCause::Stalled => "answer-stalled",
            BodyCause::Deadline => "answer-deadline",
            BodyCause::TooLarge => "answer-too-large",
            BodyCause::Abandoned => "answer-abandoned",
        }),
    }
}
