//! The transport suite can fail: each of these transports breaks one obligation, and is caught.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use lb_core::body::Body;
use lb_core::error::{BodyError, Cause, Phase, TransportError};
use lb_core::rng::Rng;
use lb_core::time::Instant;
use lb_core::transport::{Attempt, Capabilities, Reuse, Transport};
use lb_engine::client::{Client, ClientSettings};
use lb_engine::names::Names;
use lb_engine::rt::Runtime as _;
use lb_testkit::conformance::{self, Subject};
use lb_testkit::sim::{Sim, SimNet, SimRuntime, SimTimer};

const KEEPS_THE_REQUEST: u8 = 0;
const SENDS_TWICE: u8 = 1;
const CUTS_LOOK_COMPLETE: u8 = 2;
const COLLECTS: u8 = 3;
const IGNORES_DEADLINES: u8 = 4;
const ALWAYS_REUSES: u8 = 5;
const ADDS_COOKIES: u8 = 6;
const TOUCHES_BODIES: u8 = 7;

/// The engine's client, and one sin.
struct Sinner<const SIN: u8>(Client<SimNet, SimTimer>);

impl<const SIN: u8> Transport for Sinner<SIN> {
    async fn send(
        &self,
        to: &Attempt<'_>,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        let mut to = *to;
        match SIN {
            IGNORES_DEADLINES => to.connect_deadline = Instant::NEVER,
            ALWAYS_REUSES => to.reuse = Reuse::Allowed,
            ADDS_COOKIES => {
                let cookie = HeaderValue::from_static("a=b");
                request.headers_mut().insert("cookie", cookie);
            }
            TOUCHES_BODIES if request.uri() == "/refused" => {
                std::future::poll_fn(|cx| {
                    let _ = Pin::new(request.body_mut()).poll_frame(cx);
                    Poll::Ready(())
                })
                .await;
            }
            _ => {}
        }
        let again = request.uri().clone();
        match self.0.send(&to, request).await {
            Err(mut error) if SIN == KEEPS_THE_REQUEST => {
                error.unsent = None;
                Err(error)
            }
            Err(error) if SIN == SENDS_TWICE && error.unsent.is_none() => {
                let mut request = Request::new(Body::empty());
                *request.uri_mut() = again;
                let host = HeaderValue::from_static("example.test");
                request.headers_mut().insert("host", host);
                self.0.send(&to, request).await
            }
            Ok(response) if SIN == CUTS_LOOK_COMPLETE => {
                Ok(response.map(|body| Body::stream(Hushed(body))))
            }
            Ok(response) if SIN == COLLECTS => {
                let (head, mut body) = response.into_parts();
                let mut all = Vec::new();
                while let Some(frame) =
                    std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
                {
                    let cut = |_| TransportError::delivered(Phase::ReceiveBody, Cause::Closed);
                    all.extend(frame.map_err(cut)?.into_data().unwrap_or_default());
                }
                Ok(Response::from_parts(head, Body::from(Bytes::from(all))))
            }
            result => result,
        }
    }

    async fn check(&self, to: &Attempt<'_>) -> Result<(), TransportError> {
        self.0.check(to).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::FULL
    }
}

/// A body whose errors are kept from the reader.
struct Hushed(Body);

impl http_body::Body for Hushed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.0).poll_frame(cx) {
            Poll::Ready(Some(Err(_))) => Poll::Ready(None),
            other => other,
        }
    }
}

fn judge<const SIN: u8>() {
    let sim = Sim::new(u64::from(SIN));
    let hole = SocketAddr::from(([10, 0, 0, 99], 80));
    sim.cut(hole.ip());
    let subject = Subject {
        runtime: &sim.runtime([10, 0, 0, 1].into()),
        make: |runtime: &SimRuntime| {
            Sinner::<SIN>(Client::new(
                runtime.net().clone(),
                runtime.timer().clone(),
                Arc::new(Names::default()),
                ClientSettings::default(),
                Rng::new(0),
            ))
        },
        hole,
    };
    conformance::transport(&subject, &|case| sim.block_on(case));
}

#[test]
#[should_panic(expected = "come back")]
fn a_transport_that_keeps_an_unsent_request_is_caught() {
    judge::<KEEPS_THE_REQUEST>();
}

#[test]
#[should_panic(expected = "MUST NOT be sent again")]
fn a_transport_that_sends_twice_is_caught() {
    judge::<SENDS_TWICE>();
}

#[test]
#[should_panic(expected = "an incomplete body MUST end with an error")]
fn a_transport_that_hushes_up_a_cut_is_caught() {
    judge::<CUTS_LOOK_COMPLETE>();
}

#[test]
#[should_panic(expected = "`a_response_streams` did not end")]
fn a_transport_that_collects_bodies_is_caught() {
    judge::<COLLECTS>();
}

#[test]
#[should_panic(expected = "`the_connect_deadline_is_honoured` did not end")]
fn a_transport_without_deadlines_is_caught() {
    judge::<IGNORES_DEADLINES>();
}

#[test]
#[should_panic(expected = "`Reuse::Fresh` was asked for")]
fn a_transport_that_probes_on_kept_connections_is_caught() {
    judge::<ALWAYS_REUSES>();
}

#[test]
#[should_panic(expected = "cookies MUST NOT be added")]
fn a_transport_that_adds_cookies_is_caught() {
    judge::<ADDS_COOKIES>();
}

#[test]
#[should_panic(expected = "its body MUST be unpolled")]
fn a_transport_that_touches_unsent_bodies_is_caught() {
    judge::<TOUCHES_BODIES>();
}
