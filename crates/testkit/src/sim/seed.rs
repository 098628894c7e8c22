//! Seeds: one number from which every draw of a simulation follows.
//!
//! Each part of the world draws from a generator of its own, so that taking a fault away does not reshuffle what the
//! others do.

use lb_core::rng::Rng;

/// Replays one seed instead of the usual ones.
pub const SEED_VARIABLE: &str = "LB_SIM_SEED";

/// The generators of one simulation.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) schedule: Rng,
    pub(super) network: Rng,
    pub(super) clients: Rng,
    pub(super) backends: Rng,
    pub(super) balancer: Rng,
    pub(super) faults: Rng,
}

impl Streams {
    /// The order of the fields is part of every seed's meaning: add at the end.
    pub(super) fn new(seed: u64) -> Self {
        let root = Rng::new(seed);
        Self {
            schedule: root.split(),
            network: root.split(),
            clients: root.split(),
            backends: root.split(),
            balancer: root.split(),
            faults: root.split(),
        }
    }
}

/// The seeds that a test runs: `0..count`, or the one in `LB_SIM_SEED`.
///
/// # Panics
/// If the variable holds something that is no number.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var(SEED_VARIABLE) {
        Ok(text) => vec![
            text.trim()
                .parse()
                .expect("LB_SIM_SEED is a decimal number"),
        ],
        Err(_) => (0..count).collect(),
    }
}

/// Says how to replay, if it is dropped by a panic.
pub(super) struct Replay(pub(super) u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report(&format!(
                "the simulation failed; replay it with {SEED_VARIABLE}={}",
                self.0
            ));
        }
    }
}

/// A line for whoever reads the test's output.
pub(super) fn report(line: &str) {
    eprintln!("{line}");
}
