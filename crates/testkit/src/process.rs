//! The balancer's binary as a child process: start, watch its log, signal, wait for its end.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait::{PATIENCE, Watch};

/// A directory of its own for one child; removed with it.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lb-e2e-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs the binary to its end, with these arguments.
///
/// # Panics
/// When it does not end.
pub fn run(binary: &Path, arguments: &[&str]) -> Finished {
    finish(command(binary).args(arguments))
}

/// The same with a variable in its environment.
///
/// # Panics
/// When it does not end.
pub fn run_with_variable(
    binary: &Path,
    (name, value): (&str, &str),
    arguments: &[&str],
) -> Finished {
    finish(command(binary).args(arguments).env(name, value))
}

fn finish(command: &mut Command) -> Finished {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let readers = [
        std::thread::spawn(move || text(stdout)),
        std::thread::spawn(move || text(stderr)),
    ];
    let status = wait(&mut child, PATIENCE);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let [stdout, stderr] = readers.map(|reader| reader.join().expect("readable output"));
    let status = status.unwrap_or_else(|| panic!("it does not end:\n{stdout}\n{stderr}"));
    Finished {
        code: status.code(),
        stdout,
        stderr,
    }
}

/// Runs the binary to its end with a configuration file of this name and text; its path follows the arguments.
///
/// # Panics
/// When it does not end.
pub fn run_with_file(binary: &Path, arguments: &[&str], name: &str, config: &str) -> Finished {
    let scratch = Scratch::new();
    let file = scratch.0.join(name);
    std::fs::write(&file, config).expect("a writable file");
    let mut all = arguments.to_vec();
    all.push(file.to_str().expect("a plain path"));
    run(binary, &all)
}

fn text(source: Option<impl Read>) -> String {
    let mut text = Vec::new();
    if let Some(mut source) = source {
        let _ = source.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .stdin(Stdio::null())
        .env_remove("LB_CONFIG")
        .env_remove("LB_LOG");
    command
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child to wait for") {
            return Some(status);
        }
        if start.elapsed() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running balancer; killed when dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    address: SocketAddr,
    log: Arc<Watch<Vec<String>>>,
    _scratch: Scratch,
}

impl Proxy {
    /// Starts it with a TOML configuration and waits until it listens.
    ///
    /// # Panics
    /// When it does not come to listen.
    pub fn start(binary: &Path, config: &str) -> Self {
        Self::start_with_file(binary, "lb.toml", config)
    }

    /// The same with a configuration file of this name.
    ///
    /// # Panics
    /// When it does not come to listen.
    pub fn start_with_file(binary: &Path, name: &str, config: &str) -> Self {
        let scratch = Scratch::new();
        let file = scratch.0.join(name);
        std::fs::write(&file, config).expect("a writable file");
        let file = file.to_str().expect("a plain path").to_owned();
        Self::spawn(binary, &["run", "--config", &file], scratch)
    }

    /// Starts it with arguments alone.
    ///
    /// # Panics
    /// When it does not come to listen.
    pub fn start_with(binary: &Path, arguments: &[&str]) -> Self {
        Self::spawn(binary, arguments, Scratch::new())
    }

    fn spawn(binary: &Path, arguments: &[&str], scratch: Scratch) -> Self {
        let mut child = command(binary)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Watch::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().expect("piped"), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.change(|lines| lines.push(line));
            }
        });
        let mut proxy = Self {
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            log,
            _scratch: scratch,
        };
        let line = proxy.wait_for_event("listening", |_| true);
        let address = line["address"].as_str().and_then(|text| text.parse().ok());
        proxy.address = address.unwrap_or_else(|| panic!("no address in {line}"));
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The lines of its log so far.
    pub fn lines(&self) -> Vec<String> {
        self.log.read(Clone::clone)
    }

    /// The events of its log so far.
    pub fn events(&self) -> Vec<Value> {
        self.lines().iter().filter_map(|line| parse(line)).collect()
    }

    /// Waits for a log line of this event that `wanted` recognises.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`].
    pub fn wait_for_event(&self, event: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = self.log.wait_for(PATIENCE, |lines| {
            lines
                .iter()
                .filter_map(|line| parse(line))
                .find(|line| line["event"] == event && wanted(line))
        });
        found.unwrap_or_else(|| panic!("no {event} in the log:\n{}", self.lines().join("\n")))
    }

    /// Waits for the log line of a member's `count`th change to this state.
    ///
    /// # Panics
    /// When it does not come within [`PATIENCE`].
    pub fn wait_for_transition(&self, member: SocketAddr, to: &str, count: usize) -> Value {
        let member = member.to_string();
        let found = self.log.wait_for(PATIENCE, |lines| {
            lines
                .iter()
                .filter_map(|line| parse(line))
                .filter(|line| {
                    line["event"] == "transition" && line["member"] == *member && line["to"] == to
                })
                .nth(count - 1)
        });
        found.unwrap_or_else(|| {
            let log = self.lines().join("\n");
            panic!("{member} did not become {to} {count} times:\n{log}")
        })
    }

    /// Asks it to stop (TERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to stop as Ctrl-C does (INT).
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process(pid.expect("a process id"), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `patience`.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        wait(&mut self.child, patience)
            .unwrap_or_else(|| panic!("it does not end:\n{}", self.lines().join("\n")))
    }

    /// Has it ended?
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child to wait for")
    }
}

fn parse(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let ended = self.child.try_wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the balancer's log ({ended:?} at the end of the scenario):");
            let lines = self.lines();
            for line in &lines[lines.len().saturating_sub(60)..] {
                eprintln!("  {line}");
            }
        }
    }
}
