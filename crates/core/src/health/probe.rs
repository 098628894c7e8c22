//! One probe: what is asked, and what the answer means.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, Uri};

use crate::body::Body;
use crate::config::settings::{Check, HttpCheck, ProbeSettings};
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
    /// That a connection is accepted is not enough: a frozen process's is, too.
    pub(crate) needs_answer: bool,
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

impl Finding {
    /// Did an answer come, whatever it said?
    pub(crate) fn is_answer(self) -> bool {
        matches!(
            self,
            Self::Passed | Self::Failed(ProbeFailure::Status(_) | ProbeFailure::Body)
        )
    }
}

/// What came back from an HTTP probe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The body contains what it should; true where nothing is wanted.
    pub(crate) contained: bool,
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
        self.needs_answer || matches!(self.settings.check, Check::Http(_))
    }

    /// What a member that is checked by TCP alone is asked when only an answer tells. Which one does not matter
    /// (RFC 9110 §9.3.2: a HEAD asks for nothing but a head).
    pub(crate) fn sign_of_life(&self) -> Request<Body> {
        self.request(&HttpCheck {
            method: Method::HEAD,
            ..HttpCheck::get(PathAndQuery::from_static("/"))
        })
    }

    /// What the answer to that means. None is no news: it is not this that the member is checked by, and the stall guard
    /// has its own opinion.
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
    pub(crate) fn request(&self, check: &HttpCheck) -> Request<Body> {
        let host = check.host.clone().unwrap_or_else(|| {
            let authority = self.member.backend().address.to_string();
            // RFC 9110 §7.2: an authority that cannot be written is sent as an empty Host.
            HeaderValue::try_from(authority).unwrap_or(HeaderValue::from_static(""))
        });
        let mut request = Request::new(Body::empty());
        *request.method_mut() = check.method.clone();
        *request.uri_mut() = Uri::from(check.path.clone());
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static("lb-health"));
        for name in check.headers.keys() {
            headers.remove(name);
        }
        for (name, value) in &check.headers {
            headers.append(name, value.clone());
        }
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
        result: &Result<Result<Answer, TransportError>, Elapsed>,
        check: &HttpCheck,
        now: Instant,
    ) -> Finding {
        match result {
            Ok(Ok(answer)) if !check.expect.contains(answer.status) => {
                Finding::Failed(ProbeFailure::Status(answer.status))
            }
            Ok(Ok(answer)) if !answer.contained => Finding::Failed(ProbeFailure::Body),
            Ok(Ok(_)) => Finding::Passed,
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
    use crate::config::settings::StatusRanges;
    use crate::error::Phase;
    use crate::pool::testing::members;

    fn probe() -> Probe {
        Probe {
            member: members(1).remove(0),
            settings: Arc::default(),
            started: at(5000),
            needs_answer: false,
        }
    }

    fn check() -> HttpCheck {
        HttpCheck::get(PathAndQuery::from_static("/up?now=1"))
    }

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn the_status_decides() {
        let check = HttpCheck {
            expect: StatusRanges::new(vec![200..=204, 301..=301]),
            ..check()
        };
        for (status, passed) in [
            (200, true),
            (204, true),
            (205, false),
            (301, true),
            (503, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer {
                status,
                contained: true,
            };
            let finding = probe().judge_answer(&Ok(Ok(answer)), &check, at(5100));
            let failed = Finding::Failed(ProbeFailure::Status(status));
            assert_eq!(finding, if passed { Finding::Passed } else { failed });
        }
    }

    #[test]
    fn the_text_decides_where_one_is_wanted() {
        for (status, contained, failure) in [
            (200, false, Some(ProbeFailure::Body)),
            (200, true, None),
            (
                500,
                false,
                Some(ProbeFailure::Status(StatusCode::INTERNAL_SERVER_ERROR)),
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer { status, contained };
            let finding = probe().judge_answer(&Ok(Ok(answer)), &check(), at(5100));
            assert_eq!(finding, failure.map_or(Finding::Passed, Finding::Failed));
        }
    }

    #[test]
    fn configured_fields_take_the_place_of_ours() {
        let mut check = check();
        check.host = Some(HeaderValue::from_static("shop.example"));
        check
            .headers
            .append(USER_AGENT, HeaderValue::from_static("me"));
        check.headers.append("x-a", HeaderValue::from_static("1"));
        check.headers.append("x-a", HeaderValue::from_static("2"));
        let request = probe().request(&check);
        assert_eq!(request.headers()[HOST], "shop.example");
        assert_eq!(request.headers()[USER_AGENT], "me");
        let all: Vec<_> = request.headers().get_all("x-a").iter().collect();
        assert_eq!(all, ["1", "2"]);
        assert_eq!(request.headers().len(), 4);
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
            assert_eq!(
                probe().judge_answer(&Ok(Err(error())), &check(), now),
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
        let request = probe().request(&HttpCheck {
            method: Method::HEAD,
            ..check()
        });
        assert_eq!(request.method(), Method::HEAD);
        assert_eq!(request.uri(), "/up?now=1");
        assert_eq!(request.headers()[HOST], "192.0.2.1:80");
        assert_eq!(request.headers()[USER_AGENT], "lb-health");
        assert_eq!(request.headers().len(), 2);
    }
}
