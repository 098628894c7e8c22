//! placeholder

#![allow(dead_code)]
mod backend;
mod load;
mod picture;
mod programme;
mod screen;
mod story;
mod tally;
pub use backend::backend;
