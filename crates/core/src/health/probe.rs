//! One probe: what is asked, and what the answer means.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri, uri::PathAndQuery};

use crate::body::Body;
use crate::config::settings::{Check, ProbeSettings, StatusRanges};
use crate::error::{Cause, Fault, TransportError};
use crate::event::ProbeFailure;
use crate::pool::Member;
use crate::time::{Elapsed, Instant};
use crate::transport::{Attempt, Reuse};

/// Bytes of an answer's body that are read after the verdict, so that the server can finish cleanly.
pub(crate) const DRAIN_MAX: usize = 64 * 1024;

/// A probe that says "too late" so long after its deadline was held up on this side.
const LATE: Duration = Duration::from_secs(1);

/// A probe that was started.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) member: Arc<Member>,
    pub(crate) settings: Arc<ProbeSettings>,
    pub(crate) started: Instant,
    /// The member had stalled.
    pub(crate) stalled: bool,
}

/// What a probe found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// The member is well.
    Passed,
    /// It is not.
    Failed(ProbeFailure),
    /// This machine could not ask: that says nothing about the member.
    Nothing,
}

impl Probe {
    pub(crate) fn deadline(&self) -> Instant {
        self.started + self.settings.timeout
    }

    pub(crate) fn attempt(&self) -> Attempt<'_> {
        Attempt {
            backend: self.member.backend(),
            connect_deadline: self.deadline(),
            reuse: Reuse::Fresh,
        }
    }

    /// Does a pass mean that the process answers, and not only that its kernel accepts?
    pub(crate) fn asks_the_process(&self) -> bool {
        self.stalled || matches!(self.settings.check, Check::Http { .. })
    }

    /// What a stalled member is asked that is checked by TCP alone: a frozen process accepts, too, so only an answer
    /// tells. Which one does not matter (RFC 9110 §9.3.2: a HEAD asks for nothing but a head).
    pub(crate) fn sign_of_life(&self) -> Request<Body> {
        self.request(&Method::HEAD, &PathAndQuery::from_static("/"))
    }

    /// What the answer to that means. None is no news: the member is out already, and it is not this that it is
    /// checked by.
    pub(crate) fn judge_sign_of_life(
        &self,
        result: &Result<Result<StatusCode, TransportError>, Elapsed>,
    ) -> Finding {
        match result {
            Ok(Ok(_)) => Finding::Passed,
            Ok(Err(error)) if error.is_connect_failure() => judge_error(error),
            Ok(Err(_)) | Err(Elapsed) => Finding::Nothing,
        }
    }

    /// The request of an HTTP probe.
    pub(crate) fn request(&self, method: &Method, path: &PathAndQuery) -> Request<Body> {
        let authority = self.member.backend().address.to_string();
        // RFC 9110 §7.2: an authority that cannot be written is sent as an empty Host.
        let host = HeaderValue::try_from(authority).unwrap_or(HeaderValue::from_static(""));
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = Uri::from(path.clone());
        request.headers_mut().insert(HOST, host);
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static("lb-health"));
        request
    }

    /// What a TCP probe's result at `now` means.
    pub(crate) fn judge_connection(
        &self,
        result: &Result<Result<(), TransportError>, Elapsed>,
        now: Instant,
    ) -> Finding {
        match result {
            Ok(Ok(())) => Finding::Passed,
            Ok(Err(error)) => judge_error(error),
            Err(Elapsed) => self.judge_silence(now),
        }
    }

    /// What an HTTP probe's result at `now` means.
    pub(crate) fn judge_answer(
        &self,
        result: &Result<Result<StatusCode, TransportError>, Elapsed>,
        expect: &StatusRanges,
        now: Instant,
    ) -> Finding {
        match result {
            Ok(Ok(status)) if expect.contains(*status) => Finding::Passed,
            Ok(Ok(status)) => Finding::Failed(ProbeFailure::Status(*status)),
            Ok(Err(error)) => judge_error(error),
            Err(Elapsed) => self.judge_silence(now),
        }
    }

    fn judge_silence(&self, now: Instant) -> Finding {
        if now > self.deadline() + LATE {
            Finding::Nothing
        } else {
            Finding::Failed(ProbeFailure::Timeout)
        }
    }
}

fn judge_error(error: &TransportError) -> Finding {
    match (error.fault(), error.cause) {
        (Fault::Backend, Cause::TimedOut) => Finding::Failed(ProbeFailure::Timeout),
        (Fault::Backend, cause) => Finding::Failed(ProbeFailure::Transport(cause)),
        (Fault::Local | Fault::Client, _) => Finding::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Phase;
    use crate::pool::testing::members;

    fn probe() -> Probe {
        Probe {
            member: members(1).remove(0),
            settings: Arc::default(),
            started: at(5000),
            stalled: false,
        }
    }

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn the_status_decides() {
        let expect = StatusRanges::new(vec![200..=204, 301..=301]);
        for (status, passed) in [
            (200, true),
            (204, true),
            (205, false),
            (301, true),
            (503, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let finding = probe().judge_answer(&Ok(Ok(status)), &expect, at(5100));
            let failed = Finding::Failed(ProbeFailure::Status(status));
            assert_eq!(finding, if passed { Finding::Passed } else { failed });
        }
    }

    #[test]
    fn a_fault_of_this_machine_is_no_verdict() {
        let table = [
            (
                Cause::Refused,
                Finding::Failed(ProbeFailure::Transport(Cause::Refused)),
            ),
            (Cause::TimedOut, Finding::Failed(ProbeFailure::Timeout)),
            (Cause::LocalLimit, Finding::Nothing),
            (Cause::Unsupported, Finding::Nothing),
        ];
        for (cause, finding) in table {
            let error = || TransportError::undelivered(Phase::Connect, cause);
            let now = at(5100);
            assert_eq!(probe().judge_connection(&Ok(Err(error())), now), finding);
            let expect = StatusRanges::default();
            assert_eq!(
                probe().judge_answer(&Ok(Err(error())), &expect, now),
                finding
            );
        }
    }

    #[test]
    fn no_answer_fails_unless_we_noticed_far_too_late() {
        let finding = |now| probe().judge_connection(&Err(Elapsed), now);
        assert_eq!(finding(at(6000)), Finding::Failed(ProbeFailure::Timeout));
        assert_eq!(finding(at(7000)), Finding::Failed(ProbeFailure::Timeout));
        assert_eq!(finding(at(7001)), Finding::Nothing);
    }

    #[test]
    fn the_request_names_the_backend_and_little_else() {
        let request = probe().request(&Method::HEAD, &PathAndQuery::from_static("/up?now=1"));
        assert_eq!(request.method(), Method::HEAD);
        assert_eq!(request.uri(), "/up?now=1");
        assert_eq!(request.headers()[HOST], "192.0.2.1:80");
        assert_eq!(request.headers()[USER_AGENT], "lb-health");
        assert_eq!(request.headers().len(), 2);
    }
}
