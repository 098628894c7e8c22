//! `versus`: our binaries beside the well-known balancers, on this machine.
//!
//! * The measurement (nothing asked for): equal work for all, in rounds; processor time per request, throughput, latency,
//!   memory. Load, servers and balancer share the machine's cores, so that requests a second say as much about the
//!   load as about the balancer: the main figure is the processor time of the balancer's processes.
//! * `--drill`: every balancer as it comes; one server killed, frozen, flapping, slow, all of them down; what that costs the
//!   clients.
//! * `--calibrate`: the load generator beside `wrk` and `h2load`.
//! * `--instructions`: how many instructions a request costs ours, counted by `callgrind`.
//! * `--growth`: what becomes of the processor time per request of ours with more members, workers, connections.
//!
//! Everything happens on the loopback, on ports that the system chooses. Children end with this program, however it ends.

mod args;
mod balancer;
mod bench;
mod binaries;
mod calibrate;
mod chart;
mod child;
mod connection;
mod drill;
mod growth;
mod http;
mod instructions;
mod latency;
mod load;
mod origin;
mod peers;
mod poll;
mod proc;
mod report;
mod tally;
mod work;

use std::fs;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};

use args::{Args, Helper};
use balancer::Ground;
use bench::Program;
use peers::Peer;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.helper {
        Some(Helper::Serve { ports }) => serve(ports).map(|()| End::Done),
        Some(Helper::Leash { command }) => Err(child::leash(&command[0], &command[1..])),
        None => run(&args),
    };
    match result {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Interrupted) => {
            eprintln!("versus: interrupted; this is what there was");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The servers, as a child: until the input ends.
fn serve(ports: &[u16]) -> io::Result<()> {
    child::leash_self()?;
    child::raise_open_files();
    let listeners = ports
        .iter()
        .map(|port| child::listen(*port))
        .collect::<io::Result<Vec<_>>>()?;
    let controls = origin::Controls::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if let Ok(delay) = line.trim().parse() {
                    controls.delay_us.store(delay, Ordering::Relaxed);
                }
            }
            controls.stop.store(true, Ordering::Relaxed);
        });
        origin::serve(&listeners, &controls)
    })
}

/// How it ended, if it did not fail.
enum End {
    Done,
    Interrupted,
}

fn run(args: &Args) -> io::Result<End> {
    let ground = Ground {
        workers: args.workers.into(),
        files: child::raise_open_files(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, ground.stop.clone())?;
    }
    if args.calibrate {
        print!("{}", calibrate::run(args.seconds, &ground)?);
    } else {
        let data = measure(args, &ground)?;
        if let Some(file) = &args.json {
            fs::write(file, format!("{data:#}\n"))?;
        }
    }
    Ok(if ground.stopped() {
        End::Interrupted
    } else {
        End::Done
    })
}

/// What one of the modes finds, and what a reader must know about it.
fn measure(args: &Args, ground: &Ground) -> io::Result<Value> {
    // What is missing is said before anything is built.
    let counting = args
        .instructions
        .then(|| instructions::Program::new(&args.work.0, args.keep.clone()))
        .transpose()?;
    let peers = find(args)?;
    let about = about(args, &peers);
    let mut data = match counting {
        Some(program) => count(&program, &peers, ground)?,
        None if args.drill => drill(peers, ground),
        None if args.growth => grow(args, &peers, ground)?,
        None => compare(args, peers, ground)?,
    };
    data["about"] = about;
    Ok(data)
}

fn count(
    program: &instructions::Program,
    ours: &[(Peer, PathBuf)],
    ground: &Ground,
) -> io::Result<Value> {
    let records = instructions::run(program, ours, ground)?;
    print!("{}", instructions::report(&records, &program.works));
    Ok(json!({ "instructions": instructions::json(&records) }))
}

fn grow(args: &Args, ours: &[(Peer, PathBuf)], ground: &Ground) -> io::Result<Value> {
    let program = growth::Program {
        rounds: args.rounds.into(),
        length: args.seconds,
    };
    let records = growth::run(&program, ours, ground)?;
    let rows = growth::rows(&records);
    print!("{}", growth::tables(&rows, ground.files));
    Ok(json!({ "growth": growth::json(&rows, &records) }))
}

fn drill(mut peers: Vec<(Peer, PathBuf)>, ground: &Ground) -> Value {
    // Without checks HAProxy knows nothing of its servers: it is fair to show it with them, too.
    if let Some(at) = peers.iter().position(|(peer, _)| *peer == Peer::Haproxy) {
        let program = peers[at].1.clone();
        peers.insert(at + 1, (Peer::HaproxyCheck, program));
    }
    let all = drill::run(&peers, ground);
    print!("{}", drill::tables(&all));
    json!({ "drill": drill::json(&all) })
}

fn compare(args: &Args, peers: Vec<(Peer, PathBuf)>, ground: &Ground) -> io::Result<Value> {
    let program = Program {
        works: args.work.0.clone(),
        rounds: args.rounds.into(),
        length: args.seconds,
        rate: args.rate,
        peers,
    };
    let records = bench::run(&program, ground)?;
    let names: Vec<_> = program.peers.iter().map(|(peer, _)| *peer).collect();
    let rows = report::rows(&records, &program.works, &names);
    print!("{}", report::tables(&rows, &program.works));
    if let Some(file) = &args.svg {
        fs::write(file, chart::svg(&rows, &program.works, &names))?;
    }
    Ok(report::json(&rows, &records))
}

/// The programs that take part; says who is missing.
fn find(args: &Args) -> io::Result<Vec<(Peer, PathBuf)>> {
    let mut found: Vec<(Peer, PathBuf)> = Vec::new();
    let ours_alone = args.instructions || args.growth;
    for peer in args.ours.iter().chain(&args.peers) {
        let left_out = ours_alone && !Peer::OURS.contains(peer);
        if left_out || found.iter().any(|(other, _)| other == peer) {
            continue;
        }
        if Peer::OURS.contains(peer) {
            found.push((*peer, binaries::ours(*peer, args.bin_dir.as_deref())?));
        } else if let Some(program) = binaries::installed(peer.program()) {
            found.push((*peer, program));
        } else {
            eprintln!("{} is not installed: left out", peer.name());
        }
    }
    Ok(found)
}

/// What a reader must know to make sense of the figures.
fn about(args: &Args, peers: &[(Peer, PathBuf)]) -> Value {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let versions: serde_json::Map<String, Value> = peers
        .iter()
        .map(|(peer, program)| {
            (
                peer.name().to_owned(),
                json!(binaries::version(*peer, program)),
            )
        })
        .collect();
    let load = read("/proc/loadavg");
    let load: f64 = load
        .split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0);
    if load > 0.5 {
        eprintln!("others are at work on this machine (load {load}): the figures will show it");
    }
    let about = json!({
        "load_before": load,
        "time": SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": model.map_or("", |(_, name)| name.trim()),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "versions": versions,
        "rounds": args.rounds, "seconds": args.seconds.as_secs_f64(), "workers": args.workers, "rate": args.rate,
    });
    eprintln!("{about}");
    about
}
