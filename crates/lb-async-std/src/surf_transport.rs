//! surf as a [`Transport`], for the control plane: health probes, later discovery.
//!
//! surf runs over an HTTP client of ours that is backed by the engine's, because its own hands one user's unread bytes
//! to the next and takes short bodies for whole ones. surf's types know neither every status nor every header byte,
//! and normalise paths: so the original heads travel beside them, and both binaries judge alike.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use http::header::UPGRADE;
use http::{Request, Response, request, response};
use http_client::http_types::{self, Error, Method, StatusCode, Url};
use http_client::{Config, HttpClient};
use lb_core::backend::Backend;
use lb_core::body::Body;
use lb_core::error::{Cause, Phase, TransportError};
use lb_core::time::Instant;
use lb_core::transport::{Attempt, Capabilities, Reuse, Transport};

use crate::AsyncStdTransport;
use crate::surf_body::{from_surf, to_surf};

/// HTTP by way of surf. It carries plain requests and responses, and no upgrade, no trailers, no opaque bytes.
#[derive(Clone, Debug)]
pub struct SurfTransport {
    surf: surf::Client,
    engine: AsyncStdTransport,
}

impl SurfTransport {
    /// surf over `engine`, whose connections, limits and names it shares.
    pub fn new(engine: AsyncStdTransport) -> Self {
        let http = EngineHttp {
            engine: engine.clone(),
            config: Config::default(),
        };
        Self {
            surf: surf::Client::with_http_client(http),
            engine,
        }
    }
}

impl Transport for SurfTransport {
    async fn send(
        &self,
        to: &Attempt<'_>,
        request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        if request.headers().contains_key(UPGRADE) {
            let error = TransportError::undelivered(Phase::SendHead, Cause::Unsupported);
            return Err(error.with_unsent(request));
        }
        // A body in memory is given back as one.
        let in_memory = request.body().as_bytes();
        match self.surf.send(surf_request(to, request)).await {
            Ok(response) => core_response(response),
            Err(error) => {
                let mut error = carried(error);
                if let (Some(unsent), Some(bytes)) = (&mut error.unsent, in_memory) {
                    *unsent.body_mut() = bytes.into();
                }
                Err(error)
            }
        }
    }

    async fn check(&self, to: &Attempt<'_>) -> Result<(), TransportError> {
        self.engine.check(to).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            early_response: true,
            ..Capabilities::default()
        }
    }
}

/// What travels beside surf's request: where to, and the head as it was.
struct Errand {
    backend: Backend,
    connect_deadline: Instant,
    reuse: Reuse,
    head: request::Parts,
}

/// What travels beside surf's response.
struct Answered(response::Parts);

/// What travels inside surf's error, whose type wants to be `Sync`.
#[derive(Debug)]
struct Carried(Mutex<Option<TransportError>>);

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("request failed")
    }
}

impl std::error::Error for Carried {}

/// The request as far as surf's types can say it, and the original beside it.
fn surf_request(to: &Attempt<'_>, request: Request<Body>) -> surf::Request {
    let (head, body) = request.into_parts();
    let method = Method::from_str(head.method.as_str()).unwrap_or(Method::Get);
    let mut request = surf::Request::new(method, url(&to.backend.address.to_string(), &head));
    for (name, value) in &head.headers {
        if let Ok(value) = value.to_str() {
            request.append_header(name.as_str(), value);
        }
    }
    request.set_body(to_surf(body));
    request.set_ext(Errand {
        backend: to.backend.clone(),
        connect_deadline: to.connect_deadline,
        reuse: to.reuse,
        head,
    });
    request
}

/// A URL like the one that is asked for; only people read it.
fn url(authority: &str, head: &request::Parts) -> Url {
    let base = format!("http://{authority}");
    Url::parse(&format!("{base}{}", head.uri))
        .or_else(|_| Url::parse(&base))
        .unwrap_or_else(|_| Url::parse("http://backend.invalid/").expect("a constant that parses"))
}

fn core_response(mut response: surf::Response) -> Result<Response<Body>, TransportError> {
    let body = from_surf(response.take_body());
    match response.ext::<Answered>() {
        Some(Answered(head)) => Ok(Response::from_parts(head.clone(), body)),
        None => Err(TransportError::delivered(Phase::ReceiveHead, Cause::Other)),
    }
}

/// Our error inside surf's.
fn carried(error: Error) -> TransportError {
    let unknown = || TransportError::delivered(Phase::SendHead, Cause::Other);
    match error.downcast::<Carried>() {
        Ok(Carried(slot)) => slot
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .unwrap_or_else(unknown),
        Err(error) => unknown().with_source(error.to_string()),
    }
}

/// The engine's client in the shape that surf drives.
#[derive(Debug)]
struct EngineHttp {
    engine: AsyncStdTransport,
    config: Config,
}

#[async_trait]
impl HttpClient for EngineHttp {
    async fn send(&self, mut request: http_types::Request) -> Result<http_types::Response, Error> {
        let errand = request.ext_mut().remove::<Errand>();
        // Only `SurfTransport` holds this client, and it says where to go.
        let errand = errand.ok_or_else(|| {
            Error::from_str(StatusCode::InternalServerError, "a request without errand")
        })?;
        let attempt = Attempt {
            backend: &errand.backend,
            connect_deadline: errand.connect_deadline,
            reuse: errand.reuse,
        };
        let body = from_surf(request.take_body());
        let request = Request::from_parts(errand.head, body);
        match self.engine.send(&attempt, request).await {
            Ok(response) => Ok(surf_response(response)),
            Err(error) => {
                let carried = Carried(Mutex::new(Some(error)));
                Err(Error::new(StatusCode::BadGateway, carried))
            }
        }
    }

    fn set_config(&mut self, config: Config) -> Result<(), Error> {
        self.config = config;
        Ok(())
    }

    fn config(&self) -> &Config {
        &self.config
    }
}

/// The response as far as surf's types can say it, and the original beside it.
fn surf_response(response: Response<Body>) -> http_types::Response {
    let (head, body) = response.into_parts();
    let mut response = http_types::Response::new(surf_status(head.status));
    response.set_body(to_surf(body));
    for (name, value) in &head.headers {
        if let Ok(value) = value.to_str() {
            response.append_header(name.as_str(), value);
        }
    }
    response.ext_mut().insert(Answered(head));
    response
}

/// The status, or for one that surf does not know the first of its class (RFC 9110 §15).
fn surf_status(status: http::StatusCode) -> StatusCode {
    let class = status.as_u16() / 100 * 100;
    StatusCode::try_from(status.as_u16())
        .or_else(|_| StatusCode::try_from(class))
        .unwrap_or(StatusCode::InternalServerError)
}
