//! Instructions per request of our own binaries, counted by `callgrind`: a number that repeats where times do not.
//!
//! It knows nothing of the kernel, of caches and of waiting, so it does not say how long a request takes. It says whether
//! there is more to do than before. A count at the end of a process has the start and the stop in it, too; the
//! difference of two counts has only the requests by which they differ.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::balancer::{Balancer, Ground, Start, exchange};
use super::binaries;
use super::child::{Port, Servers};
use super::load;
use super::peers::{Peer, Style};
use super::report::{distinct, table};
use super::work::{Shape, Work};
use crate::process::Scratch;

/// What is counted, if it is asked for.
const WORKS: [Work; 4] = [Work::W1, Work::W2, Work::W4, Work::W5];
/// Requests before those that count, in both counts.
const WARM: u64 = 100;
/// Requests of the first and of the second count.
const REQUESTS: [u64; 2] = [500, 2_500];

/// What is to be done.
#[derive(Debug)]
pub(super) struct Program {
    tool: PathBuf,
    pub(super) works: Vec<Work>,
    /// Where callgrind's files stay; without it they go.
    keep: Option<PathBuf>,
}

impl Program {
    /// Counts for those of these works that can be counted. An error if there is none, or nothing that counts.
    pub(super) fn new(works: &[Work], keep: Option<PathBuf>) -> io::Result<Self> {
        let works = countable(works)?;
        let missing = || io::Error::other("valgrind is not installed, and it is what counts");
        let tool = binaries::installed("valgrind").ok_or_else(missing)?;
        Ok(Self { tool, works, keep })
    }
}

fn countable(works: &[Work]) -> io::Result<Vec<Work>> {
    let wanted: Vec<_> = WORKS
        .into_iter()
        .filter(|work| works.contains(work))
        .collect();
    if wanted.is_empty() {
        return Err(io::Error::other(format!(
            "instructions are counted for {}",
            WORKS.map(|work| work.to_string()).join(", ")
        )));
    }
    Ok(wanted)
}

/// What one binary does for one piece of work.
#[derive(Clone, Debug)]
pub(super) struct Record {
    work: Work,
    peer: Peer,
    /// All instructions of the process, by the number of its requests.
    totals: Result<[u64; 2], String>,
}

impl Record {
    /// Instructions per request.
    fn per_request(&self) -> Option<f64> {
        let [less, more] = *self.totals.as_ref().ok()?;
        let requests = REQUESTS[1] - REQUESTS[0];
        Some((more as f64 - less as f64) / requests as f64)
    }
}

/// Counts it all; ends early at Ctrl-C, with what there is.
pub(super) fn run(
    program: &Program,
    ours: &[(Peer, PathBuf)],
    ground: &Ground,
) -> io::Result<Vec<Record>> {
    let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
    let _servers = Servers::start(&[&ports[0], &ports[1], &ports[2]])?;
    let scratch = Scratch::new();
    if let Some(directory) = &program.keep {
        fs::create_dir_all(directory)?;
    }
    let bench = Bench {
        tool: &program.tool,
        backends: ports.each_ref().map(|port| port.address),
        directory: match &program.keep {
            Some(directory) => fs::canonicalize(directory)?,
            None => scratch.path().to_owned(),
        },
        ground: Ground {
            workers: 1,
            ..ground.clone()
        },
    };
    let mut records = Vec::new();
    for work in &program.works {
        let Some(shape) = work.shape() else { continue };
        for (peer, binary) in ours {
            let count = |requests| {
                let name = format!("callgrind.{}.{work}.{requests}", peer.name());
                bench.count((*peer, binary), shape, requests, &name)
            };
            let totals = count(REQUESTS[0]).and_then(|less| Ok([less, count(REQUESTS[1])?]));
            if ground.stopped() {
                return Ok(records);
            }
            let record = Record {
                work: *work,
                peer: *peer,
                totals: totals.map_err(|error| error.to_string()),
            };
            eprintln!("{work} {:14} {}", peer.name(), line(&record));
            records.push(record);
        }
    }
    Ok(records)
}

fn line(record: &Record) -> String {
    let [few, many] = REQUESTS;
    let each = record.per_request().unwrap_or_default();
    match &record.totals {
        Ok([less, more]) => {
            format!("{less} with {few} requests, {more} with {many}: {each:.0} each")
        }
        Err(error) => format!("failed: {error}"),
    }
}

/// What all counts have in common.
struct Bench<'a> {
    tool: &'a Path,
    backends: [SocketAddr; 3],
    /// Where the counts are written.
    directory: PathBuf,
    ground: Ground,
}

impl Bench<'_> {
    /// All instructions of a process that serves so many requests.
    fn count(
        &self,
        peer: (Peer, &Path),
        shape: Shape,
        requests: u64,
        name: &str,
    ) -> io::Result<u64> {
        let file = self.directory.join(name);
        let mut out = OsString::from("--callgrind-out-file=");
        out.push(&file);
        let under = [
            self.tool.into(),
            "--quiet".into(),
            "--tool=callgrind".into(),
            out,
        ];
        let start = Start {
            under: &under,
            ..Start::new(peer, Style::Bare, &self.backends)
        };
        let balancer = Balancer::start(&start, &self.ground)?;
        ask(balancer.address, shape, WARM + requests, &self.ground)?;
        // The count is written at the end of the process.
        balancer.stop()?;
        total(&fs::read_to_string(&file)?).ok_or_else(|| io::Error::other("there is no count"))
    }
}

/// Sends requests one after the other, over one connection or each over one of its own.
fn ask(target: SocketAddr, shape: Shape, requests: u64, ground: &Ground) -> io::Result<()> {
    let request = load::request(shape.bytes, shape.upload, shape.fresh);
    let connect = || -> io::Result<TcpStream> {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let mut stream = connect()?;
    for number in 0..requests {
        if ground.stopped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if shape.fresh && number > 0 {
            stream = connect()?;
        }
        let status = exchange(&mut stream, &request)?;
        if status != 200 {
            return Err(io::Error::other(format!("request {number}: {status}")));
        }
        if shape.fresh {
            // What the closing takes belongs to this request.
            let _ = stream.read(&mut [0])?;
        }
    }
    Ok(())
}

/// The sum in a file of callgrind's: its format names it in a line `totals:`, older versions in `summary:`.
fn total(text: &str) -> Option<u64> {
    let mut sums = text.lines().filter_map(|line| {
        let (label, sums) = line.split_once(':')?;
        matches!(label, "totals" | "summary").then_some(sums)
    });
    sums.next_back()?.split_whitespace().next()?.parse().ok()
}

/// Instructions per request as a table.
pub(super) fn report(records: &[Record], works: &[Work]) -> String {
    let peers = distinct(records.iter().map(|record| record.peer));
    let mut head = vec![String::new()];
    head.extend(works.iter().map(ToString::to_string));
    let cell = |peer: Peer, work: Work| {
        let of_both = |record: &&Record| record.peer == peer && record.work == work;
        let each = records.iter().find(of_both)?.per_request();
        Some(each.map_or("failed".into(), |each| format!("{each:.0}")))
    };
    let lines: Vec<_> = peers
        .iter()
        .map(|&peer| {
            let cells = works
                .iter()
                .map(|&work| cell(peer, work).unwrap_or_default());
            std::iter::once(peer.name().to_owned())
                .chain(cells)
                .collect()
        })
        .collect();
    format!(
        "**Instructions** per request in user space, one worker, one request at a time\n\n{}",
        table(&head, &lines)
    )
}

/// The counts as data.
pub(super) fn json(records: &[Record]) -> Value {
    records
        .iter()
        .map(|record| {
            let mut value = match &record.totals {
                Err(error) => json!({ "error": error }),
                Ok(totals) => json!({ "requests": REQUESTS, "totals": totals }),
            };
            value["work"] = json!(record.work.to_string());
            value["peer"] = json!(record.peer.name());
            value["instructions"] = json!(record.per_request());
            value
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(work: Work, peer: Peer, totals: Result<[u64; 2], String>) -> Record {
        Record { work, peer, totals }
    }

    #[test]
    fn the_sum_is_found_in_either_version_of_the_file() {
        let before = "# callgrind format\nversion: 1\npid: 7\nevents: Ir\n";
        let costs = "fn=(1) totals\n12 5\ncalls=1 0\n12 99\n";
        for sum in ["summary: 4200017\n", "totals: 4200017\n"] {
            assert_eq!(total(&format!("{before}{sum}{costs}")), Some(4_200_017));
            assert_eq!(total(&format!("{before}{costs}\n{sum}")), Some(4_200_017));
        }
        let several = "events: Ir Dr\ntotals: 12 5\n";
        assert_eq!(total(several), Some(12));
        assert_eq!(total(&format!("{before}{costs}")), None);
        assert_eq!(total("totals: many"), None);
    }

    #[test]
    fn start_and_stop_are_in_both_counts_and_so_in_no_request() {
        let at_start = 30_000_000;
        let each = 12_345;
        let totals = REQUESTS.map(|requests| at_start + requests * each);
        let record = record(Work::W1, Peer::LbTokio, Ok(totals));
        assert_eq!(record.per_request(), Some(12_345.0));
    }

    #[test]
    fn only_works_of_requests_one_by_one_are_counted() {
        assert_eq!(countable(&Work::ALL).unwrap(), WORKS);
        let some = [Work::R, Work::W5, Work::W1];
        assert_eq!(countable(&some).unwrap(), [Work::W1, Work::W5]);
        let error = countable(&[Work::W3]).unwrap_err().to_string();
        assert!(error.contains("W1, W2, W4, W5"), "{error}");
    }

    #[test]
    fn the_table_has_a_row_for_each_binary_and_says_what_failed() {
        let records = [
            record(Work::W1, Peer::LbTokio, Ok([1_000_000, 21_000_000])),
            record(Work::W5, Peer::LbTokio, Err("does not answer".into())),
            record(Work::W1, Peer::LbAsyncStd, Ok([0, 30_002_000])),
        ];
        let wanted = "\
|              |    W1 |     W5 |
| ------------ | ----: | -----: |
| lb-tokio     | 10000 | failed |
| lb-async-std | 15001 |        |
";
        let text = report(&records, &[Work::W1, Work::W5]);
        assert!(text.ends_with(wanted), "{text}");
        let data = json(&records);
        assert_eq!(data[0]["instructions"], 10_000.0);
        assert_eq!(data[0]["totals"][1], 21_000_000);
        assert_eq!(data[1]["error"], "does not answer");
        assert_eq!(data[1]["instructions"], Value::Null);
    }
}
