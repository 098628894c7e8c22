//! One request and the head of its answer, on one connection.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use lb_core::body::Body;
use lb_core::error::{BoxError, Cause, TransportError};
use lb_core::time::Timer;
use lb_core::upgrade::{Duplex, UpgradeHandle};

use super::body::ResponseBody;
use super::failure::{exchange_failure, invalid_answer};
use super::habit;
use super::idle::Idle;
use super::link::{Link, Outgoing, Stream};
use crate::duplex::DuplexStream;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Why there is no answer.
pub(super) enum Failure {
    /// Nothing was sent; the request is back where it was.
    Unsent(hyper::Error),
    /// Something may have been sent.
    Failed(TransportError),
}

/// Makes a request fit to be sent: our version, and a framing that says what the body is. A head that announces
/// what does not follow would swallow the beginning of the next request on the connection.
pub(super) fn prepare(request: &mut Request<Body>) {
    *request.version_mut() = Version::HTTP_11;
    let exact = request.body().size_hint().exact();
    let empty = request.body().is_end_stream();
    let headers = request.headers_mut();
    if empty {
        headers.remove(TRANSFER_ENCODING);
        if let Some(length) = headers.get_mut(CONTENT_LENGTH) {
            *length = HeaderValue::from(0);
        }
    } else if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if let Some(exact) = exact {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(exact));
    } else if !headers.contains_key(CONTENT_LENGTH) {
        // hyper drops a body of unknown length from a GET unless the head says it is there.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Takes `request`, sends it, and waits for the head of the answer. Puts it back if nothing of it was sent.
///
/// Dropping the future closes the connection.
// By reference, because each future that it is moved through would have room for it.
pub(super) async fn exchange<S: Stream, C: Timer>(
    mut link: Box<Link<S>>,
    request: &mut Request<Body>,
    idle: &Arc<Idle<S, C>>,
) -> Result<Response<Body>, Failure> {
    let mut sending = mem::take(request);
    let upgrade = sending.headers().contains_key(UPGRADE);
    if upgrade {
        link.allow_upgrade();
    }
    link.facts.clear(sending.body().is_end_stream());
    let facts = link.facts.clone();
    hyper::ext::on_informational(&mut sending, move |_| facts.count_interim());
    let facts = link.facts.clone();
    let sent = link
        .sender
        .try_send_request(sending.map(|body| Outgoing::new(body, facts)));

    let mut sent = pin!(sent);
    let mut finished = false;
    let answer = poll_fn(|cx| {
        link.drive(cx);
        let answer = sent.as_mut().poll(cx);
        if let Poll::Ready(Ok(response)) = &answer
            && response.body().is_end_stream()
        {
            finished = link.finish(cx);
        }
        answer
    })
    .await;

    let response = match answer {
        Ok(response) => response,
        Err(mut error) => {
            return Err(match error.take_message() {
                Some(unsent) => {
                    *request = unsent.map(|outgoing| outgoing.body);
                    Failure::Unsent(error.into_error())
                }
                None => {
                    let error = link.error.take().unwrap_or(error.into_error());
                    let failure = exchange_failure(error, &link.facts);
                    if failure.cause == Cause::Closed {
                        idle.closed(&link);
                    }
                    Failure::Failed(failure)
                }
            });
        }
    };
    if link.facts.too_many_interim() {
        return Err(Failure::Failed(invalid_answer()));
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // One that nobody asked for would turn what follows into another protocol's bytes.
        return if upgrade {
            Ok(switched(link, response))
        } else {
            Err(Failure::Failed(invalid_answer()))
        };
    }
    // hyper remembers an old peer and would write the next request in its version.
    let reusable = response.version() == Version::HTTP_11;
    if let Some(said) = response.headers().get(KEEP_ALIVE) {
        link.rest = habit::stated(said);
    }
    if response.body().is_end_stream() {
        if finished && reusable {
            idle.put(link);
        }
        return Ok(response.map(|_| Body::empty()));
    }
    link.reusable &= reusable;
    let idle = idle.clone();
    Ok(response.map(|incoming| Body::stream(ResponseBody::new(incoming, link, idle))))
}

/// A 101: the connection belongs to whoever takes the handle, and is driven until hyper lets go of it.
fn switched<S: Stream>(mut link: Box<Link<S>>, mut response: Response<Incoming>) -> Response<Body> {
    let mut upgrade = hyper::upgrade::on(&mut response);
    let handle = UpgradeHandle::new(async move {
        let upgraded = poll_fn(|cx| {
            link.drive(cx);
            Pin::new(&mut upgrade).poll(cx)
        })
        .await;
        match upgraded {
            Ok(upgraded) => Ok(Box::new(DuplexStream::new(upgraded)) as Box<dyn Duplex>),
            Err(error) => Err(BoxError::from(error)),
        }
    });
    let mut response = response.map(|_| Body::empty());
    response.extensions_mut().insert(handle);
    response
}
