//! What the balancers are given to do.

use std::fmt;

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    W1,
    W2,
    W3,
    W4,
    W5,
    W6,
    W1r,
    R,
}

/// The requests of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// How many bytes each asks for.
    pub(super) bytes: usize,
    /// How many bytes each carries.
    pub(super) upload: usize,
    pub(super) connections: usize,
    /// A connection for each request.
    pub(super) fresh: bool,
    /// At a constant rate?
    pub(super) constant: bool,
}

impl Work {
    /// In the order in which they are done.
    pub(super) const ALL: [Self; 8] = [
        Self::W1,
        Self::W2,
        Self::W3,
        Self::W4,
        Self::W5,
        Self::W6,
        Self::W1r,
        Self::R,
    ];

    /// The requests of W1.
    pub(super) const SMALL: Shape = Shape {
        bytes: 128,
        upload: 0,
        connections: 64,
        fresh: false,
        constant: false,
    };

    /// What it is.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::W1 => "GET 128 B, 64 connections",
            Self::W2 => "GET 16 KiB, 64 connections",
            Self::W3 => "GET 1 MiB, 16 connections",
            Self::W4 => "POST 64 KiB, 64 connections",
            Self::W5 => "GET 128 B, a new connection for each request",
            Self::W6 => "GET 128 B, 1,000 connections",
            Self::W1r => {
                "GET 128 B at a constant rate, 64 connections; times from when a request was due"
            }
            Self::R => "memory with idle clients",
        }
    }

    /// Its requests; `None` for idle clients.
    pub(super) fn shape(self) -> Option<Shape> {
        let small = Self::SMALL;
        Some(match self {
            Self::W1 => small,
            Self::W2 => Shape {
                bytes: 16 << 10,
                ..small
            },
            Self::W3 => Shape {
                bytes: 1 << 20,
                connections: 16,
                ..small
            },
            Self::W4 => Shape {
                bytes: 2,
                upload: 64 << 10,
                ..small
            },
            Self::W5 => Shape {
                fresh: true,
                ..small
            },
            Self::W6 => Shape {
                connections: 1000,
                ..small
            },
            Self::W1r => Shape {
                constant: true,
                ..small
            },
            Self::R => return None,
        })
    }

    /// Reads a list such as `W1,W3`, or `all`.
    ///
    /// # Errors
    /// When a name is none of theirs.
    pub(super) fn list(text: &str) -> Result<Vec<Self>, String> {
        if text == "all" {
            return Ok(Self::ALL.to_vec());
        }
        let mut works = Vec::new();
        for name in text.split(',') {
            let found = Self::ALL
                .iter()
                .find(|work| work.to_string().eq_ignore_ascii_case(name.trim()));
            let work = found.ok_or_else(|| {
                let all: Vec<_> = Self::ALL.iter().map(ToString::to_string).collect();
                format!("no workload {name:?}: there are all, {}", all.join(", "))
            })?;
            if !works.contains(work) {
                works.push(*work);
            }
        }
        Ok(works)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_workloads_is_read_in_its_order_each_once() {
        assert_eq!(
            Work::list("W3, w1,W3,W1r"),
            Ok(vec![Work::W3, Work::W1, Work::W1r])
        );
        assert_eq!(Work::list("all").unwrap().len(), 8);
        for wrong in ["", "W7", "W1,,W2", "W1;W2"] {
            assert!(Work::list(wrong).unwrap_err().contains("W1r, R"), "{wrong}");
        }
    }
}
