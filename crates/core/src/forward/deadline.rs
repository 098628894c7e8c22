//! How long an attempt may wait for its response head, and whose fault it is when it waited too long.
//!
//! Whoever waits arms one sleep with what [`judge`] says and asks again when it is over.

use std::time::Duration;

use crate::error::Reason;
use crate::time::Instant;

/// How long each kind of silence may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the end of the request to the response head.
    pub(super) first_byte: Duration,
    /// The backend takes nothing of the request body.
    pub(super) backend_idle: Duration,
    /// The client sends nothing of it.
    pub(super) client_idle: Duration,
}

impl Patience {
    /// Never zero, so that a driver that sleeps so long makes progress.
    fn shortest(&self) -> Duration {
        self.first_byte
            .min(self.backend_idle)
            .min(self.client_idle)
            .max(Duration::from_millis(1))
    }
}

/// Who is waited for while a request body goes up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Nobody has asked for the body yet: the connection is being opened.
    Connecting,
    /// The client, to send more.
    Client,
    /// The backend, to take what there is.
    Backend,
    /// The backend, to answer: the body is sent.
    Sent,
}

/// An attempt that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// When the attempt began.
    pub(super) began: Instant,
    /// When its connection must be open.
    pub(super) connected_by: Instant,
    /// When the whole exchange must be over.
    pub(super) total: Instant,
    /// How the request body stands, and since when; `None` when there is none.
    pub(super) upload: Option<(Stage, Instant)>,
}

/// The answer to "how long yet?".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Ask again then.
    Wait(Instant),
    /// It is over.
    Expired(Reason),
}

/// Whose turn it is, and whether it has taken too long.
pub(super) fn judge(waiting: &Waiting, patience: &Patience, now: Instant) -> Verdict {
    let (deadline, reason) = match waiting.upload {
        None => (
            waiting.began + patience.first_byte,
            Reason::FirstByteTimeout,
        ),
        Some((Stage::Connecting, _)) => (
            waiting.connected_by + patience.backend_idle,
            Reason::SendTimeout,
        ),
        Some((Stage::Client, since)) => (since + patience.client_idle, Reason::RequestStalled),
        Some((Stage::Backend, since)) => (since + patience.backend_idle, Reason::SendTimeout),
        Some((Stage::Sent, since)) => (since + patience.first_byte, Reason::FirstByteTimeout),
    };
    if now >= waiting.total {
        return Verdict::Expired(Reason::TotalTimeout);
    }
    if now >= deadline {
        return Verdict::Expired(reason);
    }
    let mut until = deadline.min(waiting.total);
    // A later stage may be shorter than this one, and nobody wakes us when it begins.
    if !matches!(waiting.upload, None | Some((Stage::Sent, _))) {
        until = until.min(now + patience.shortest());
    }
    Verdict::Wait(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    const PATIENCE: Patience = Patience {
        first_byte: Duration::from_secs(30),
        backend_idle: Duration::from_secs(20),
        client_idle: Duration::from_secs(10),
    };

    fn waiting(upload: Option<(Stage, Instant)>) -> Waiting {
        Waiting {
            began: at(100),
            connected_by: at(102),
            total: Instant::NEVER,
            upload,
        }
    }

    #[test]
    fn the_table_of_deadlines() {
        let table = [
            ("no body", None, at(130), Reason::FirstByteTimeout),
            (
                "connecting",
                Some((Stage::Connecting, at(100))),
                at(122),
                Reason::SendTimeout,
            ),
            (
                "the client stalls",
                Some((Stage::Client, at(200))),
                at(210),
                Reason::RequestStalled,
            ),
            (
                "the backend takes nothing",
                Some((Stage::Backend, at(200))),
                at(220),
                Reason::SendTimeout,
            ),
            (
                "the body is sent",
                Some((Stage::Sent, at(200))),
                at(230),
                Reason::FirstByteTimeout,
            ),
        ];
        for (name, upload, deadline, reason) in table {
            let waiting = waiting(upload);
            let before = Instant::from_nanos(deadline.as_nanos() - 1);
            assert!(
                matches!(judge(&waiting, &PATIENCE, before), Verdict::Wait(_)),
                "{name}"
            );
            assert_eq!(
                judge(&waiting, &PATIENCE, deadline),
                Verdict::Expired(reason),
                "{name}"
            );
        }
    }

    #[test]
    fn the_first_byte_is_awaited_in_one_sleep() {
        assert_eq!(
            judge(&waiting(None), &PATIENCE, at(100)),
            Verdict::Wait(at(130))
        );
        let sent = waiting(Some((Stage::Sent, at(110))));
        assert_eq!(judge(&sent, &PATIENCE, at(111)), Verdict::Wait(at(140)));
    }

    #[test]
    fn a_running_upload_is_looked_at_again_before_a_shorter_stage_could_end() {
        let patience = Patience {
            first_byte: Duration::from_secs(1),
            ..PATIENCE
        };
        let uploading = waiting(Some((Stage::Backend, at(200))));
        assert_eq!(
            judge(&uploading, &patience, at(205)),
            Verdict::Wait(at(206))
        );
    }

    #[test]
    fn the_total_ends_every_stage() {
        for upload in [
            None,
            Some((Stage::Client, at(149))),
            Some((Stage::Sent, at(149))),
        ] {
            let waiting = Waiting {
                began: at(140),
                total: at(150),
                ..waiting(upload)
            };
            let Verdict::Wait(until) = judge(&waiting, &PATIENCE, at(149)) else {
                panic!("too early");
            };
            assert_eq!(until, at(150));
            assert_eq!(
                judge(&waiting, &PATIENCE, at(150)),
                Verdict::Expired(Reason::TotalTimeout)
            );
        }
    }

    #[test]
    fn limits_of_zero_do_not_spin() {
        let zero = Patience {
            first_byte: Duration::ZERO,
            ..PATIENCE
        };
        let uploading = waiting(Some((Stage::Backend, at(200))));
        let Verdict::Wait(until) = judge(&uploading, &zero, at(200)) else {
            panic!("too early");
        };
        assert!(until > at(200));
    }
}
