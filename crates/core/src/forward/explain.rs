//! What would happen to a request, told without sending it: the decision at a fresh start, and what would follow a failure.
//!
//! It asks the very rules that forwarding asks, over a pool of its own: header rules, key, pick, retry. Each supposed failure is told
//! to a fresh pool, so that what it does to the members shows. Nothing is opened, and no time passes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Downstream;
use super::budget::Budget;
use super::headers::{self, RequestRules};
use super::key;
use super::retry::{self, Failed, Next};
use super::sticky::StickyCookie;
use crate::body::Body;
use crate::config::settings::Settings;
use crate::decision::{Decision, Obstacle};
use crate::error::{BodyError, Cause, Delivered, Reason};
use crate::event::Silent;
use crate::picker::{Query, Tried};
use crate::pool::{Lease, Outcome, Room, SharedPool, Token};
use crate::rng::Rng;
use crate::time::Instant;
use crate::transport::Capabilities;

/// The only moment there is.
const NOW: Instant = Instant::ORIGIN;
/// Always the same draws, so that a question has one answer.
const SEED: u64 = 1;

/// What is supposed.
#[derive(Clone, Debug)]
pub struct Supposed<'a> {
    /// What runs.
    pub settings: &'a Settings,
    /// Where the request comes from.
    pub from: Downstream,
    /// Servers at which nobody listens, by name or address.
    pub down: &'a [String],
    /// So many of the same request, each answered before the next one comes.
    pub repeat: usize,
}

/// What would happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The digest of what the request is hashed by, if it has that and the pool hashes.
    pub key: Option<u64>,
    /// The first pick.
    pub decision: Decision,
    /// What would follow if the chosen member failed; empty where nobody is chosen.
    pub sequels: Vec<Sequel>,
    /// Who would get each of the repeated requests.
    pub course: Vec<Option<Arc<str>>>,
}

/// What would follow a failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequel {
    /// The failure.
    pub mishap: Mishap,
    /// What would follow.
    pub then: Then,
}

/// How the first attempt fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The member refuses the connection: nothing was sent.
    Refused,
    /// The connection breaks when the request was sent.
    Broken,
    /// No answer comes in time.
    Silent,
}

/// What follows a failure.
#[derive(Clone, Debug, PartialEq)]
pub enum Then {
    /// Another attempt.
    Retry {
        /// Where.
        member: Arc<str>,
        /// Why there.
        reason: &'static str,
        /// After a short random pause, because it is where one failed.
        pause: bool,
    },
    /// A local answer.
    Answer {
        /// Which.
        reason: Reason,
        /// Why there is no other attempt.
        obstacle: Obstacle,
    },
}

/// There is no decision to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unexplained {
    /// The request breaks a rule and is answered before any member is looked for.
    Refused(Reason),
    /// No server has this name or address.
    UnknownServer(String),
}

impl Mishap {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Refused, Self::Broken, Self::Silent];

    /// A short stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Silent => "silent",
        }
    }

    fn facts(self) -> (Outcome, Reason, Delivered) {
        match self {
            Self::Refused => (
                Outcome::ConnectFailed(Cause::Refused),
                Reason::Refused,
                Delivered::No,
            ),
            Self::Broken => (
                Outcome::Failed(Cause::Closed),
                Reason::BackendClosed,
                Delivered::Maybe,
            ),
            Self::Silent => (
                Outcome::Failed(Cause::TimedOut),
                Reason::FirstByteTimeout,
                Delivered::Maybe,
            ),
        }
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refuses the connection",
            Self::Broken => "breaks the connection",
            Self::Silent => "sends no answer in time",
        })
    }
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(
                f,
                "answered {} before any server is looked for: {}",
                reason.status().as_u16(),
                reason.explanation()
            ),
            Self::UnknownServer(name) => write!(f, "there is no server `{}`", name.escape_debug()),
        }
    }
}

impl std::error::Error for Unexplained {}

/// Explains what would happen to `request`, of whose body its fields tell the length.
///
/// # Errors
/// There is nothing to explain.
pub fn explain(supposed: &Supposed<'_>, request: Request<()>) -> Result<Explanation, Unexplained> {
    let case = Case::new(supposed, request)?;
    let decision = case.stage().explain(&Tried::new());
    let mut sequels = Vec::new();
    if decision
        .pick
        .as_ref()
        .is_some_and(|pick| pick.choice.is_some())
    {
        let sequel = |mishap| Sequel {
            mishap,
            then: case.stage().after(mishap),
        };
        sequels.extend(Mishap::ALL.map(sequel));
    }
    let stage = case.stage();
    Ok(Explanation {
        key: case.key,
        decision,
        sequels,
        course: (0..supposed.repeat).map(|_| stage.serve()).collect(),
    })
}

/// A request that is forwarded, and what it meets.
struct Case<'a> {
    settings: &'a Settings,
    /// The names of the servers at which nobody listens.
    down: Vec<&'a str>,
    key: Option<u64>,
    shown: Option<Token>,
    obstacle: Option<Obstacle>,
}

impl<'a> Case<'a> {
    fn new(supposed: &Supposed<'a>, request: Request<()>) -> Result<Self, Unexplained> {
        let settings = supposed.settings;
        let server = |given: &'a String| {
            let servers = &settings.pool.servers;
            let found = servers
                .iter()
                .find(|server| *server.name == **given)
                .or_else(|| servers.iter().find(|s| s.address.to_string() == **given));
            found
                .map(|server| &*server.name)
                .ok_or_else(|| Unexplained::UnknownServer(given.clone()))
        };
        let down = supposed.down.iter().map(server).collect::<Result<_, _>>()?;
        let mut head = request.into_parts().0;
        let sticky = settings.pool.sticky.as_ref().map(StickyCookie::from);
        let shown = sticky.and_then(|sticky| sticky.shown(&head.headers));
        let obstacle = prepare(&mut head, supposed).map_err(Unexplained::Refused)?;
        let by = settings.pool.balance.key();
        Ok(Self {
            settings,
            down,
            key: by.and_then(|by| key::digest_of(by, &head, &settings.limits.trusted_proxies)),
            shown,
            obstacle,
        })
    }

    /// The pool at its start, and whatever is down.
    fn stage(&self) -> Stage<'_> {
        let rng = Rng::new(SEED);
        let pool = SharedPool::new(&self.settings.pool, rng.split(), Arc::new(Silent), NOW);
        for name in &self.down {
            // They are names of the pool's own servers.
            let _ = pool.suppose_refused(name, NOW);
        }
        let budget = Budget::new(self.settings.pool.limits.retry_budget_percent);
        budget.deposit(NOW);
        Stage {
            case: self,
            pool,
            rng,
            budget,
        }
    }
}

/// Makes the head the one to send; returns why the request could not be repeated, if it couldn't.
fn prepare(head: &mut Parts, supposed: &Supposed<'_>) -> Result<Option<Obstacle>, Reason> {
    let settings = supposed.settings;
    let method: Method = head.method.clone();
    let body = announced(&head.headers);
    let id = headers::request_id(&head.headers, &Rng::new(SEED));
    let rules = RequestRules::new(settings, Capabilities::FULL);
    let asked = headers::prepare_request(head, &body, &supposed.from, true, &id, &rules)?;
    Ok(retry::obstacle(
        settings.pool.limits.retries,
        &method,
        asked,
    ))
}

/// One course of events.
struct Stage<'a> {
    case: &'a Case<'a>,
    pool: Arc<SharedPool>,
    rng: Rng,
    budget: Budget,
}

impl Stage<'_> {
    fn explain(&self, tried: &Tried) -> Decision {
        let query = Query::new(tried, NOW, &self.rng).with_key(self.case.key);
        self.pool.explain(&query, self.case.shown)
    }

    fn pick(&self, tried: &mut Tried) -> Option<Lease> {
        let Case { key, shown, .. } = *self.case;
        self.pool.pick_for(key, shown, tried, &self.rng, NOW)
    }

    /// Who gets a request and answers it.
    fn serve(&self) -> Option<Arc<str>> {
        let lease = self.pick(&mut Tried::new())?;
        let name = Arc::clone(lease.member().name());
        lease.finish(Outcome::Answered(StatusCode::OK), NOW);
        Some(name)
    }

    /// What follows when the first attempt fails.
    fn after(&self, mishap: Mishap) -> Then {
        let (outcome, reason, delivered) = mishap.facts();
        let answer = |obstacle| Then::Answer { reason, obstacle };
        let mut tried = Tried::new();
        let Some(lease) = self.pick(&mut tried) else {
            return answer(Obstacle::Nobody);
        };
        let next = retry::next(&Failed {
            delivered,
            ours: false,
            timed_out: mishap == Mishap::Silent,
            returned: delivered == Delivered::No,
            obstacle: self.case.obstacle,
            retries: 0,
            retries_max: self.case.settings.pool.limits.retries,
        });
        match next {
            Next::Stop(obstacle) => return answer(obstacle),
            Next::Again if !self.budget.withdraw(NOW) => return answer(Obstacle::Budget),
            Next::Again | Next::Elsewhere => lease.finish(outcome, NOW),
        }
        let retry = |tried: &Tried, pause| {
            let pick = self.explain(tried).pick?;
            Some(Then::Retry {
                member: pick.choice?,
                reason: pick.reason,
                pause,
            })
        };
        let standby = || {
            let lease = self.pool.pick_standby(&mut tried.clone(), &self.rng, NOW)?;
            Some(Then::Retry {
                member: Arc::clone(lease.member().name()),
                reason: "a backup, because nobody else is left untried",
                pause: false,
            })
        };
        retry(&tried, false)
            .or_else(standby)
            .or_else(|| match self.pool.room() {
                Room::Never => None,
                Room::Now | Room::Later => retry(&Tried::new(), true),
            })
            .unwrap_or(answer(Obstacle::Nobody))
    }
}

/// The body that the fields announce.
fn announced(headers: &HeaderMap) -> Body {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.trim().parse().ok());
    match length {
        _ if headers.contains_key(TRANSFER_ENCODING) => Body::stream(Announced(None)),
        None | Some(0) => Body::empty(),
        Some(length) => Body::stream(Announced(Some(length))),
    }
}

/// A body of which only the length is known, if that.
struct Announced(Option<u64>);

impl HttpBody for Announced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Nobody reads it.
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests;
