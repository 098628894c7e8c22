//! The HTTP/1.1 client: connections to backends over any [`Net`](crate::rt::Net), kept and used again.
//!
//! [`Client`] never chooses a backend, never repeats what may have been delivered, and starts no task: whoever waits for an
//! answer, or reads its body, drives the connection it comes from. How HTTP/1.1 is written and read is in `http1`; what to do with a connection before, between and after its requests is in the other files.

mod body;
mod connect;
mod exchange;
mod failure;
mod habit;
mod idle;
mod link;
mod transport;
mod upload;

#[cfg(test)]
mod tests;

pub use transport::{Client, ClientSettings};
