//! What proves the load balancer: a simulated runtime, and the suites that say what "works" means.

pub mod conformance;
pub mod sim;
