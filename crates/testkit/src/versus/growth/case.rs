//! What is varied, and how far it can be.

use std::time::Duration;

use crate::versus::bench::SPARE_FILES;

/// How much there is of what is not varied.
const MEMBERS: usize = 3;
const CONNECTIONS: usize = 64;
/// How long a balancer is warmed up, and how much longer for each member and each connection: until every worker has a
/// connection to every member.
const WARM: Duration = Duration::from_millis(500);
const WARM_EACH: Duration = Duration::from_millis(1);

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Members,
    Workers,
    Connections,
}

impl Axis {
    pub(super) const ALL: [Self; 3] = [Self::Members, Self::Workers, Self::Connections];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Workers => "workers",
            Self::Connections => "connections",
        }
    }

    /// How much of it there is to be.
    pub(super) fn sizes(self) -> &'static [usize] {
        match self {
            Self::Members => &[3, 10, 1_000, 10_000],
            Self::Workers => &[1, 2, 4],
            Self::Connections => &[10, 100, 1_000, 10_000],
        }
    }

    /// How many files one more of it opens in one process.
    fn files(self, workers: usize) -> usize {
        match self {
            // Every worker keeps a connection to every member.
            Self::Members => workers,
            Self::Workers => 0,
            // A request of each is under way at a member.
            Self::Connections => 2,
        }
    }
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) axis: Axis,
    pub(super) members: usize,
    pub(super) workers: usize,
    pub(super) connections: usize,
}

impl Case {
    pub(super) fn new(axis: Axis, size: usize, workers: usize) -> Self {
        let usual = Self {
            axis,
            members: MEMBERS,
            workers,
            connections: CONNECTIONS,
        };
        match axis {
            Axis::Members => Self {
                members: size,
                ..usual
            },
            Axis::Workers => Self {
                workers: size,
                ..usual
            },
            Axis::Connections => Self {
                connections: size,
                ..usual
            },
        }
    }

    /// How much there is of what is varied.
    pub(super) fn size(&self) -> usize {
        match self.axis {
            Axis::Members => self.members,
            Axis::Workers => self.workers,
            Axis::Connections => self.connections,
        }
    }

    /// What is not varied, in words.
    pub(super) fn others(&self) -> String {
        let Self {
            members,
            workers,
            connections,
            ..
        } = self;
        match self.axis {
            Axis::Members => format!("{connections} connections, workers = {workers}"),
            Axis::Workers => format!("{connections} connections, {members} members"),
            Axis::Connections => format!("{members} members, workers = {workers}"),
        }
    }

    pub(super) fn warm(&self) -> Duration {
        let many = u32::try_from(self.members + self.connections).unwrap_or(u32::MAX);
        WARM + WARM_EACH.saturating_mul(many)
    }
}

/// All cases, as far as a process may have so many files open.
pub(super) fn cases(workers: usize, files: u64) -> Vec<Case> {
    let room = usize::try_from(files.saturating_sub(SPARE_FILES)).unwrap_or(usize::MAX);
    let mut cases = Vec::new();
    for axis in Axis::ALL {
        let most = room.checked_div(axis.files(workers)).unwrap_or(usize::MAX);
        let sizes = axis.sizes().iter().map(|size| (*size).min(most).max(1));
        cases.extend(sizes.map(|size| Case::new(axis, size, workers)));
    }
    cases.dedup();
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(files: u64, axis: Axis) -> Vec<usize> {
        let cases = cases(2, files);
        let of_axis = cases.iter().filter(|case| case.axis == axis);
        of_axis.map(Case::size).collect()
    }

    #[test]
    fn what_is_varied_is_varied_alone() {
        for case in cases(2, 1 << 20) {
            let (members, workers, connections) = (case.members, case.workers, case.connections);
            match case.axis {
                Axis::Members => assert_eq!((workers, connections), (2, CONNECTIONS)),
                Axis::Workers => assert_eq!((members, connections), (MEMBERS, CONNECTIONS)),
                Axis::Connections => assert_eq!((members, workers), (MEMBERS, 2)),
            }
        }
        for axis in Axis::ALL {
            assert_eq!(sizes(1 << 20, axis), axis.sizes());
        }
    }

    #[test]
    fn there_are_no_more_members_and_connections_than_files_can_be_open() {
        assert_eq!(sizes(20_000, Axis::Members), [3, 10, 1_000, 9_500]);
        assert_eq!(sizes(20_000, Axis::Connections), [10, 100, 1_000, 9_500]);
        assert_eq!(sizes(2_000, Axis::Members), [3, 10, 500]);
        assert_eq!(sizes(1_024, Axis::Connections), [10, 12]);
        assert_eq!(sizes(256, Axis::Members), [1]);
        assert_eq!(sizes(256, Axis::Workers), [1, 2, 4]);
    }
}
