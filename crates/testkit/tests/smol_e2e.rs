//! The end-to-end scenarios on the example of a third runtime.

lb_testkit::e2e_suite!(env!("CARGO_BIN_EXE_smol-proxy"), without demo);
