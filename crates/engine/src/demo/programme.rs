//! The programme: what happens to which server, when, and what the spectator is told. Plain data.

use std::time::Duration;

/// How many servers there are; [`NAMES`] has their names.
pub(super) const SERVERS: usize = 3;

/// What the servers are called, in the order of the pool.
pub(super) const NAMES: [&str; SERVERS] = ["a", "b", "c"];

/// What is done to the servers when a step begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Nothing.
    Watch,
    /// They are ended by SIGKILL.
    Kill(&'static [usize]),
    /// They are started again, at the same address.
    Start(&'static [usize]),
    /// It is stopped by SIGSTOP.
    Freeze(usize),
    /// It goes on by SIGCONT.
    Thaw(usize),
}

/// One scene.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// What is done at its beginning.
    pub(super) act: Act,
    /// How long it lasts.
    pub(super) lasts: Duration,
    /// What just happened.
    pub(super) title: &'static str,
    /// What the balancer makes of it.
    pub(super) meaning: [&'static str; 2],
    /// What to look at.
    pub(super) look: &'static str,
}

/// The whole programme: less than 25 seconds.
pub(super) const PROGRAMME: [Step; 7] = [
    Step {
        act: Act::Watch,
        lasts: Duration::from_secs(3),
        title: "All three servers are well.",
        meaning: [
            "The balancer gives each of them a request in turn: a, b, c, a, b, c ...",
            "",
        ],
        look: "the answers per second: a third of them comes from each server.",
    },
    Step {
        act: Act::Kill(&[1]),
        lasts: Duration::from_secs(4),
        title: "Server b was just killed (SIGKILL).",
        meaning: [
            "Its connections are refused. The request that found out was sent to another",
            "server, and so are all that come now: to a and c.",
        ],
        look: "\"failed\". It stays 0.",
    },
    Step {
        act: Act::Start(&[1]),
        lasts: Duration::from_secs(3),
        title: "Server b was started again.",
        meaning: [
            "The balancer kept knocking at its door five times a second. It opens twice,",
            "and b is back in the round.",
        ],
        look: "the answers of b. They are back within half a second.",
    },
    Step {
        act: Act::Freeze(2),
        lasts: Duration::from_secs(5),
        title: "Server c was just frozen (SIGSTOP): it takes requests and never answers.",
        meaning: [
            "Nothing fails, everything waits. The balancer knows how fast c was,",
            "calls it stalled after a tenth of a second, and asks a and b instead.",
        ],
        look: "\"waiting\". It falls back to 0 at once, and nothing fails.",
    },
    Step {
        act: Act::Thaw(2),
        lasts: Duration::from_secs(3),
        title: "Server c runs again (SIGCONT).",
        meaning: [
            "The balancer kept asking for a sign of life. With the first byte it is back",
            "in the round.",
        ],
        look: "the answers of c. They are back at once.",
    },
    Step {
        act: Act::Kill(&[0, 1, 2]),
        lasts: Duration::from_millis(2500),
        title: "All three servers were just killed.",
        meaning: [
            "Nobody is left, and the balancer says so at once: status 503, with the cause.",
            "No client hangs.",
        ],
        look: "\"slowest\". Even the bad news comes fast.",
    },
    Step {
        act: Act::Start(&[0, 1, 2]),
        lasts: Duration::from_millis(3500),
        title: "All three servers were started again.",
        meaning: [
            "The balancer finds them by itself, each within a fraction of a second.",
            "",
        ],
        look: "the answers. That was all; the summary follows.",
    },
];

/// What an incident is called in the summary; `None` for acts that are none.
pub(super) fn incident(act: Act) -> Option<String> {
    match act {
        Act::Watch | Act::Start(_) | Act::Thaw(_) => None,
        Act::Kill([one]) => Some(format!("{} killed", NAMES[*one])),
        Act::Kill(_) => Some("all killed".to_owned()),
        Act::Freeze(one) => Some(format!("{} frozen", NAMES[one])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::picture::WIDTH;

    #[test]
    fn the_programme_takes_less_than_twenty_five_seconds() {
        let total: Duration = PROGRAMME.iter().map(|step| step.lasts).sum();
        assert!(total <= Duration::from_millis(24_500), "{total:?}");
    }

    #[test]
    fn every_server_is_well_after_the_last_step_and_nobody_is_hurt_twice() {
        let (mut dead, mut frozen) = ([false; SERVERS], [false; SERVERS]);
        for step in PROGRAMME {
            match step.act {
                Act::Watch => assert_eq!((dead, frozen), ([false; 3], [false; 3])),
                Act::Kill(who) => who.iter().for_each(|&i| {
                    assert!(!std::mem::replace(&mut dead[i], true) && !frozen[i]);
                }),
                Act::Start(who) => who
                    .iter()
                    .for_each(|&i| assert!(std::mem::take(&mut dead[i]))),
                Act::Freeze(i) => assert!(!std::mem::replace(&mut frozen[i], true) && !dead[i]),
                Act::Thaw(i) => assert!(std::mem::take(&mut frozen[i])),
            }
        }
        assert_eq!((dead, frozen), ([false; 3], [false; 3]));
    }

    #[test]
    fn every_sentence_fits_its_line() {
        for step in PROGRAMME {
            assert!(step.title.len() + "7/7  ".len() < WIDTH, "{}", step.title);
            assert!(step.look.len() + "look at: ".len() < WIDTH - 2);
            for line in step.meaning {
                assert!(line.is_ascii() && line.len() < WIDTH - 1, "{line}");
            }
        }
    }
}
