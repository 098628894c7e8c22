//! An HTTP/1.1 load balancer over any async runtime.
//!
//! `lb-core` decides; this crate speaks HTTP (over hyper), composes the proxy and owns its command line. A
//! [`Runtime`](rt::Runtime) brings sockets, sleep, tasks and threads.

pub mod app;
pub mod cli;
pub mod client;
pub mod demo;
pub mod duplex;
mod files;
#[cfg(test)]
mod hand;
pub mod hyper_timer;
pub mod io;
pub mod logging;
pub mod names;
pub mod rt;
pub mod run;
mod server;
