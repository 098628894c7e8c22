//! Health: plain rules that are told the time, and the monitor that drives them.
//!
//! The rules (`tracker`, `probe`, `schedule` on an `agenda`, `trial`, `stall`, `inquiry`, `alarm`, `normal`, `outlier`) change nothing by themselves: the
//! [pool](crate::pool) applies them. Only [`monitor`] does I/O, and it decides nothing.

pub(crate) mod agenda;
pub(crate) mod alarm;
pub(crate) mod inquiry;
mod monitor;
pub(crate) mod normal;
pub(crate) mod outlier;
pub(crate) mod probe;
pub(crate) mod schedule;
mod search;
pub(crate) mod slow;
pub(crate) mod stall;
#[cfg(test)]
mod tests;
pub(crate) mod tracker;
pub(crate) mod trial;

pub use monitor::monitor;
