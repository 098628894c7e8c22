//! A request on its way, and what has become of it.

use std::mem;
use std::task::{Context, Poll};

use futures::io::AsyncWrite;
use http::Request;
use lb_core::body::Body;

use super::failure::Broken;
use crate::http1::{Framing, Gathering, Sending, write_request};

/// A transport holds one piece of a body; and one that was copied would be missing from a request that goes back.
const ONE_BY_ONE: Gathering = Gathering {
    enough: 1,
    small: 0,
};

/// The request of an exchange.
pub(super) struct Upload {
    sending: Sending,
    /// After a failure nothing more is written; it is told once nothing is left to be read.
    failed: bool,
    failure: Option<Broken>,
}

impl Upload {
    /// None.
    pub(super) fn none() -> Self {
        Self {
            sending: Sending::none(ONE_BY_ONE),
            failed: false,
            failure: None,
        }
    }

    /// Begins one with the head of `request`, whose body it takes.
    pub(super) fn begin(&mut self, request: &mut Request<Body>, framing: Framing) {
        let body = mem::take(request.body_mut());
        let request = &*request;
        let write_head = |to: &mut Vec<u8>| write_request(request, to);
        self.sending
            .begin(write_head, request.headers(), framing, body);
    }

    /// Was something handed to the stream?
    pub(super) fn is_written(&self) -> bool {
        self.sending.is_written()
    }

    /// Did the body give its last frame?
    pub(super) fn is_ended(&self) -> bool {
        self.sending.is_ended()
    }

    /// Is all of it with the stream?
    pub(super) fn is_done(&self) -> bool {
        !self.failed && self.sending.is_done()
    }

    /// Why it will never be done.
    pub(super) fn take_failure(&mut self) -> Option<Broken> {
        self.failure.take()
    }

    /// The body, if nothing at all was handed to the stream.
    pub(super) fn take_back(&mut self) -> Option<Body> {
        self.sending.take_back()
    }

    /// Writes what the stream takes now.
    pub(super) fn poll<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) {
        if self.failed || self.sending.is_done() {
            return;
        }
        if let Poll::Ready(Err(stopped)) = self.sending.poll(stream, cx) {
            self.failed = true;
            self.failure = Some(stopped.into());
        }
    }
}
