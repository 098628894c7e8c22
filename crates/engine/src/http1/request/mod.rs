//! The head of a request: read as a server, written as a client.

mod read;
mod write;

pub(crate) use read::{Head, HeadReader, Refused};
pub(crate) use write::write_head;
