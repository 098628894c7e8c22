//! What proves the load balancer. It gets into no shipped binary.
//!
//! * [`conformance`] — what "works" means for a runtime and for a transport; each adapter calls it.
//! * [`sim`] — a runtime whose time, network and schedule follow from a seed, and a world to put the proxy in.
//! * [`e2e`] — scenarios on real sockets against a whole binary, written once, run by each adapter;
//!   [`process`], [`client`] and [`backend`] are the hands they work with, [`wire`] their eyes.
//! * [`versus`] — our binaries beside the well-known balancers: speed, memory, and what an incident costs.

pub mod backend;
pub mod client;
pub mod conformance;
pub mod e2e;
pub mod process;
pub mod sim;
pub mod versus;
pub mod wait;
pub mod wire;
