//! The HTTP/1.1 client: connections to backends over any [`Net`](crate::rt::Net), kept and used again.
//!
//! All of hyper's client stands behind [`Client`]. It never chooses a backend, never repeats what may have been
//! delivered, and starts no task: whoever waits for an answer, or reads its body, drives the connection it comes from.

mod body;
mod connect;
mod exchange;
mod failure;
mod habit;
mod idle;
mod link;
mod transport;

#[cfg(test)]
mod tests;

pub use transport::{Client, ClientSettings};
