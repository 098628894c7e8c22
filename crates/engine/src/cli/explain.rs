//! The `explain` command: what the core says would happen, for people or for machines. It opens nothing.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use lb_core::config::settings::{HashKey, Settings};
use lb_core::decision::{Considered, Decision};
use lb_core::forward::{Downstream, Explanation, Supposed, Then, Unexplained, explain};
use serde_json::{Value, json};

use super::{Exit, Source};
use crate::decision;
use crate::logging::clean;

/// More of the same request show nothing new.
const REPEAT_MAX: u16 = 10_000;
/// So many choices in a row are listed; all are counted.
const COURSE_MAX: usize = 24;
/// So many servers are named in a complaint.
const NAMES_MAX: usize = 10;

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub(super) source: Source,
    /// The request's method
    #[arg(value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// The request's target, such as http://site.example/path or /path
    #[arg(value_name = "URL")]
    url: Uri,
    /// The client's address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    from: IpAddr,
    /// A field of the request; repeatable
    #[arg(long, value_name = "NAME: VALUE", value_parser = field)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// A server that refuses connections, by name or address; repeatable
    #[arg(long, value_name = "SERVER")]
    down: Vec<String>,
    /// Tell the choices for so many of this request, one after the other
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u16).range(0..=i64::from(REPEAT_MAX)))]
    repeat: u16,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write it as 'Name: value', with a colon")?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| "this is no name of a field")?;
    let value = HeaderValue::try_from(value.trim()).map_err(|_| "this is no value of a field")?;
    Ok((name, value))
}

/// What `explain` says.
///
/// # Errors
/// The arguments fit no request or no server.
pub(super) fn answer(args: &ExplainArgs, settings: &Settings) -> Result<String, Exit> {
    let supposed = Supposed {
        settings,
        from: Downstream::new(
            (args.from, 0).into(),
            args.url.scheme() == Some(&Scheme::HTTPS),
        ),
        down: &args.down,
        repeat: args.repeat.into(),
    };
    let explained = match explain(&supposed, request(args)?) {
        Err(Unexplained::UnknownServer(name)) => return Err(unknown(&name, settings)),
        explained => explained,
    };
    Ok(match args.format {
        Format::Text => text(args, settings, &explained),
        Format::Json => format!("{:#}", value(args, &explained)),
    })
}

/// The request as a client would send it: it names its host.
fn request(args: &ExplainArgs) -> Result<Request<()>, Exit> {
    let mut request = Request::new(());
    *request.method_mut() = args.method.clone();
    *request.uri_mut() = args.url.clone();
    let headers = request.headers_mut();
    for (name, value) in &args.header {
        headers
            .try_append(name, value.clone())
            .map_err(|_| Exit::usage("error: --header: too many".to_owned()))?;
    }
    if !headers.contains_key(HOST) {
        let host = args
            .url
            .authority()
            .map_or("localhost", |authority| authority.as_str());
        if let Ok(host) = HeaderValue::try_from(host) {
            headers.insert(HOST, host);
        }
    }
    Ok(request)
}

fn unknown(name: &str, settings: &Settings) -> Exit {
    let servers = &settings.pool.servers;
    let names: Vec<&str> = servers.iter().take(NAMES_MAX).map(|s| &*s.name).collect();
    let more = match servers.len().saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let error = Unexplained::UnknownServer(name.to_owned());
    Exit::usage(format!(
        "error: --down: {error}\n  = help: the servers are {}{more}",
        names.join(", ")
    ))
}

/// How often each server was chosen.
fn counts(course: &[Option<Arc<str>>]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in course.iter().flatten() {
        *counts.entry(&**name).or_default() += 1;
    }
    counts
}

fn value(args: &ExplainArgs, explained: &Result<Explanation, Unexplained>) -> Value {
    let request = json!({ "method": args.method.as_str(), "url": clean(args.url.to_string().as_bytes()),
                          "from": args.from });
    let explanation = match explained {
        Ok(explanation) => explanation,
        Err(error) => return json!({ "request": request, "answered": error.to_string() }),
    };
    let sequels = explanation.sequels.iter().map(|sequel| match &sequel.then {
        Then::Retry { member, reason, pause } => json!({
            "if": sequel.mishap.as_str(), "then": "retry", "server": &**member, "reason": reason, "pause": pause,
        }),
        Then::Answer { reason, obstacle } => json!({
            "if": sequel.mishap.as_str(), "then": "answer", "status": reason.status().as_u16(),
            "cause": reason.as_str(), "no_retry": obstacle.as_str(),
        }),
    });
    let mut value = json!({
        "request": request,
        "key": explanation.key.map(|key| format!("{key:016x}")),
        "decision": decision::value(&explanation.decision),
        "sequels": sequels.collect::<Vec<_>>(),
    });
    if !explanation.course.is_empty() {
        let course: Vec<Option<&str>> = explanation.course.iter().map(Option::as_deref).collect();
        value["repeated"] = json!({ "choices": course, "counts": counts(&explanation.course) });
    }
    value
}

fn text(
    args: &ExplainArgs,
    settings: &Settings,
    explained: &Result<Explanation, Unexplained>,
) -> String {
    let mut lines = Lines::default();
    let url = clean(args.url.to_string().as_bytes());
    lines.row(
        "request",
        &format_args!("{} {url} from {}", args.method, args.from),
    );
    let explanation = match explained {
        Ok(explanation) => explanation,
        Err(error) => {
            lines.row("choice", error);
            return lines.0;
        }
    };
    let decision = &explanation.decision;
    let (eligible, size) = (decision.eligible, decision.size);
    let balance = &settings.pool.balance;
    lines.row(
        "pool",
        &format_args!(
            "{}: {balance}, {eligible} of {size} can be chosen",
            decision.pool
        ),
    );
    if let Some(by) = balance.key() {
        lines.row("key", &key(by, explanation.key));
    }
    lines.servers(decision);
    lines.pick(decision);
    let chosen = decision
        .pick
        .as_ref()
        .and_then(|pick| pick.choice.as_deref());
    let chosen = chosen.unwrap_or_default();
    let mut label = "retry";
    for sequel in &explanation.sequels {
        let mishap = sequel.mishap;
        let row = format!("if {chosen} {mishap}: {}", then(&sequel.then));
        lines.row(std::mem::take(&mut label), &row);
    }
    lines.course(&explanation.course);
    lines.0.push_str(
        "\nAs at a fresh start: no probe has told anything yet, but what is said to be down is, and nothing is in flight. \
         Lots are drawn\nalways alike here; in life each start draws its own.\n",
    );
    lines.0
}

fn key(by: &HashKey, digest: Option<u64>) -> String {
    match digest {
        Some(digest) => format!("{by}, digest {digest:016x}"),
        None => format!("{by}: the request has none"),
    }
}

fn then(then: &Then) -> String {
    match then {
        Then::Retry {
            member,
            reason,
            pause,
        } => {
            let pause = if *pause { ", after a short pause" } else { "" };
            format!("{member} is asked{pause} ({reason})")
        }
        Then::Answer { reason, obstacle } => format!(
            "no retry, because {obstacle}; answered {} ({})",
            reason.status().as_u16(),
            reason.as_str()
        ),
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn row(&mut self, label: &str, text: &dyn Display) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "{label:<8} {text}");
    }

    /// A table: each server, the chosen one with a star.
    fn servers(&mut self, decision: &Decision) {
        let choice = decision.pick.as_ref().and_then(|pick| pick.choice.as_ref());
        let scored = decision.members.iter().any(|member| member.score.is_some());
        let head = [
            "",
            "server",
            "weight",
            "tier",
            "state",
            "in flight",
            "score",
            "standing",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(decision.members.iter().map(|member| {
            let mark = if choice == Some(&member.name) {
                "*"
            } else {
                ""
            };
            cells(mark, member)
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..head.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        self.0.push('\n');
        for row in &rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column == 6 && !scored {
                    continue;
                }
                let _ = write!(line, "{cell:<width$}  ", width = widths[column]);
            }
            let _ = writeln!(self.0, "  {}", line.trim_end());
        }
        self.0.push('\n');
    }

    fn pick(&mut self, decision: &Decision) {
        let Some(pick) = &decision.pick else { return };
        if !pick.drawn.is_empty() {
            self.row("draw", &pick.drawn.join(", "));
        }
        match &pick.choice {
            Some(name) => self.row("choice", &format_args!("{name} ({})", pick.reason)),
            None => self.row(
                "choice",
                &format_args!("nobody ({}); answered 503 (no-member)", pick.reason),
            ),
        }
    }

    fn course(&mut self, course: &[Option<Arc<str>>]) {
        if course.is_empty() {
            return;
        }
        let choices = course.iter().take(COURSE_MAX);
        let choices: Vec<&str> = choices
            .map(|name| name.as_deref().unwrap_or("nobody"))
            .collect();
        let more = if course.len() > COURSE_MAX {
            ", ..."
        } else {
            ""
        };
        self.row("in turn", &format_args!("{}{more}", choices.join(", ")));
        let share = |(name, count): (&str, usize)| {
            format!(
                "{name} {count} ({:.1}%)",
                count as f64 * 100.0 / course.len() as f64
            )
        };
        let shares: Vec<String> = counts(course).into_iter().map(share).collect();
        self.row("shares", &shares.join(", "));
    }
}

fn cells(mark: &str, member: &Considered) -> [String; 8] {
    let tier = if member.backup { "backup" } else { "first" };
    [
        mark.to_owned(),
        member.name.to_string(),
        member.weight.to_string(),
        tier.to_owned(),
        member.state.as_str().to_owned(),
        member.in_flight.to_string(),
        member
            .score
            .map_or_else(String::new, |score| format!("{score:.3}")),
        match member.standing {
            Ok(standing) => standing.as_str().to_owned(),
            Err(exclusion) => format!("out: {exclusion}"),
        },
    ]
}

#[cfg(test)]
mod tests;
