//! The server side: accept, serve one connection, watch its deadlines, drain.

pub(crate) mod accept;
pub(crate) mod connection;
mod date;
pub(crate) mod drain;
mod linger;
mod link;
mod request_body;
pub(crate) mod stream;
pub(crate) mod watch;

#[cfg(test)]
mod tests;
