//! What the balancer reports about itself: state transitions of members and finished exchanges.
//!
//! The core formats and writes nothing. Logs and metrics are [`Observer`]s.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Uri};

use crate::decision::Decision;
use crate::error::{BodyCause, Cause, Reason};
use crate::time::Instant;

/// Hears what happened. Calls come from request and probe tasks: an observer must not block.
pub trait Observer: Send + Sync + 'static {
    /// A member changed its state.
    fn transition(&self, transition: &Transition<'_>) {
        let _ = transition;
    }

    /// The adaptive limit of a member has changed much; for each member at most every ten seconds.
    fn adapted(&self, adapted: &Adapted<'_>) {
        let _ = adapted;
    }

    /// Whether [`exchange`](Self::exchange) is of interest; asked once per request. Where nobody listens, no
    /// record is built.
    fn wants_exchanges(&self) -> bool {
        true
    }

    /// An exchange is over, down to the last byte of its answer or the moment it broke off.
    fn exchange(&self, exchange: &Exchange) {
        let _ = exchange;
    }
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn wants_exchanges(&self) -> bool {
        false
    }
}

/// The state of a member, as people see it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum State {
    /// No probe has told yet. Such a member gets requests only while none is known to be up.
    Unknown,
    /// Eligible.
    Up,
    /// Failed its probes.
    Down,
    /// A connection just failed; one passed probe or trial readmits.
    Suspect,
    /// Requests wait at it and it sends nothing while others answer.
    Stalled,
    /// Its answers to real requests failed: out for a time, then one trial.
    Ejected,
    /// Asked to leave: it gets nothing new, and what runs there ends.
    Draining,
    /// Out, and not even probed, until asked back.
    Maintenance,
}

/// What people ask of a member.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Command {
    /// Get nothing new; what runs there ends in its own time.
    Drain,
    /// Be out, and not even probed.
    Maintain,
    /// Come back.
    Ready,
}

impl State {
    /// Is a member in this state out, for whatever reason?
    pub(crate) fn is_out(self) -> bool {
        !matches!(self, Self::Up | Self::Unknown)
    }

    /// A short stable word: the same in logs, metrics and admin.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
            Self::Suspect => "suspect",
            Self::Stalled => "stalled",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
        }
    }
}

/// Why a probe failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProbeFailure {
    /// It answered with an unwanted status.
    Status(StatusCode),
    /// Its answer did not contain what it should.
    Body,
    /// No verdict within the probe's timeout.
    Timeout,
    /// The transport failed.
    Transport(Cause),
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::Body => f.write_str("the wanted text is missing"),
            Self::Timeout => f.write_str("timed out"),
            Self::Transport(cause) => f.write_str(cause.as_str()),
        }
    }
}

/// How a request failed at a member.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RequestFailure {
    /// The member itself answered 502, 503 or 504.
    Status(StatusCode),
    /// No whole answer came.
    Transport(Cause),
}

impl fmt::Display for RequestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::Transport(cause) => f.write_str(cause.as_str()),
        }
    }
}

/// Why a member changed its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Trigger {
    /// So many probes in a row passed.
    ProbesPassed(u32),
    /// So many probes in a row failed, the last one for this reason.
    ProbesFailed(u32, ProbeFailure),
    /// A request could not connect.
    ConnectFailed(Cause),
    /// So many requests waited for this long without a byte.
    Silent {
        /// Requests without an answer.
        waiting: u32,
        /// Time since the member's last byte.
        silence: Duration,
    },
    /// It sent a byte again.
    Answered,
    /// A trial request was answered.
    TrialAnswered,
    /// So many requests in a row failed, the last one in this way.
    RequestsFailed(u32, RequestFailure),
    /// Too large a share of the last seconds' requests failed.
    FailureShare {
        /// Requests that failed.
        failed: u64,
        /// Of so many.
        of: u64,
    },
    /// Its answers took much longer to begin than those of the others.
    Slow {
        /// Its median time to the first byte.
        median: Duration,
        /// That of the others.
        others: Duration,
    },
    /// It was ejected, and nobody else is left.
    LastResort,
    /// It was ejected, and then so many requests failed at the others.
    OthersFail {
        /// Requests that failed.
        failed: u64,
        /// Of so many.
        of: u64,
    },
    /// Somebody asked for it.
    Asked(Command),
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProbesPassed(1) => f.write_str("a probe passed"),
            Self::ProbesPassed(count) => write!(f, "{count} probes passed"),
            Self::ProbesFailed(1, failure) => write!(f, "a probe failed: {failure}"),
            Self::ProbesFailed(count, failure) => write!(f, "{count} probes failed: {failure}"),
            Self::ConnectFailed(cause) => write!(f, "connect failed: {}", cause.as_str()),
            Self::Silent { waiting, silence } => {
                let requests = if *waiting == 1 { "request" } else { "requests" };
                let ms = silence.as_millis();
                write!(f, "{waiting} {requests} waited {ms} ms without a byte")
            }
            Self::Answered => f.write_str("it answers again"),
            Self::TrialAnswered => f.write_str("a trial request was answered"),
            Self::RequestsFailed(1, failure) => write!(f, "a request failed: {failure}"),
            Self::RequestsFailed(count, failure) => {
                write!(f, "{count} requests in a row failed: {failure}")
            }
            Self::FailureShare { failed, of } => write!(f, "{failed} of {of} requests failed"),
            Self::Slow { median, others } => write!(
                f,
                "half of its answers took up to {} ms to begin, those of the others {} ms",
                median.as_millis(),
                others.as_millis()
            ),
            Self::LastResort => f.write_str("nobody else is left"),
            Self::OthersFail { failed, of } => {
                write!(f, "{failed} of {of} requests failed at the others")
            }
            Self::Asked(Command::Drain) => f.write_str("asked to drain"),
            Self::Asked(Command::Maintain) => f.write_str("asked into maintenance"),
            Self::Asked(Command::Ready) => f.write_str("asked back"),
        }
    }
}

/// A member changed its state.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Transition<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The member's name.
    pub member: &'a str,
    /// The state it left.
    pub from: State,
    /// The state it entered.
    pub to: State,
    /// Why.
    pub trigger: Trigger,
    /// Members that can be picked now.
    pub eligible: usize,
    /// Members in all.
    pub members: usize,
    /// When.
    pub at: Instant,
}

/// The adaptive limit of a member has changed much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adapted<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The member's name.
    pub member: &'a str,
    /// Attempts that may be in flight at it.
    pub limit: u32,
    /// Attempts that are.
    pub in_flight: u32,
    /// Whether the limit is kept to; otherwise it is only observed.
    pub applied: bool,
    /// When.
    pub at: Instant,
}

/// How an exchange ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The whole answer was handed to the client's connection.
    Complete,
    /// The answer broke off.
    Truncated(BodyCause),
    /// The client went away first.
    ClientGone,
    /// The process stopped and did not wait for it any longer.
    Shutdown,
    /// A bug of ours broke it off.
    Panicked,
}

/// What became of the second attempt of a hedged request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hedge {
    /// The client got its answer.
    Won,
    /// The client got the first one's, or none.
    Lost,
}

impl Hedge {
    /// A short stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

/// One finished exchange: a line of the access log.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When the request head was complete.
    pub started: Instant,
    /// From then to the end.
    pub duration: Duration,
    /// The id that the backend saw, too.
    pub request_id: HeaderValue,
    /// The client's address.
    pub client: SocketAddr,
    /// The request's method.
    pub method: Method,
    /// The request's target.
    pub uri: Uri,
    /// The status sent; `None` if it was over before there was one.
    pub status: Option<StatusCode>,
    /// Bytes of response body handed on.
    pub body_bytes: u64,
    /// The pool's name.
    pub pool: Arc<str>,
    /// The member that answered, or the last one tried.
    pub member: Option<Arc<str>>,
    /// Attempts made.
    pub attempts: u32,
    /// How its hedge ended, if it had one.
    pub hedge: Option<Hedge>,
    /// Why the answer was a local one.
    pub reason: Option<Reason>,
    /// What was decided, where that is why it was a local one: 502, 503, 504.
    pub decision: Option<Box<Decision>>,
    /// How it ended.
    pub end: End,
}

impl Exchange {
    /// Something went wrong that an operator may want to know of.
    pub fn failed(&self) -> bool {
        self.reason.is_some()
            || self.end != End::Complete
            || self.status.is_none_or(|status| status.is_server_error())
    }
}
