//! Configuration: from a file's text, or from flags, to checked [`Settings`], with every mistake reported at once.
//!
//! Nothing is opened and no environment is read here: text and a lookup are handed in. The data path sees
//! [`settings`] only.
//!
//! ```
//! use lb_core::config;
//!
//! let text = br#"
//! [listen]
//! web = "0.0.0.0:8080"
//!
//! [pool.app]
//! servers = ["127.0.0.1:9001", "127.0.0.1:9002"]
//! health  = { path = "/healthz", interval = 2 }
//! "#;
//! let mistakes = config::parse("lb.toml", text, &|_| None).unwrap_err();
//! assert!(mistakes.to_string().starts_with(
//! r#"error: pool.app.health.interval: found the number 2 without a unit
//!  --> lb.toml:7:43
//!   |
//! 7 | health  = { path = "/healthz", interval = 2 }
//!   |                                           ^ expected a duration such as "2s"
//!   = help: the units are ms, s, m and h
//! "#));
//! ```

pub mod settings;

mod adaptive;
mod address;
mod alone;
mod balance;
mod error;
mod expand;
mod file;
mod flags;
mod health;
mod json;
mod limits;
mod origin;
mod passive;
mod pool;
mod raw;
mod reader;
mod smallest;
mod source;
mod sticky;
mod subset;
mod suggest;
mod summary;
mod table;
mod value;

#[cfg(test)]
mod tests;

pub use error::{Mistake, Mistakes, Trouble};
pub use flags::{from_flags, listen_flag, override_log};
pub use summary::summary;

use error::{Collector, Note};
use settings::Settings;
use source::Source;
use table::Table;

/// The largest text that is read.
const TEXT_MAX: usize = 1 << 20;

/// Reads the configuration in `text`: JSON if `file_name` ends in `.json` or the text begins with `{`, TOML otherwise.
///
/// `file_name` is shown in messages; `env` looks up the variables that string values refer to.
///
/// # Errors
/// All mistakes, in the order of the text.
pub fn parse(
    file_name: &str,
    text: &[u8],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, Mistakes> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let valid = match std::str::from_utf8(&text[..text.len().min(TEXT_MAX)]) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
    };
    let source = Source::file(file_name, valid);
    let out = Collector::new(&source);
    if valid.len() < text.len() {
        let too_large = text.len() > TEXT_MAX && valid.len() + 4 > TEXT_MAX;
        let (problem, help) = if too_large {
            ("this file is larger than 1MiB", "a configuration is small")
        } else {
            ("this is not UTF-8", "save the file as UTF-8")
        };
        out.add(Note {
            span: Some(valid.len()..valid.len() + 1),
            problem: problem.to_owned(),
            help: help.to_owned(),
            syntax: true,
            ..Note::default()
        });
        return conclude(None, out);
    }
    let is_json =
        file_name.to_ascii_lowercase().ends_with(".json") || valid.trim_start().starts_with('{');
    let mut entries = if is_json {
        json::json(&source, valid, &out)
    } else {
        raw::toml(&source, valid, &out)
    };
    expand::expand(&mut entries, "", env, &out);
    let settings = file::settings(Table::root(&out, entries));
    conclude(settings, out)
}

/// `settings` if nobody complained.
fn conclude<T>(settings: Option<T>, out: Collector<'_>) -> Result<T, Mistakes> {
    if settings.is_none() && out.is_empty() {
        // Not reached as long as whoever returns `None` has complained; a wrong answer would be worse than this.
        out.add(Note {
            problem: "this configuration can't be used".to_owned(),
            ..Note::default()
        });
    }
    let mistakes = out.finish();
    match settings {
        Some(settings) if mistakes.is_empty() => Ok(settings),
        _ => Err(mistakes),
    }
}
