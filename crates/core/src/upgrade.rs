//! Upgrades (RFC 9110 §7.8): a message carries a handle that becomes a duplex stream after the 101.
//!
//! Whoever speaks HTTP puts a [`UpgradeHandle`] into the message's extensions: a server into the request it
//! received, a transport into the 101 response. The forwarder takes both and hands back a
//! [`Tunnel`](crate::forward::Tunnel).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::io::{AsyncRead, AsyncWrite};

use crate::error::BoxError;

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Pending = Pin<Box<dyn Future<Output = Result<Box<dyn Duplex>, BoxError>> + Send>>;

/// The promise of a duplex stream. Clones share it: the first to take it gets it.
///
/// Dropping every clone untaken closes the connection.
#[derive(Clone)]
pub struct UpgradeHandle(Arc<Mutex<Option<Pending>>>);

impl UpgradeHandle {
    /// Wraps a future that yields the stream once the 101 has gone through.
    pub fn new<F>(pending: F) -> Self
    where
        F: Future<Output = Result<Box<dyn Duplex>, BoxError>> + Send + 'static,
    {
        Self(Arc::new(Mutex::new(Some(Box::pin(pending)))))
    }

    /// Takes the promise; `None` if another clone was first.
    pub fn take(
        &self,
    ) -> Option<impl Future<Output = Result<Box<dyn Duplex>, BoxError>> + Send + use<>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for UpgradeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpgradeHandle")
    }
}
