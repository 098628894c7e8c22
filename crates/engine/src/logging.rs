//! stub
use lb_core::backend::Address;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
#[derive(Clone)]
pub struct Logger;
impl Logger {
    pub(crate) fn malformed_request(&self, _p: SocketAddr, _e: &hyper::Error) {}
    pub(crate) fn accept_failed(&self, _e: &io::Error) {}
    pub(crate) fn reload_unsupported(&self) {}
    pub(crate) fn worker_failed(&self, _e: Option<io::Error>) {}
    pub(crate) fn stopping(&self, _a: Duration, _b: Duration) {}
    pub(crate) fn stopped(&self, _a: Duration, _b: usize) {}
    pub(crate) fn name_unresolved(&self, _a: &Address, _b: &io::Error) {}
}
