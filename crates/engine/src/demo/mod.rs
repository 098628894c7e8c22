//! placeholder

#![allow(dead_code)]
mod backend;
mod load;
mod picture;
mod programme;
mod story;
mod tally;
pub use backend::backend;
