//! What is sent: the request, and whatever is needed to send it once more.

use std::sync::Arc;

use http::Request;
use http::request::Parts;

use super::headers::{Asked, Shape};
use super::replay::{Memory, Replay};
use super::upload::{Progress, Source, Upload};
use crate::body::Body;
use crate::decision::Obstacle;
use crate::pool::Token;
use crate::time::Timer;

/// How a request is made, the first time and again.
pub(super) struct Errand<C: Timer> {
    timer: C,
    shape: Shape,
    body_bytes_max: Option<u64>,
    /// The head once more and its body, for a request that may be repeated after delivery. Others cost no copy.
    again: Result<(Parts, Option<Arc<Replay>>), Obstacle>,
    /// It may be sent to two members at a time.
    safe: bool,
    /// It has no `Host`: each member is called by its address.
    pub(super) hostless: bool,
    /// How the upload of the request that was made last stands; `None` without a body.
    progress: Option<Arc<Progress>>,
    /// What the pool's algorithm hashes of it, if it does.
    pub(super) key: Option<u64>,
    /// The member that the client was at before, if it says so and the pool keeps clients there.
    pub(super) shown: Option<Token>,
}

impl<C: Timer> Errand<C> {
    /// The errand and its first request; `obstacle` is why it cannot be repeated, if it can't.
    pub(super) fn new(
        head: Parts,
        body: Body,
        asked: Asked,
        body_bytes_max: Option<u64>,
        obstacle: Option<Obstacle>,
        memory: &Arc<Memory>,
        timer: &C,
    ) -> (Self, Request<Body>) {
        let mut errand = Self {
            timer: timer.clone(),
            shape: asked.shape,
            body_bytes_max,
            again: Err(obstacle.unwrap_or(Obstacle::BodyGone)),
            safe: false,
            hostless: asked.hostless,
            progress: None,
            key: None,
            shown: None,
        };
        let body = match (asked.shape, obstacle.is_none()) {
            (Shape::Empty, false) => Body::empty(),
            (Shape::Empty, true) => {
                errand.safe = head.method.is_safe();
                errand.again = Ok((head.clone(), None));
                Body::empty()
            }
            (_, false) => errand.upload(Source::Once(body)),
            (_, true) => {
                let replay = Replay::new(body, memory);
                let reader = replay.first();
                errand.again = Ok((head.clone(), Some(replay)));
                errand.upload(Source::Replayed(reader))
            }
        };
        (errand, Request::from_parts(head, body))
    }

    /// Why the request cannot be made again; `None`: it can.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        match &self.again {
            Err(obstacle) => Some(*obstacle),
            Ok((_, None)) => None,
            Ok((_, Some(replay))) => (!replay.is_whole()).then_some(Obstacle::BodyGone),
        }
    }

    /// Could the request be made again?
    pub(super) fn is_repeatable(&self) -> bool {
        self.obstacle().is_none()
    }

    /// Is it of a safe method (RFC 9110 §9.2.1), without a body, and could it be made again?
    pub(super) fn may_be_sent_twice(&self) -> bool {
        self.safe
    }

    /// The request once more, while it is under way.
    pub(super) fn twin(&self) -> Option<Request<Body>> {
        let (head, _) = self.again.as_ref().ok().filter(|_| self.safe)?;
        Some(Request::from_parts(head.clone(), Body::empty()))
    }

    /// The request from its beginning; `None` if it cannot be repeated.
    pub(super) fn again(&mut self) -> Option<Request<Body>> {
        let (head, replay) = self.again.as_ref().ok()?;
        let head = head.clone();
        let reader = match replay {
            None => None,
            Some(replay) => Some(replay.read()?),
        };
        let body = reader.map_or_else(Body::empty, |reader| self.upload(Source::Replayed(reader)));
        Some(Request::from_parts(head, body))
    }

    /// How the upload stands.
    pub(super) fn progress(&self) -> Option<&Arc<Progress>> {
        self.progress.as_ref()
    }

    fn upload(&mut self, source: Source) -> Body {
        let progress = Progress::new(self.timer.now());
        self.progress = Some(Arc::clone(&progress));
        Body::stream(Upload::new(
            source,
            self.shape,
            self.body_bytes_max,
            progress,
            self.timer.clone(),
        ))
    }
}
