//! Scenarios.
pub mod setup;
