//! The end-to-end scenarios of the test kit, on this crate's binary.

lb_testkit::e2e_suite!(env!("CARGO_BIN_EXE_lb-tokio"));
