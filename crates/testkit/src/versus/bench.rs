//! Speed and memory: every balancer started fresh for every piece of work, one after the other, round after round.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::balancer::{Balancer, Ground, Start, exchange};
use super::child::{Port, Servers};
use super::latency::Latencies;
use super::load::{self, Plan};
use super::peers::{Peer, Style};
use super::proc;
use super::work::{Shape, Work};

/// How long each is warmed up, uncounted: its connections are open then, those to the servers too.
const WARM: Duration = Duration::from_millis(500);
/// How long a balancer rests between its start and its work.
pub(super) const REST: Duration = Duration::from_millis(200);
/// Idle clients, as far as the limit of open files allows.
const CROWDS: [usize; 2] = [1_000, 10_000];
/// Files that we and the balancers need beside those of the clients.
pub(super) const SPARE_FILES: u64 = 1_000;
/// How long the last requests at a constant rate may still take; what takes longer counts as not answered.
const LINGER: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) peers: Vec<(Peer, PathBuf)>,
    pub(super) works: Vec<Work>,
    pub(super) rounds: usize,
    pub(super) length: Duration,
    /// Requests a second, where the rate is constant.
    pub(super) rate: f64,
}

/// What one balancer did in one piece of work.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) round: usize,
    pub(super) work: Work,
    pub(super) peer: Peer,
    pub(super) result: Result<Figures, String>,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Figures {
    Speed(Speed),
    Memory(Vec<Crowd>),
}

/// Speed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Speed {
    pub(super) requests: u64,
    /// Requests that were not answered with 2xx.
    pub(super) bad: u64,
    pub(super) per_second: f64,
    /// Processor time of the balancer per request.
    pub(super) user_us: f64,
    pub(super) system_us: f64,
    /// How many processors it kept busy.
    pub(super) cores: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
}

impl Speed {
    /// Processor time per request.
    pub(super) fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// Memory with so many idle clients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Crowd {
    pub(super) clients: usize,
    pub(super) kib: u64,
}

/// What each further client costs, from none to the largest crowd.
pub(super) fn kib_per_client(crowds: &[Crowd]) -> Option<f64> {
    let (first, last) = (crowds.first()?, crowds.last()?);
    let clients = last
        .clients
        .checked_sub(first.clients)
        .filter(|clients| *clients > 0)?;
    Some((last.kib as f64 - first.kib as f64) / clients as f64)
}

/// Does it all; ends early at Ctrl-C, with what there is.
pub(super) fn run(program: &Program, ground: &Ground) -> io::Result<Vec<Record>> {
    let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
    let _servers = Servers::start(&[&ports[0], &ports[1], &ports[2]])?;
    let backends = ports.each_ref().map(|port| port.address);
    let mut records = Vec::new();
    for turn in turns(program.rounds, program.works.len(), program.peers.len()) {
        let (work, (peer, binary)) = (program.works[turn.case], &program.peers[turn.peer]);
        if ground.stopped() {
            break;
        }
        let start = Start::new((*peer, binary), Style::Equal, &backends);
        let result = Balancer::start(&start, ground)
            .and_then(|balancer| measure(&balancer, work, program, ground))
            .map_err(|error| error.to_string());
        if ground.stopped() {
            break;
        }
        let record = Record {
            round: turn.round,
            work,
            peer: *peer,
            result,
        };
        eprintln!("{}", line(&record, program.rounds));
        records.push(record);
    }
    Ok(records)
}

/// One measurement among many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) round: usize,
    pub(super) case: usize,
    pub(super) peer: usize,
}

/// Every case with every peer, round after round. Another peer begins in each round: none has always the machine that
/// the same one left.
pub(super) fn turns(rounds: usize, cases: usize, peers: usize) -> impl Iterator<Item = Turn> {
    let cases = (0..rounds).flat_map(move |round| (0..cases).map(move |case| (round, case)));
    cases.flat_map(move |(round, case)| {
        (0..peers).map(move |turn| Turn {
            round,
            case,
            peer: (turn + round) % peers,
        })
    })
}

fn line(record: &Record, rounds: usize) -> String {
    let result = match &record.result {
        Err(error) => format!("failed: {error}"),
        Ok(Figures::Memory(crowds)) => crowds
            .iter()
            .map(|crowd| format!("{} clients {} KiB", crowd.clients, crowd.kib))
            .collect::<Vec<_>>()
            .join(", "),
        Ok(Figures::Speed(speed)) => format!(
            "{:8.1} us/request ({:.1} + {:.1}), {:7.0}/s, p99 {:.0} us, bad {}",
            speed.cpu_us(),
            speed.user_us,
            speed.system_us,
            speed.per_second,
            speed.p99_us,
            speed.bad
        ),
    };
    let (round, work, peer) = (
        record.round + 1,
        record.work.to_string(),
        record.peer.name(),
    );
    format!("{round}/{rounds} {work:3} {peer:14} {result}")
}

fn measure(
    balancer: &Balancer,
    work: Work,
    program: &Program,
    ground: &Ground,
) -> io::Result<Figures> {
    std::thread::sleep(REST);
    let Some(shape) = work.shape() else {
        return crowds(balancer, ground).map(Figures::Memory);
    };
    let task = Task {
        target: balancer.address,
        shape,
        rate: shape.constant.then_some(program.rate),
        warm: WARM,
        length: program.length,
    };
    send(&task, ground, || proc::cpu(balancer.id())).map(Figures::Speed)
}

/// A load, and how much of it is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) target: SocketAddr,
    pub(super) shape: Shape,
    /// Requests a second, where the rate is constant.
    pub(super) rate: Option<f64>,
    /// How long the first requests go uncounted, and the opening of the connections with them.
    pub(super) warm: Duration,
    /// How long those are sent that count.
    pub(super) length: Duration,
}

/// Sends a load, and holds the processor time that `cpu` reads against it.
pub(super) fn send(task: &Task, ground: &Ground, cpu: impl Fn() -> proc::Cpu) -> io::Result<Speed> {
    let Task { shape, rate, .. } = *task;
    let plan = Plan {
        target: task.target,
        connections: shape.connections,
        request: load::request(shape.bytes, shape.upload, shape.fresh),
        fresh: shape.fresh,
        rate,
        length: task.warm + task.length,
        linger: LINGER,
    };
    let (mut requests, mut bad, mut latencies) = (0_u64, 0_u64, Latencies::default());
    let start = Instant::now();
    let mut before = None;
    load::run(&plan, start, &ground.stop, &mut |sample| {
        // In an open loop a request belongs to the time when it was due.
        let at = rate.map_or(sample.end, |_| sample.due);
        if at < task.warm {
            return;
        }
        if before.is_none() {
            before = Some((cpu(), start.elapsed()));
            return;
        }
        requests += 1;
        bad += u64::from(!sample.good());
        latencies.add(sample.latency());
    })?;
    if requests == bad {
        return Err(io::Error::other(format!(
            "none of {requests} requests was answered"
        )));
    }
    let (before, began) = before.expect("set before the first was counted");
    let seconds = match rate {
        // What the last requests took is no time in which requests were sent.
        Some(_) => plan.length.saturating_sub(load::FIRST_DUE.max(task.warm)),
        None => start.elapsed().saturating_sub(began),
    }
    .as_secs_f64();
    let used = cpu().since(before);
    let quantile = |share| latencies.quantile(share).unwrap_or_default().as_secs_f64() * 1e6;
    Ok(Speed {
        requests,
        bad,
        per_second: requests as f64 / seconds,
        user_us: used.user_us / requests as f64,
        system_us: used.system_us / requests as f64,
        cores: used.total_us() / 1e6 / seconds,
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
    })
}

/// Opens clients that make one request each and stay, and weighs the balancer at each crowd.
fn crowds(balancer: &Balancer, ground: &Ground) -> io::Result<Vec<Crowd>> {
    let weigh = |clients| Crowd {
        clients,
        kib: proc::memory_kib(balancer.id()),
    };
    let request = load::request(128, 0, false);
    let room = usize::try_from(ground.files.saturating_sub(SPARE_FILES) / 2).unwrap_or(usize::MAX);
    let mut weighed = vec![weigh(0)];
    let mut clients = Vec::new();
    for crowd in CROWDS.map(|crowd| crowd.min(room)) {
        while clients.len() < crowd && !ground.stopped() {
            let mut client = TcpStream::connect(balancer.address)?;
            let status = exchange(&mut client, &request)?;
            if status != 200 {
                return Err(io::Error::other(format!(
                    "client {}: {status}",
                    clients.len()
                )));
            }
            clients.push(client);
        }
        std::thread::sleep(2 * REST);
        weighed.push(weigh(clients.len()));
    }
    Ok(weighed)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::origin::{self, Controls};
    use super::*;

    #[test]
    fn what_warms_up_counts_neither_as_requests_nor_as_processor_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ms = Duration::from_millis;
        let task = Task {
            target: listener.local_addr().unwrap(),
            shape: Work::W1r.shape().unwrap(),
            rate: Some(1000.0),
            warm: ms(100),
            length: ms(101),
        };
        let ground = Ground {
            workers: 1,
            files: 1_000,
            stop: Arc::new(AtomicBool::new(false)),
        };
        let read = Cell::new(0.0);
        let cpu = || {
            read.set(read.get() + 1.0);
            proc::Cpu {
                user_us: read.get() * 500.0,
                system_us: 0.0,
            }
        };
        let controls = Controls::default();
        let speed = std::thread::scope(|scope| {
            scope.spawn(|| origin::serve(&[listener], &controls).unwrap());
            let speed = send(&task, &ground, cpu);
            controls.stop.store(true, Ordering::Relaxed);
            speed.unwrap()
        });
        // The first that was due in time marks where it begins.
        assert_eq!(speed.requests, 100);
        assert_eq!(speed.user_us, 5.0);
    }

    #[test]
    fn everybody_has_a_turn_at_every_case_in_every_round_and_another_one_begins() {
        let order: Vec<_> = turns(2, 2, 3)
            .map(|turn| (turn.round, turn.case, turn.peer))
            .collect();
        let wanted = [
            [(0, 0, 0), (0, 0, 1), (0, 0, 2)],
            [(0, 1, 0), (0, 1, 1), (0, 1, 2)],
            [(1, 0, 1), (1, 0, 2), (1, 0, 0)],
            [(1, 1, 1), (1, 1, 2), (1, 1, 0)],
        ];
        assert_eq!(order, wanted.concat());
        assert_eq!(turns(3, 0, 2).chain(turns(3, 2, 0)).count(), 0);
    }

    #[test]
    fn a_client_costs_what_the_largest_crowd_added() {
        let crowd = |clients, kib| Crowd { clients, kib };
        let crowds = [crowd(0, 2_000), crowd(1_000, 9_000), crowd(10_000, 102_000)];
        assert_eq!(kib_per_client(&crowds), Some(10.0));
        assert_eq!(kib_per_client(&crowds[..1]), None);
        assert_eq!(kib_per_client(&[]), None);
    }

    #[test]
    fn a_line_of_progress_says_who_did_what() {
        let mut record = Record {
            round: 0,
            work: Work::W1,
            peer: Peer::Nginx,
            result: Err("does not answer".into()),
        };
        assert_eq!(
            line(&record, 3),
            "1/3 W1  nginx          failed: does not answer"
        );
        let speed = Speed {
            user_us: 2.5,
            system_us: 7.25,
            per_second: 40_000.4,
            p99_us: 812.0,
            ..Speed::default()
        };
        record.result = Ok(Figures::Speed(speed));
        assert!(
            line(&record, 3).contains("9.8 us/request (2.5 + 7.2)"),
            "{}",
            line(&record, 3)
        );
    }
}
