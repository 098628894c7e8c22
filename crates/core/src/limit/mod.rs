//! Limits that are rules: plain state, told the time.

pub(crate) mod concurrency;
