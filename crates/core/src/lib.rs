//! The deciding half of an HTTP load balancer, on no runtime.
//!
//! This crate holds the pool of backends, the balancing algorithms, the health model and the story of one
//! forwarded request. It opens no socket, reads no clock, spawns nothing and knows no HTTP library: a
//! [`Transport`](transport::Transport) carries requests, a [`Timer`](time::Timer) tells the time, and the futures
//! it hands out are driven by whoever embeds it.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod backend;
pub mod body;
pub mod config;
pub mod decision;
pub mod error;
pub mod event;
pub mod forward;
pub mod health;
mod limit;
pub mod picker;
pub mod pool;
pub mod rng;
pub mod time;
pub mod transport;
pub mod upgrade;
