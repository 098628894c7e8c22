//! The fault drill: what usual incidents cost the clients of a balancer that was set up with its defaults.
//!
//! Three servers that take some milliseconds for an answer, 1,000 requests a second over 64 connections, and one
//! incident for each fresh start of a balancer: calm, trouble, healing, calm.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::balancer::{Balancer, Ground, Start};
use super::child::{Port, Servers};
use super::load::{self, Plan, Sample};
use super::peers::{Peer, Style};
use super::report::table;
use super::tally::{Tally, tally};

const CONNECTIONS: usize = 64;
const RATE: f64 = 1_000.0;
/// How long a server that is well takes for an answer; a slow one takes ten times as long.
const ANSWER: Duration = Duration::from_millis(5);
/// When the incident begins, and when it is over.
const TROUBLE: Duration = Duration::from_secs(1);
const HEALING: Duration = Duration::from_millis(3_500);
/// One half of a flap: so long gone, so long back.
const FLAP: Duration = Duration::from_millis(400);
const END: Duration = Duration::from_secs(6);
/// How long the last requests may still take.
const LINGER: Duration = Duration::from_secs(1);
/// How long a balancer may look at its servers before the load comes.
const REST: Duration = Duration::from_millis(500);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incident {
    Killed,
    Frozen,
    Flapping,
    Slow,
    AllDown,
}

impl Incident {
    const ALL: [Self; 5] = [
        Self::Killed,
        Self::Frozen,
        Self::Flapping,
        Self::Slow,
        Self::AllDown,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Killed => "one of three killed (KILL), and started again",
            Self::Frozen => "one of three frozen (STOP), and thawed (CONT)",
            Self::Flapping => "one of three killed and started again, over and over",
            Self::Slow => "one of three ten times slower, for a while",
            Self::AllDown => "all three killed, and started again",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Frozen => "frozen",
            Self::Flapping => "flapping",
            Self::Slow => "slow",
            Self::AllDown => "all-down",
        }
    }

    /// What is done to the servers, and when; the last step heals.
    fn script(self) -> Vec<(Duration, Step)> {
        match self {
            Self::Killed => vec![(TROUBLE, Step::Kill(0)), (HEALING, Step::Start(0))],
            Self::Frozen => vec![(TROUBLE, Step::Freeze(0)), (HEALING, Step::Thaw(0))],
            Self::Slow => vec![
                (TROUBLE, Step::Delay(0, ANSWER * 10)),
                (HEALING, Step::Delay(0, ANSWER)),
            ],
            Self::AllDown => {
                let all = 0..3;
                let killed = all.clone().map(|server| (TROUBLE, Step::Kill(server)));
                killed
                    .chain(all.map(|server| (HEALING, Step::Start(server))))
                    .collect()
            }
            Self::Flapping => {
                let mut script = Vec::new();
                let mut at = TROUBLE;
                while at + FLAP <= HEALING {
                    script.push((at, Step::Kill(0)));
                    script.push((at + FLAP, Step::Start(0)));
                    at += 2 * FLAP;
                }
                script
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Kill(usize),
    Start(usize),
    Freeze(usize),
    Thaw(usize),
    Delay(usize, Duration),
}

/// When a balancer was well again: at the first of the last steps that heal, for those are done in one go.
fn healed(done: &[(Duration, Step)], at: Duration) -> Duration {
    let heals = |step: &Step| !matches!(step, Step::Kill(_) | Step::Freeze(_));
    let last = done
        .iter()
        .filter(|(when, step)| *when >= at && heals(step));
    last.map(|(when, _)| *when).min().unwrap_or(at)
}

/// What one incident cost behind one balancer.
#[derive(Clone, Debug)]
pub(super) struct Drilled {
    incident: Incident,
    peer: Peer,
    bill: Result<Tally, String>,
}

/// Three servers, each in a process and on a port of its own.
struct Farm {
    ports: [Port; 3],
    servers: [Option<Servers>; 3],
}

impl Farm {
    fn start() -> io::Result<Self> {
        let mut farm = Self {
            ports: [Port::reserve()?, Port::reserve()?, Port::reserve()?],
            servers: [None, None, None],
        };
        for server in 0..3 {
            farm.apply(Step::Start(server))?;
        }
        Ok(farm)
    }

    fn addresses(&self) -> [SocketAddr; 3] {
        self.ports.each_ref().map(|port| port.address)
    }

    /// Returns once it is done: a server that was started accepts.
    fn apply(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::Kill(server) => self.servers[server] = None,
            Step::Start(server) => {
                let mut started = Servers::start(&[&self.ports[server]])?;
                started.delay(ANSWER)?;
                self.servers[server] = Some(started);
            }
            Step::Freeze(server) => self.running(server).freeze()?,
            Step::Thaw(server) => self.running(server).thaw()?,
            Step::Delay(server, delay) => self.running(server).delay(delay)?,
        }
        Ok(())
    }

    fn running(&mut self, server: usize) -> &mut Servers {
        self.servers[server]
            .as_mut()
            .expect("the script stops only what runs")
    }
}

/// Drills all of them; ends early at Ctrl-C, with what there is.
pub(super) fn run(peers: &[(Peer, PathBuf)], ground: &Ground) -> Vec<Drilled> {
    let mut all = Vec::new();
    for incident in Incident::ALL {
        for (peer, program) in peers {
            let bill = drill(incident, (*peer, program), ground).map_err(|error| error.to_string());
            if ground.stopped() {
                return all;
            }
            let drilled = Drilled {
                incident,
                peer: *peer,
                bill,
            };
            eprintln!("{:9} {}", incident.name(), cells(&drilled).join("  "));
            all.push(drilled);
        }
    }
    all
}

fn drill(incident: Incident, peer: (Peer, &Path), ground: &Ground) -> io::Result<Tally> {
    let mut farm = Farm::start()?;
    let addresses = farm.addresses();
    let balancer = Balancer::start(&Start::new(peer, Style::Stock, &addresses), ground)?;
    std::thread::sleep(REST);
    let plan = Plan {
        target: balancer.address,
        connections: CONNECTIONS,
        request: load::request(128, 0, false),
        fresh: false,
        rate: Some(RATE),
        length: END,
        linger: LINGER,
    };
    let start = Instant::now();
    // The load gets the thread: children must be started from this one, which they are tied to.
    let (samples, done) = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut samples = Vec::new();
            load::run(&plan, start, &ground.stop, &mut |sample| {
                samples.push(sample)
            })?;
            io::Result::Ok(samples)
        });
        let done = play(&incident.script(), &mut farm, start, ground);
        let samples: io::Result<Vec<Sample>> = load.join().expect("the load does not panic");
        (samples, done)
    });
    Ok(tally(&samples?, healed(&done?, HEALING_FROM), END))
}

/// Steps from here on heal for good.
const HEALING_FROM: Duration = Duration::from_millis(3_000);

/// Does every step at its time, and notes when each was done.
fn play(
    script: &[(Duration, Step)],
    farm: &mut Farm,
    start: Instant,
    ground: &Ground,
) -> io::Result<Vec<(Duration, Step)>> {
    let mut done = Vec::new();
    for (at, step) in script {
        while start.elapsed() < *at && !ground.stopped() {
            let left = at.saturating_sub(start.elapsed());
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        farm.apply(*step)?;
        done.push((start.elapsed(), *step));
    }
    Ok(done)
}

fn heads() -> Vec<String> {
    [
        "",
        "requests",
        "failed",
        "stuck",
        "recovery s",
        "p99 ms",
        "longest ms",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn cells(drilled: &Drilled) -> Vec<String> {
    let mut cells = vec![drilled.peer.name().to_owned()];
    match &drilled.bill {
        Err(error) => cells.push(format!("did not run: {error}")),
        Ok(bill) => {
            let milliseconds = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
            cells.extend([bill.requests, bill.failed, bill.stuck].map(|count| count.to_string()));
            cells.push(bill.recovery.map_or("not yet".into(), |time| {
                format!("{:.2}", time.as_secs_f64())
            }));
            cells.extend([bill.p99, bill.longest].map(milliseconds));
        }
    }
    cells
}

/// A table for each incident.
pub(super) fn tables(all: &[Drilled]) -> String {
    let mut text = String::new();
    for incident in Incident::ALL {
        let lines: Vec<_> = all
            .iter()
            .filter(|drilled| drilled.incident == incident)
            .map(cells)
            .collect();
        if !lines.is_empty() {
            text += &format!("**{}**\n\n{}\n", incident.title(), table(&heads(), &lines));
        }
    }
    text
}

/// The bills as data.
pub(super) fn json(all: &[Drilled]) -> Value {
    let seconds = |time: Duration| time.as_secs_f64();
    all.iter()
        .map(|drilled| {
            let mut value = match &drilled.bill {
                Err(error) => json!({ "error": error }),
                Ok(bill) => json!({
                    "requests": bill.requests, "failed": bill.failed, "stuck": bill.stuck,
                    "recovery_s": bill.recovery.map(seconds), "p99_s": seconds(bill.p99),
                    "longest_s": seconds(bill.longest),
                }),
            };
            value["incident"] = json!(drilled.incident.name());
            value["peer"] = json!(drilled.peer.name());
            value
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_incident_leaves_all_servers_well_and_the_end_calm() {
        for incident in Incident::ALL {
            let script = incident.script();
            let mut well = [true; 3];
            let mut before = Duration::ZERO;
            for (at, step) in script {
                assert!(
                    at >= before && at >= TROUBLE && at <= HEALING,
                    "{incident:?}: {at:?}"
                );
                before = at;
                match step {
                    Step::Kill(server) | Step::Freeze(server) => {
                        assert!(std::mem::replace(&mut well[server], false), "{incident:?}");
                    }
                    Step::Start(server) | Step::Thaw(server) => {
                        assert!(!std::mem::replace(&mut well[server], true), "{incident:?}");
                    }
                    Step::Delay(server, delay) => well[server] = delay == ANSWER,
                }
            }
            assert_eq!(well, [true; 3], "{incident:?}");
            assert!(
                before >= HEALING_FROM && before + Duration::from_secs(2) < END,
                "{incident:?}"
            );
        }
    }

    #[test]
    fn the_first_server_that_is_back_for_good_ends_the_incident() {
        let ms = Duration::from_millis;
        let flaps = [
            (ms(1001), Step::Kill(0)),
            (ms(1405), Step::Start(0)),
            (ms(2600), Step::Kill(0)),
            (ms(3004), Step::Start(0)),
        ];
        assert_eq!(healed(&flaps, HEALING_FROM), ms(3004));
        let all = [
            (ms(1003), Step::Kill(2)),
            (ms(3510), Step::Start(0)),
            (ms(3530), Step::Start(1)),
        ];
        assert_eq!(healed(&all, HEALING_FROM), ms(3510));
        assert_eq!(healed(&[], HEALING_FROM), HEALING_FROM);
    }

    #[test]
    fn the_tables_show_counts_and_who_did_not_run_or_recover() {
        let bill = Tally {
            requests: 5950,
            failed: 12,
            stuck: 3,
            recovery: Some(Duration::from_millis(230)),
            p99: Duration::from_micros(6_250),
            longest: Duration::from_millis(400),
        };
        let of = |peer, bill| Drilled {
            incident: Incident::Frozen,
            peer,
            bill,
        };
        let all = [
            of(Peer::LbTokio, Ok(bill)),
            of(
                Peer::Nginx,
                Ok(Tally {
                    recovery: None,
                    ..bill
                }),
            ),
            of(Peer::HaproxyCheck, Err("does not answer".into())),
        ];
        let text = tables(&all);
        let line = "| lb-tokio      |                     5950 |     12 |     3 |       0.23 |    6.2 |      400.0 |";
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&text).contains(&words(line)), "{text}");
        assert!(
            text.contains("not yet") && text.contains("did not run: does not answer"),
            "{text}"
        );
        assert!(text.starts_with("**one of three frozen"), "{text}");
        let data = json(&all);
        assert_eq!(data[0]["recovery_s"], 0.23);
        assert_eq!(data[1]["recovery_s"], Value::Null);
        assert_eq!(data[2]["peer"], "haproxy-check");
    }
}
