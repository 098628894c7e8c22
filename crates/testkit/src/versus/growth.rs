//! How the cost of a request grows: our own binaries with more members, more workers, more connections.
//!
//! What is varied is varied alone. Nobody is checked meanwhile: what checks cost is so much a second for each
//! member, however many requests there are.

mod case;
mod figures;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::balancer::{Balancer, Ground, Start};
use super::bench::{self, REST, Speed, Task};
use super::child::{Port, Servers};
use super::peers::{Peer, Style};
use super::proc;
use super::work::{Shape, Work};
use case::{Case, cases};

pub(super) use figures::{json, rows, tables};

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    pub(super) rounds: usize,
    pub(super) length: Duration,
}

/// What one balancer did in one case.
#[derive(Clone, Debug)]
pub(super) struct Record {
    round: usize,
    case: Case,
    peer: Peer,
    result: Result<Speed, String>,
}

/// Does it all; ends early at Ctrl-C, with what there is.
pub(super) fn run(
    program: &Program,
    ours: &[(Peer, PathBuf)],
    ground: &Ground,
) -> io::Result<Vec<Record>> {
    let port = Port::reserve()?;
    let _servers = Servers::start(&[&port])?;
    let cases = cases(ground.workers, ground.files);
    let mut records = Vec::new();
    for turn in bench::turns(program.rounds, cases.len(), ours.len()) {
        let (case, (peer, binary)) = (cases[turn.case], &ours[turn.peer]);
        if ground.stopped() {
            break;
        }
        let members = addresses(port.address.port(), case.members);
        let start = Start::new((*peer, binary), Style::Bare, &members);
        let result = measure(&case, &start, program.length, ground);
        if ground.stopped() {
            break;
        }
        let record = Record {
            round: turn.round,
            case,
            peer: *peer,
            result: result.map_err(|error| error.to_string()),
        };
        eprintln!("{}", line(&record, program.rounds));
        records.push(record);
    }
    Ok(records)
}

/// So many servers: our own listen at every address of the loopback.
fn addresses(port: u16, members: usize) -> Vec<SocketAddr> {
    let first = u32::from(Ipv4Addr::LOCALHOST);
    let addresses = (first..).take(members).map(Ipv4Addr::from);
    addresses.map(|address| (address, port).into()).collect()
}

fn measure(case: &Case, start: &Start<'_>, length: Duration, ground: &Ground) -> io::Result<Speed> {
    let ground = Ground {
        workers: case.workers,
        ..ground.clone()
    };
    let balancer = Balancer::start(start, &ground)?;
    std::thread::sleep(REST);
    let task = Task {
        target: balancer.address,
        shape: Shape {
            connections: case.connections,
            ..Work::SMALL
        },
        rate: None,
        warm: case.warm(),
        length,
    };
    bench::send(&task, &ground, || proc::cpu(balancer.id()))
}

fn line(record: &Record, rounds: usize) -> String {
    let (round, size, axis) = (
        record.round + 1,
        record.case.size(),
        record.case.axis.name(),
    );
    let result = match &record.result {
        Ok(speed) => format!(
            "{:8.1} us/request, {:7.0}/s, bad {}",
            speed.cpu_us(),
            speed.per_second,
            speed.bad
        ),
        Err(error) => format!("failed: {error}"),
    };
    let name = record.peer.name();
    format!("{round}/{rounds} {size:5} {axis:11} {name:14} {result}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_an_address_of_its_own_on_the_loopback() {
        let mut all = addresses(8_000, 10_000);
        assert_eq!(all[0], SocketAddr::from(([127, 0, 0, 1], 8_000)));
        assert!(all.iter().all(|address| address.ip().is_loopback()));
        all.dedup();
        assert_eq!(all.len(), 10_000);
    }
}
