//! placeholder

mod picture;
mod programme;
mod story;
mod tally;
