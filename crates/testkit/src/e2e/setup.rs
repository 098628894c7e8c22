//! What most scenarios begin with: a configuration around some backends, and a balancer that runs it.

use std::path::Path;
use std::time::Duration;

use crate::backend::Backend;
use crate::process::Proxy;
use crate::wait::PATIENCE;

/// A configuration in the making. Its defaults leave nothing to chance: two workers, and no probes, so that every
/// member counts as up from the first request on.
#[derive(Clone, Debug)]
pub struct Config {
    servers: Vec<String>,
    listen: String,
    health: String,
    pool: String,
    pool_limits: String,
    limits: String,
    access: String,
    more: String,
}

/// A configuration with these servers, in this order.
pub fn servers<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> Config {
    Config {
        servers: backends
            .into_iter()
            .map(|b| format!("\"{}\"", b.address()))
            .collect(),
        listen: "127.0.0.1:0".into(),
        health: "\"off\"".into(),
        pool: String::new(),
        pool_limits: String::new(),
        limits: String::new(),
        access: "off".into(),
        more: String::new(),
    }
}

impl Config {
    /// One more server, as a backup.
    #[must_use]
    pub fn backup(mut self, backend: &Backend) -> Self {
        let server = format!("{{ url = \"{}\", backup = true }}", backend.address());
        self.servers.push(server);
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = address.into();
        self
    }

    /// The value of `health`.
    #[must_use]
    pub fn health(mut self, value: &str) -> Self {
        self.health = value.into();
        self
    }

    /// Further lines of `[pool.app]`.
    #[must_use]
    pub fn pool(mut self, lines: &str) -> Self {
        self.pool = lines.into();
        self
    }

    /// Lines of `[pool.app.limits]`.
    #[must_use]
    pub fn pool_limits(mut self, lines: &str) -> Self {
        self.pool_limits = lines.into();
        self
    }

    /// Lines of `[limits]`.
    #[must_use]
    pub fn limits(mut self, lines: &str) -> Self {
        self.limits = lines.into();
        self
    }

    /// The value of `log.access`.
    #[must_use]
    pub fn access(mut self, which: &str) -> Self {
        self.access = which.into();
        self
    }

    /// Further tables.
    #[must_use]
    pub fn more(mut self, text: &str) -> Self {
        self.more = text.into();
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        format!(
            "workers = 2\n[listen]\nweb = \"{}\"\n[pool.app]\nservers = [{}]\nhealth = {}\n{}\n[pool.app.limits]\n{}\n\
             [limits]\n{}\n[log]\naccess = \"{}\"\nformat = \"json\"\n{}\n",
            self.listen,
            self.servers.join(", "),
            self.health,
            self.pool,
            self.pool_limits,
            self.limits,
            self.access,
            self.more,
        )
    }

    /// A balancer that runs it.
    pub fn start(&self, binary: &Path) -> Proxy {
        Proxy::start(binary, &self.text())
    }
}

/// A balancer before one backend, and nothing special.
pub fn before(binary: &Path, backend: &Backend) -> Proxy {
    servers([backend]).start(binary)
}

/// Longer than anything that must happen at once, shorter than any default timeout.
pub const AT_ONCE: Duration = Duration::from_secs(5);

/// Runs a scenario with an end: a hang is a failure, too.
///
/// # Panics
/// When the scenario does, or when it takes longer than any can.
pub fn bounded(binary: &str, scenario: fn(&Path)) {
    let binary = binary.to_owned();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        scenario(Path::new(&binary));
        drop(done);
    });
    match ended.recv_timeout(PATIENCE * 6) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the scenario hangs"),
        _ => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}
