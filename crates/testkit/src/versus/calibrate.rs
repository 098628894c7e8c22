//! Our load generator beside `wrk` and `h2load`, all against our own server with nobody between: what measures must not be
//! what is measured.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::balancer::Ground;
use super::bench::{self, Task};
use super::child::{Port, Servers};
use super::proc::{self, Cpu};
use super::report::table;
use super::work::{Shape, Work};

const WORKS: [Work; 3] = [Work::W1, Work::W2, Work::W3];

/// What a generator reached.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reached {
    requests: f64,
    per_second: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    /// Processor time of the generator, and of the server, per request.
    own_us: f64,
    server_us: f64,
}

/// Runs all there are, and returns a table for each piece of work.
pub(super) fn run(length: Duration, ground: &Ground) -> io::Result<String> {
    let port = Port::reserve()?;
    let server = Servers::start(&[&port])?;
    let mut text = String::new();
    for work in WORKS {
        let Some(shape) = work.shape() else { continue };
        let mut lines = Vec::new();
        for generator in ["versus", "wrk", "h2load"] {
            if ground.stopped() {
                return Ok(text);
            }
            let reached = match generator {
                "versus" => ours(shape, &port, length, ground, &server),
                other => theirs(other, shape, &port, length, &server),
            };
            lines.push(cells(generator, &reached));
        }
        let head = [
            "",
            "req/s",
            "own CPU µs",
            "server CPU µs",
            "p50 µs",
            "p99 µs",
        ]
        .map(str::to_owned);
        text += &format!(
            "**{work}** {}, straight to the server\n\n{}\n",
            work.title(),
            table(&head, &lines)
        );
    }
    Ok(text)
}

fn cells(generator: &str, reached: &io::Result<Reached>) -> Vec<String> {
    let mut cells = vec![generator.to_owned()];
    match reached {
        Err(error) => cells.push(error.to_string()),
        Ok(reached) => {
            cells.push(format!("{:.0}", reached.per_second));
            cells.extend([reached.own_us, reached.server_us].map(|time| format!("{time:.1}")));
            let tail = [reached.p50_us, reached.p99_us];
            cells.extend(tail.map(|time| time.map_or(String::new(), |time| format!("{time:.0}"))));
        }
    }
    cells
}

fn ours(
    shape: Shape,
    port: &Port,
    length: Duration,
    ground: &Ground,
    server: &Servers,
) -> io::Result<Reached> {
    let (own, theirs) = (proc::own_cpu().0, server.cpu());
    let task = Task {
        target: port.address,
        shape,
        rate: None,
        warm: Duration::ZERO,
        length,
    };
    let speed = bench::send(&task, ground, Cpu::default)?;
    let requests = speed.requests as f64;
    Ok(Reached {
        requests,
        per_second: speed.per_second,
        p50_us: Some(speed.p50_us),
        p99_us: Some(speed.p99_us),
        own_us: proc::own_cpu().0.since(own).total_us() / requests,
        server_us: server.cpu().since(theirs).total_us() / requests,
    })
}

fn theirs(
    name: &str,
    shape: Shape,
    port: &Port,
    length: Duration,
    server: &Servers,
) -> io::Result<Reached> {
    let url = format!("http://{}/b/{}", port.address, shape.bytes);
    let connections = shape.connections.to_string();
    // Both count in whole seconds.
    let seconds = length.as_secs().max(1).to_string();
    let arguments: Vec<&str> = if name == "wrk" {
        vec!["--latency", "-t1", "-c", &connections, "-d", &seconds, &url]
    } else {
        vec!["--h1", "-t1", "-c", &connections, "-D", &seconds, &url]
    };
    let (own, theirs) = (proc::own_cpu().1, server.cpu());
    let output = output(name.as_ref(), &arguments)?;
    let used = proc::own_cpu().1.since(own);
    let reached = if name == "wrk" {
        wrk(&output)
    } else {
        h2load(&output)
    };
    let mut reached = reached.ok_or_else(|| io::Error::other("its output is not understood"))?;
    reached.own_us = used.total_us() / reached.requests;
    reached.server_us = server.cpu().since(theirs).total_us() / reached.requests;
    Ok(reached)
}

fn output(program: &OsStr, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other("not installed"),
            _ => error,
        })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The word after `label` in the first line that has it.
fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let (_, rest) = text.lines().find_map(|line| line.split_once(label))?;
    rest.split_whitespace().next()
}

fn wrk(output: &str) -> Option<Reached> {
    let requests = output
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))?
        .0;
    Some(Reached {
        requests: requests.parse().ok()?,
        per_second: after(output, "Requests/sec:")?.parse().ok()?,
        p50_us: after(output, "50%").and_then(microseconds),
        p99_us: after(output, "99%").and_then(microseconds),
        ..Reached::default()
    })
}

fn h2load(output: &str) -> Option<Reached> {
    let done = output
        .lines()
        .find_map(|line| line.strip_prefix("requests:")?.split_once(" done"))?
        .0;
    let (_, rate) = output
        .lines()
        .find_map(|line| line.strip_prefix("finished in ")?.split_once(", "))?;
    Some(Reached {
        requests: done.rsplit(' ').next()?.parse().ok()?,
        per_second: rate.split_whitespace().next()?.parse().ok()?,
        ..Reached::default()
    })
}

/// `412.00us`, `1.25ms`, `2.00s`.
fn microseconds(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_understood() {
        let output = "Running 2s test @ http://127.0.0.1:1/b/128\n  1 threads and 64 connections\n  \
                      Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   593.99us  212.84us   4.11ms   79.12%\n  \
                      Latency Distribution\n     50%  556.00us\n     75%  674.00us\n     90%  822.00us\n     99%    1.31ms\n  \
                      214748 requests in 2.10s, 50.23MB read\nRequests/sec: 102263.31\nTransfer/sec:     23.92MB\n";
        let wanted = Reached {
            requests: 214_748.0,
            per_second: 102_263.31,
            p50_us: Some(556.0),
            p99_us: Some(1_310.0),
            ..Reached::default()
        };
        assert_eq!(wrk(output), Some(wanted));
        assert_eq!(wrk("unable to connect"), None);
    }

    #[test]
    fn what_h2load_prints_is_understood() {
        let output = "starting benchmark...\nfinished in 2.00s, 91234.50 req/s, 20.53MB/s\n\
                      requests: 182469 total, 182533 started, 182469 done, 182469 succeeded, 0 failed, 0 errored, 0 timeout\n";
        let reached = h2load(output).unwrap();
        assert_eq!(
            (reached.requests, reached.per_second),
            (182_469.0, 91_234.5)
        );
        assert_eq!(h2load(""), None);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(microseconds("412.00us"), Some(412.0));
        assert_eq!(microseconds("2.00s"), Some(2e6));
        assert_eq!(microseconds("3"), None);
    }
}
