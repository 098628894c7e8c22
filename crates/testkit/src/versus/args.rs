//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::peers::Peer;
use super::work::Work;

/// Our balancers beside the well-known ones, with the same work: processor time per request, throughput, latency, memory;
/// or what an incident costs.
#[derive(Debug, Parser)]
#[command(name = "versus", args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    /// The others, as far as they are installed
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "nginx,haproxy,envoy,caddy,traefik"
    )]
    pub(super) peers: Vec<Peer>,
    /// Ours
    #[arg(long, value_delimiter = ',', default_value = "lb-tokio,lb-async-std")]
    pub(super) ours: Vec<Peer>,
    /// W1,W2,W3,W4,W5,W6,W1r,R or all
    #[arg(long, default_value = "all", value_parser = works)]
    pub(super) work: Works,
    /// How often everything is measured; the tables show medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) rounds: u16,
    /// How long each measurement takes
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// Threads of each balancer
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) workers: u16,
    /// Requests a second of W1r
    #[arg(long, default_value = "3000", value_parser = rate)]
    pub(super) rate: f64,
    /// Write the figures here
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Draw the ratios here
    #[arg(long, value_name = "FILE", conflicts_with = "mode")]
    pub(super) svg: Option<PathBuf>,
    /// Take our programs from here instead of building them
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) bin_dir: Option<PathBuf>,
    /// What incidents cost, with every balancer's own defaults, instead of the measurement
    #[arg(long, group = "mode")]
    pub(super) drill: bool,
    /// Our load generator beside wrk and h2load, with no balancer between, instead of the measurement
    #[arg(long, group = "mode")]
    pub(super) calibrate: bool,
    /// Instructions per request of ours, as callgrind counts them, instead of the measurement: W1, W2, W4 and W5 with one worker
    #[arg(long, group = "mode")]
    pub(super) instructions: bool,
    /// How the processor time per request of ours grows with members, workers and connections, instead of the measurement
    #[arg(long, group = "mode")]
    pub(super) growth: bool,
    /// Keep callgrind's files here, for callgrind_annotate
    #[arg(long, value_name = "DIRECTORY", requires = "instructions")]
    pub(super) keep: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) helper: Option<Helper>,
}

/// What this program does as a child of itself.
#[derive(Debug, PartialEq, Eq, clap::Subcommand)]
pub(super) enum Helper {
    /// Serve on these ports; every line of the input is a delay in microseconds
    #[command(hide = true)]
    Serve { ports: Vec<u16> },
    /// Become this program, and end with the parent
    #[command(hide = true)]
    Leash {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

/// A list of workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Works(pub(super) Vec<Work>);

fn works(text: &str) -> Result<Works, String> {
    Work::list(text).map(Works)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("not from 0.01 to 3600".into())
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1.0..=1e6).contains(&rate) {
        Ok(rate)
    } else {
        Err("not from 1 to 1000000".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("versus").chain(line.split_whitespace()))
    }

    #[test]
    fn without_arguments_everything_is_measured() {
        let args = parse("").unwrap();
        assert_eq!(args.ours, Peer::OURS);
        assert_eq!(args.peers.len(), 5);
        assert_eq!(args.work.0, Work::ALL);
        assert_eq!(
            (args.rounds, args.seconds, args.workers),
            (3, Duration::from_secs(3), 2)
        );
    }

    #[test]
    fn what_is_asked_for_is_what_is_done() {
        let args =
            parse("--peers nginx,haproxy --work W1,R --rounds 5 --seconds 0.5 --ours lb-tokio")
                .unwrap();
        assert_eq!(args.peers, Peer::MEASURE);
        assert_eq!(args.ours, [Peer::LbTokio]);
        assert_eq!(args.work.0, [Work::W1, Work::R]);
        assert_eq!((args.rounds, args.seconds), (5, Duration::from_millis(500)));
        assert!(parse("--drill --json x").unwrap().drill);
        assert!(parse("--growth --rounds 5").unwrap().growth);
        let counted = parse("--instructions --keep x --work W1").unwrap();
        assert!(counted.instructions && counted.keep.is_some());
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--peers apache",
            "--work W9",
            "--rounds 0",
            "--workers 0",
            "--seconds 0",
            "--seconds NaN",
            "--rate inf",
            "--drill --calibrate",
            "--drill --svg x",
            "--instructions --drill",
            "--growth --svg x",
            "--keep x",
            "leash",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_leash_takes_any_command() {
        let wanted = ["nginx", "-c", "x", "--help"].map(OsString::from).to_vec();
        let args = parse("leash nginx -c x --help").unwrap();
        assert_eq!(args.helper, Some(Helper::Leash { command: wanted }));
    }
}
