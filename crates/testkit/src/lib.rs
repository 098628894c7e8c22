//! What proves the load balancer. It gets into no shipped binary.
//!
//! * [`e2e`] — scenarios on real sockets against a whole binary, written once, run by each adapter;
//!   [`process`], [`client`] and [`backend`] are the hands they work with, [`wire`] their eyes.

pub mod backend;
pub mod client;
pub mod e2e;
pub mod process;
pub mod wait;
pub mod wire;
