//! How many connections this process may hold: the open-file limit, raised as far as it goes.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors kept back for listeners, probes, logs and whatever a runtime opens for itself.
const RESERVE: u64 = 64;

/// Raises the soft limit of open files to the hard one, and says how many client connections fit: `wanted` at most,
/// each with an upstream connection of its own.
pub(crate) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let open_files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    fitting(wanted, open_files)
}

/// `None` is no limit.
fn fitting(wanted: usize, open_files: Option<u64>) -> usize {
    let Some(open_files) = open_files else {
        return wanted;
    };
    let fit = open_files.saturating_sub(RESERVE) / 2;
    wanted
        .min(usize::try_from(fit).unwrap_or(usize::MAX))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_needs_two_descriptors_and_some_are_kept_back() {
        assert_eq!(fitting(10_000, Some(1_024)), 480);
        assert_eq!(fitting(100, Some(1_024)), 100);
        assert_eq!(fitting(100, None), 100);
        assert_eq!(
            fitting(100, Some(10)),
            1,
            "one connection at least, or nothing works"
        );
    }
}
