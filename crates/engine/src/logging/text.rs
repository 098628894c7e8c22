//! Lines for people.

use std::fmt::Write as _;
use std::time::Duration;

use lb_core::event::{Adapted, Exchange, Transition};

use super::clock::Timestamp;
use super::escape::clean;
use super::form::{cause, level, status};
use super::{Field, Level};

// Writing to a string can't fail: results are ignored here.

/// `TIME LEVEL message key=value`
pub(super) fn plain(
    time: Timestamp,
    level: Level,
    message: &str,
    fields: &[(&str, Field<'_>)],
) -> String {
    let mut line = format!("{time} {:<5} {}", level.as_str(), clean(message.as_bytes()));
    for (key, value) in fields {
        let _ = write!(line, " {key}={}", clean(value.to_string().as_bytes()));
    }
    line.push('\n');
    line
}

/// `TIME LEVEL pool/member from -> to: trigger (2 of 3 can serve)`
pub(super) fn transition(time: Timestamp, transition: &Transition<'_>) -> String {
    let Transition {
        pool,
        member,
        from,
        to,
        trigger,
        eligible,
        members,
        ..
    } = transition;
    format!(
        "{time} {:<5} {}/{} {} -> {}: {trigger} ({eligible} of {members} can serve)\n",
        level(transition).as_str(),
        clean(pool.as_bytes()),
        clean(member.as_bytes()),
        from.as_str(),
        to.as_str(),
    )
}

/// `TIME LEVEL pool/member limit N (M in flight)`
pub(super) fn adapted(time: Timestamp, adapted: &Adapted<'_>) -> String {
    let observed = if adapted.applied {
        ""
    } else {
        ", only observed"
    };
    format!(
        "{time} {:<5} {}/{} adaptive limit {} ({} in flight{observed})\n",
        Level::Info.as_str(),
        clean(adapted.pool.as_bytes()),
        clean(adapted.member.as_bytes()),
        adapted.limit,
        adapted.in_flight,
    )
}

/// `TIME status METHOD duration bytes path -> pool/member from client`, then what is out of the ordinary, then the id, then the decision
/// behind a local answer.
pub(super) fn exchange(time: Timestamp, exchange: &Exchange) -> String {
    let status = status(exchange).map_or("-".to_owned(), |status| status.to_string());
    let mut line = format!(
        "{time} {status:<5} {:<7} {:>8} {:>9}B {} -> {}",
        clean(exchange.method.as_str().as_bytes()),
        duration(exchange.duration),
        exchange.body_bytes,
        clean(exchange.uri.path().as_bytes()),
        clean(exchange.pool.as_bytes()),
    );
    if let Some(member) = &exchange.member {
        let _ = write!(line, "/{}", clean(member.as_bytes()));
    }
    let _ = write!(line, " from {}", exchange.client);
    if exchange.attempts != 1 {
        let _ = write!(line, " attempts={}", exchange.attempts);
    }
    if let Some(hedge) = exchange.hedge {
        let _ = write!(line, " hedge={}", hedge.as_str());
    }
    if let Some(cause) = cause(exchange) {
        let _ = write!(line, " cause={cause}");
    }
    let _ = write!(line, " id={}", clean(exchange.request_id.as_bytes()));
    if let Some(decision) = &exchange.decision {
        let _ = write!(line, " ({})", clean(decision.to_string().as_bytes()));
    }
    line.push('\n');
    line
}

fn duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{:.1}ms", duration.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2}s", duration.as_secs_f64())
    }
}
