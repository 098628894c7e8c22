//! The `demo` command, where its output is no terminal.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::get;
use crate::wait::eventually;

fn demo(binary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("demo")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// It ends by itself with a summary that names every incident, and the exit code is what the summary says. How fast
/// everything was depends on the machine, so it is not judged here.
pub fn the_demo_goes_once_through_its_programme(binary: &Path) {
    let output = demo(binary, &["--once"]).output().expect("the demo starts");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        !text.contains('\x1b'),
        "escape sequences are for terminals: {text}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let (_, summary) = text.split_once("\nSummary of ").expect("a summary");
    for incident in ["b killed ", "c frozen ", "all killed "] {
        assert!(summary.contains(incident), "{text}");
    }
    let as_wanted = text
        .lines()
        .last()
        .is_some_and(|line| line.starts_with("As wanted: "));
    assert_eq!(output.status.code(), Some(i32::from(!as_wanted)), "{text}");
}

/// The address that it prints is a balancer's; when the demo is killed, its servers end, also one that is stopped.
pub fn the_demo_leaves_no_server_behind_when_it_is_killed(binary: &Path) {
    let mut child = demo(binary, &[]).spawn().expect("the demo starts");
    let address = address(&mut child);
    let answer = get(address, "/");
    assert_eq!(answer.status(), 200);
    assert!(answer.text().starts_with("hello from "), "{answer:?}");

    // Three, or fewer when this machine is so slow that the programme has begun to kill.
    let servers = children(child.id());
    if cfg!(target_os = "linux") {
        assert!(!servers.is_empty());
    }
    if let Some(server) = servers.first() {
        // The programme may have ended it.
        let _ = kill_process(*server, Signal::STOP);
    }
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    for server in servers {
        eventually("the server ends", || {
            state(server).is_none_or(|state| state == 'Z')
        });
    }
}

/// What the demo prints for people to try.
fn address(child: &mut Child) -> SocketAddr {
    let out = child.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(out).lines();
    let url = lines.find_map(|line| {
        let line = line.expect("text");
        let (_, url) = line.split_once("curl http://")?;
        Some(url.trim_end_matches('/').to_owned())
    });
    // Somebody has to read the rest.
    std::thread::spawn(move || lines.for_each(drop));
    url.expect("an address").parse().expect("an address")
}

/// The children of a process, where the system tells.
fn children(parent: u32) -> Vec<Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    let ids = list.split_whitespace().filter_map(|id| id.parse().ok());
    ids.filter_map(Pid::from_raw).collect()
}

/// The letter behind the name in its status: `Z` is an ended process that nobody asked about yet.
fn state(process: Pid) -> Option<char> {
    let id = process.as_raw_nonzero();
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
