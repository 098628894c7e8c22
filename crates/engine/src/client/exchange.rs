//! One request and the head of its answer, on one connection.

use std::future::poll_fn;
use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use lb_core::body::Body;
use lb_core::error::{BoxError, Cause, TransportError};
use lb_core::time::Timer;
use lb_core::upgrade::{Duplex, UpgradeHandle};

use super::body::ResponseBody;
use super::failure::{Broken, exchange_failure, invalid_answer};
use super::habit;
use super::idle::Idle;
use super::link::Link;
use crate::duplex::DuplexStream;
use crate::http1::{
    Framing, ResponseHead as Head, ResponseReader as HeadReader, Stream, has_token,
};

/// Why there is no answer.
pub(super) enum Failure {
    /// Nothing was sent; the request is as it was.
    Unsent(Broken),
    /// Something may have been sent.
    Failed(TransportError),
}

/// Sends `request` and waits for the head of the answer. What is left of the request then is of no use, unless nothing
/// was sent.
///
/// Dropping the future closes the connection.
// By reference, because each future that it is moved through would have room for it.
pub(super) async fn exchange<S: Stream, C: Timer>(
    mut link: Box<Link<S>>,
    request: &mut Request<Body>,
    framing: Framing,
    idle: &Arc<Idle<S, C>>,
) -> Result<Response<Body>, Failure> {
    let upgrade = request.headers().contains_key(UPGRADE);
    link.reusable &= !upgrade && !says_close(request.headers());
    link.begin(request, framing);
    let mut reader = HeadReader::new(link.limits, *request.method() == Method::HEAD);
    let fields = request.headers_mut();
    let head = match poll_fn(|cx| link.poll_head(&mut reader, fields, cx)).await {
        Ok(head) => head,
        Err(broken) => {
            let upload = link.upload();
            return Err(match upload.take_back() {
                Some(body) => {
                    *request.body_mut() = body;
                    Failure::Unsent(broken)
                }
                None => {
                    let failure = exchange_failure(broken, upload);
                    if failure.cause == Cause::Closed {
                        idle.closed(&link);
                    }
                    Failure::Failed(failure)
                }
            });
        }
    };
    answer(link, head, upgrade, idle).map_err(Failure::Failed)
}

fn says_close(headers: &HeaderMap) -> bool {
    let mut connection = headers.get_all(CONNECTION).iter();
    connection.any(|said| has_token(said, "close"))
}

/// Puts an answer together. What its head leaves of the connection is its body's.
fn answer<S: Stream, C: Timer>(
    mut link: Box<Link<S>>,
    head: Head,
    upgrade: bool,
    idle: &Arc<Idle<S, C>>,
) -> Result<Response<Body>, TransportError> {
    if head.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // One that nobody asked for would turn what follows into another protocol's bytes.
        return if upgrade {
            Ok(switched(link, head.response))
        } else {
            Err(invalid_answer())
        };
    }
    link.reusable &= head.kept && !head.body.may_end();
    if let Some(said) = &head.keep_alive {
        link.rest = habit::stated(said);
    }
    let body = if !head.body.is_at_end() {
        Body::stream(ResponseBody::new(head.body, link, idle.clone()))
    } else {
        if link.settle() {
            idle.put(link);
        }
        Body::empty()
    };
    Ok(head.response.map(|()| body))
}

/// A 101: the connection belongs to whoever takes the handle, once the request is out.
fn switched<S: Stream>(mut link: Box<Link<S>>, response: Response<()>) -> Response<Body> {
    let handle = UpgradeHandle::new(async move {
        poll_fn(|cx| link.poll_sent(cx))
            .await
            .map_err(BoxError::from)?;
        let (stream, early) = link.into_stream();
        Ok(Box::new(DuplexStream::behind(early, stream)) as Box<dyn Duplex>)
    });
    let mut response = response.map(|()| Body::empty());
    response.extensions_mut().insert(handle);
    response
}
