//! The log: transitions, exchanges and plain lines, as text for people or JSON for machines.
//!
//! [`Log`] formats and queues and never blocks; its [`Writer`] writes, on a thread that may. The queue is bounded: what
//! does not fit is dropped, counted, and reported by a later line. Everything a client or backend supplied is escaped.
//! There is no line per probe, and no query string: it may hold a secret.
//!
//! ```
//! use lb_core::config::settings::LogSettings;
//! use lb_core::rng::Rng;
//! use lb_engine::logging::{Log, SystemClock};
//!
//! let terminal = false;
//! let (log, writer) = Log::new(LogSettings::default(), terminal, SystemClock, Rng::new(1));
//! log.info("started");
//! drop(log);
//! let mut out = Vec::new();
//! futures::executor::block_on(writer.run(&mut out));
//! assert!(out.ends_with(b"\"level\":\"info\",\"event\":\"started\"}\n"));
//! ```

use std::fmt::{self, Display};
use std::sync::Arc;

use lb_core::config::settings::{AccessLog, LogFormat, LogSettings};
use lb_core::event::{Adapted, Exchange, Observer, Transition};
use lb_core::rng::Rng;
use lb_core::time::WallClock;

mod clock;
mod escape;
mod form;
mod json;
mod queue;
mod text;
mod throttle;

pub use clock::{SystemClock, Timestamp};
pub use queue::Writer;

pub(crate) use escape::clean;
use form::Form;
use queue::Queue;
pub(crate) use throttle::Throttle;

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// As it should be.
    Info,
    /// Somebody may want to look.
    Warn,
    /// Somebody has to look.
    Error,
}

impl Level {
    /// A short stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What a line says beside its message.
#[derive(Clone, Copy)]
pub enum Field<'a> {
    /// Words.
    Text(&'a dyn Display),
    /// A number: in JSON it is one, too.
    Number(f64),
}

impl Field<'_> {
    /// A count; exact up to 2^53.
    pub fn count(count: usize) -> Self {
        Self::Number(count as f64)
    }
}

impl Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// The log. Clones write to the same place.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    access: AccessLog,
    form: Form,
    clock: Arc<dyn WallClock>,
    rng: Rng,
    queue: Queue,
}

impl Log {
    /// A log and what must run for its lines to be written. `terminal` says whether they go to one; `rng` chooses the
    /// requests of [`AccessLog::Share`].
    pub fn new(
        settings: LogSettings,
        terminal: bool,
        clock: impl WallClock,
        rng: Rng,
    ) -> (Self, Writer) {
        let clock: Arc<dyn WallClock> = Arc::new(clock);
        let form = match settings.format {
            LogFormat::Text => Form::Text,
            LogFormat::Json => Form::Json,
            LogFormat::Auto if terminal => Form::Text,
            LogFormat::Auto => Form::Json,
        };
        let (queue, writer) = queue::queue(form, clock.clone());
        let log = Self(Arc::new(Inner {
            access: settings.access,
            form,
            clock,
            rng,
            queue,
        }));
        (log, writer)
    }

    /// Logs `message`.
    pub fn info(&self, message: &str) {
        self.say(Level::Info, message, &[]);
    }

    /// Logs `message`: somebody may want to look.
    pub fn warn(&self, message: &str) {
        self.say(Level::Warn, message, &[]);
    }

    /// Logs `message`: somebody has to look.
    pub fn error(&self, message: &str) {
        self.say(Level::Error, message, &[]);
    }

    /// Logs `message` with further fields, which JSON keeps apart.
    pub fn say(&self, level: Level, message: &str, fields: &[(&str, Field<'_>)]) {
        let line = self.0.form.plain(self.now(), level, message, fields);
        self.0.queue.push(line);
    }

    /// Lets the writer end once everything before this call is written, even while clones of the log exist. Later lines
    /// are lost.
    pub fn stop(&self) {
        self.0.queue.close();
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.0.clock.since_unix_epoch())
    }

    fn selects(&self, exchange: &Exchange) -> bool {
        match self.0.access {
            AccessLog::Off => false,
            AccessLog::All => true,
            AccessLog::Errors => exchange.failed(),
            AccessLog::Share(share) => exchange.failed() || self.draw() < share,
        }
    }

    /// Uniform in [0, 1): the 53 bits that a double holds exactly.
    fn draw(&self) -> f64 {
        (self.0.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Observer for Log {
    fn transition(&self, transition: &Transition<'_>) {
        let line = self.0.form.transition(self.now(), transition);
        self.0.queue.push(line);
    }

    fn wants_exchanges(&self) -> bool {
        self.0.access != AccessLog::Off
    }

    fn adapted(&self, adapted: &Adapted<'_>) {
        let line = self.0.form.adapted(self.now(), adapted);
        self.0.queue.push(line);
    }

    fn exchange(&self, exchange: &Exchange) {
        if self.selects(exchange) {
            let line = self.0.form.exchange(self.now(), exchange);
            self.0.queue.push(line);
        }
    }
}

#[cfg(test)]
mod tests;
