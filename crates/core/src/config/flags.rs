//! Settings from the command line and the environment, with the same rules and messages as a file's.

use std::ops::Range;

use super::address::{listen, overlap};
use super::error::{Collector, Mistakes, Note};
use super::raw::Value;
use super::reader::Item;
use super::settings::{
    Check, DebugSettings, Health, Limits, Listener, LogSettings, PoolSettings, ProbeSettings,
    Settings, Workers,
};
use super::source::{COMMAND_LINE, ENVIRONMENT, Source, quoted};
use super::{conclude, file, health, pool};

/// The settings that `--listen`, `--to` and `--check` state: one pool called `app`, with the product's defaults.
///
/// # Errors
/// All mistakes; each names its flag.
pub fn from_flags(
    listen: &[String],
    to: &[String],
    check: Option<&str>,
) -> Result<Settings, Mistakes> {
    let mut line = Line::default();
    let listen: Vec<Flag<'_>> = listen.iter().map(|v| line.push("--listen", v)).collect();
    let to: Vec<Flag<'_>> = to.iter().map(|v| line.push("--to", v)).collect();
    let check = check.map(|value| line.push("--check", value));

    let source = Source::line(COMMAND_LINE, &line.0);
    let out = Collector::new(&source);
    let listeners = listeners(&listen, &out);
    let servers = pool::collect(
        to.iter().map(|flag| flag.item(&out)).collect(),
        listeners.as_deref().unwrap_or_default(),
    );
    if to.is_empty() {
        absent("--to", "a server, such as --to 127.0.0.1:9001", &out);
    }
    let probe = match check {
        Some(flag) => health::path_check(&flag.item(&out)),
        None => Some(Check::Tcp),
    };
    let settings = || {
        Some(Settings {
            workers: Workers::Auto,
            listeners: listeners?,
            pool: PoolSettings {
                health: Health::Probes(ProbeSettings {
                    check: probe?,
                    ..ProbeSettings::default()
                }),
                ..PoolSettings::new("app", servers?)
            },
            limits: Limits::default(),
            log: LogSettings::default(),
            debug: DebugSettings::default(),
        })
    };
    conclude(settings(), out)
}

/// The listener that a single `--listen` states.
///
/// # Errors
/// What is wrong with it.
pub fn listen_flag(value: &str) -> Result<Listener, Mistakes> {
    let mut line = Line::default();
    let flag = line.push("--listen", value);
    let source = Source::line(COMMAND_LINE, &line.0);
    let out = Collector::new(&source);
    let item = flag.item(&out);
    let listener = listen(&item).map(|address| Listener {
        name: "web".into(),
        address,
        origin: item.origin(),
    });
    conclude(listener, out)
}

/// Changes `log` as `text`, the value of the variable `LB_LOG`, says: `off`, `errors`, `all` or a fraction, and `text`
/// or `json`, separated by commas.
///
/// # Errors
/// Each word that is none of these; `log` may have changed.
pub fn override_log(log: &mut LogSettings, text: &str) -> Result<(), Mistakes> {
    let source = Source::line(ENVIRONMENT, text);
    let out = Collector::new(&source);
    let mut start = 0;
    for word in text.split(',') {
        let span = start..start + word.len();
        start = span.end + 1;
        let trimmed = word.trim();
        if let Some(format) = file::parse_format(trimmed) {
            log.format = format;
        } else if let Some(access) = file::parse_access(trimmed) {
            log.access = access;
        } else if !text.trim().is_empty() {
            out.add(Note {
                span: Some(span),
                key: "LB_LOG".to_owned(),
                problem: format!("unknown: {}", quoted(trimmed)),
                expected: "off, errors, all or a fraction such as 0.01".to_owned(),
                help: "the form can follow after a comma: text, json or auto".to_owned(),
                ..Note::default()
            });
        }
    }
    conclude(Some(()), out)
}

fn listeners(flags: &[Flag<'_>], out: &Collector<'_>) -> Option<Vec<Listener>> {
    if flags.is_empty() {
        absent("--listen", "an address, such as --listen :8080", out);
        return None;
    }
    let mut listeners: Vec<Listener> = Vec::new();
    let mut complete = true;
    for (at, flag) in flags.iter().enumerate() {
        let item = flag.item(out);
        let Some(address) = listen(&item) else {
            complete = false;
            continue;
        };
        if listeners
            .iter()
            .any(|other| overlap(other.address, address))
        {
            item.fail(
                "an earlier --listen has this port already",
                "an address of its own",
                "",
            );
            complete = false;
        }
        let name = match at {
            0 => "web".to_owned(),
            at => format!("web-{}", at + 1),
        };
        listeners.push(Listener {
            name: name.into(),
            address,
            origin: item.origin(),
        });
    }
    complete.then_some(listeners)
}

fn absent(flag: &str, expected: &str, out: &Collector<'_>) {
    out.add(Note {
        key: flag.to_owned(),
        problem: "missing".to_owned(),
        expected: expected.to_owned(),
        ..Note::default()
    });
}

/// The flags as one line, for messages to point into.
#[derive(Default)]
struct Line(String);

impl Line {
    fn push<'a>(&mut self, name: &'static str, value: &'a str) -> Flag<'a> {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(name);
        self.0.push(' ');
        let start = self.0.len();
        self.0.push_str(value);
        Flag {
            name,
            value,
            span: start..self.0.len(),
        }
    }
}

struct Flag<'a> {
    name: &'static str,
    value: &'a str,
    span: Range<usize>,
}

impl Flag<'_> {
    fn item<'r>(&self, out: &'r Collector<'_>) -> Item<'r> {
        let value = Value::String(self.value.to_owned());
        Item::new(out, self.name, self.span.clone(), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{AccessLog, ListenAddress, LogFormat};

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn flags_make_one_pool_with_the_defaults() {
        let listen = strings(&[":8080", "127.0.0.1:9090"]);
        let to = strings(&["127.0.0.1:9001", "http://localhost:9002"]);
        let settings = from_flags(&listen, &to, None).unwrap();
        assert_eq!(settings.listeners[0].address, ListenAddress::Any(8080));
        assert_eq!(&*settings.listeners[1].name, "web-2");
        let names: Vec<&str> = settings.pool.servers.iter().map(|s| &*s.name).collect();
        assert_eq!(names, ["127.0.0.1:9001", "localhost:9002"]);
        assert_eq!(
            settings.pool.health,
            Health::Probes(ProbeSettings::default())
        );

        let settings = from_flags(&listen, &to, Some("/healthz")).unwrap();
        let Health::Probes(probes) = settings.pool.health else {
            panic!("no probes");
        };
        assert!(matches!(probes.check, Check::Http(check)
            if check.method == "GET" && check.path == "/healthz"));
    }

    #[test]
    fn every_wrong_flag_is_named_with_its_value_marked() {
        let listen = strings(&[":8080", "8081", "0.0.0.0:8080"]);
        let to = strings(&["127.0.0.1", "a:1", "a:1"]);
        let mistakes = from_flags(&listen, &to, Some("healthz")).unwrap_err();
        assert_eq!(
            mistakes.to_string(),
            r#"error: --listen: `8081` is only a port
--> command line
 |
 | --listen :8080 --listen 8081 --listen 0.0.0.0:8080 --to 127.0.0.1 --to a:1 --to a:1 --check healthz
 |                         ^^^^ expected an address such as ":8080" or "127.0.0.1:8080"
 = help: put a colon in front to listen on every address

error: --listen: an earlier --listen has this port already
--> command line
 |
 | --listen :8080 --listen 8081 --listen 0.0.0.0:8080 --to 127.0.0.1 --to a:1 --to a:1 --check healthz
 |                                       ^^^^^^^^^^^^ expected an address of its own

error: --to: `127.0.0.1` has no port
--> command line
 |
 | --listen :8080 --listen 8081 --listen 0.0.0.0:8080 --to 127.0.0.1 --to a:1 --to a:1 --check healthz
 |                                                         ^^^^^^^^^ expected a server such as "127.0.0.1:9001" or "http://app.internal:9001"
 = help: write the host, a colon and the port

error: --to: `a:1` stands here twice
--> command line
 |
 | --listen :8080 --listen 8081 --listen 0.0.0.0:8080 --to 127.0.0.1 --to a:1 --to a:1 --check healthz
 |                                                                                 ^^^ expected an address of its own
 = help: each server is one entry; there is no weight by repetition

error: --check: found `healthz`
--> command line
 |
 | --listen :8080 --listen 8081 --listen 0.0.0.0:8080 --to 127.0.0.1 --to a:1 --to a:1 --check healthz
 |                                                                                             ^^^^^^^ expected a path such as "/healthz"
 = help: a path begins with a slash; host and port are the server's

5 mistakes in command line"#
        );
    }

    #[test]
    fn missing_flags_are_named() {
        let mistakes = from_flags(&[], &[], None).unwrap_err();
        let keys: Vec<&str> = mistakes.iter().map(|mistake| mistake.key()).collect();
        assert_eq!(keys, ["--listen", "--to"]);
    }

    #[test]
    fn the_environment_overrides_the_log() {
        let mut log = LogSettings::default();
        override_log(&mut log, "all, json").unwrap();
        assert_eq!((log.access, log.format), (AccessLog::All, LogFormat::Json));
        override_log(&mut log, "0.25").unwrap();
        assert_eq!(
            (log.access, log.format),
            (AccessLog::Share(0.25), LogFormat::Json)
        );
        override_log(&mut log, "").unwrap();
        let mistakes = override_log(&mut log, "text,debug,2").unwrap_err();
        assert_eq!(
            mistakes.to_string(),
            "error: LB_LOG: unknown: `debug`
--> environment
 |
 | text,debug,2
 |      ^^^^^ expected off, errors, all or a fraction such as 0.01
 = help: the form can follow after a comma: text, json or auto

error: LB_LOG: unknown: `2`
--> environment
 |
 | text,debug,2
 |            ^ expected off, errors, all or a fraction such as 0.01
 = help: the form can follow after a comma: text, json or auto

2 mistakes in environment"
        );
    }
}
