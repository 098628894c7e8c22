//! The head of an answer: read as a client, written as a server.

mod read;
mod write;

pub(crate) use read::{Head, HeadReader};
pub(crate) use write::{Date, Line, write_head};
