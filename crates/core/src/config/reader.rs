//! Reads typed values out of the tree and notes every mistake on the way.
//!
//! A [`Table`] is emptied key by key; what nobody asked for is unknown. An [`Item`] is a value that knows its key's path
//! and its place, so that each complaint is complete. A reading method that returns `None` has complained.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use super::error::{Collector, Note};
use super::raw::{Entry, Node, Value};
use super::source::quoted;
use super::suggest::nearest;
use super::value::{self, Unreadable};

/// The longest time that can be configured: what is longer is as good as never.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// A value, its key's path and its place.
#[derive(Debug)]
pub(super) struct Item<'r> {
    out: &'r Collector,
    path: String,
    span: Range<usize>,
    value: Value,
}

impl<'r> Item<'r> {
    /// A value from elsewhere than a file.
    pub(super) fn new(out: &'r Collector, path: &str, span: Range<usize>, value: Value) -> Self {
        Self {
            out,
            path: path.to_owned(),
            span,
            value,
        }
    }

    /// The place without the value, for complaints that come later.
    pub(super) fn place(&self) -> Self {
        Self::new(self.out, &self.path, self.span.clone(), Value::Broken)
    }

    /// The value as it stands in the tree.
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// Complains.
    pub(super) fn fail(&self, problem: impl Into<String>, expected: &str, help: &str) {
        self.out.add(Note {
            span: Some(self.span.clone()),
            key: self.path.clone(),
            problem: problem.into(),
            expected: expected.to_owned(),
            help: help.to_owned(),
            ..Note::default()
        });
    }

    /// Complains that the product has this and this version does not.
    pub(super) fn fail_later(&self, what: &str) {
        self.fail(
            format!("{what} is known, but not in this version"),
            "",
            "leave it out for now",
        );
    }

    /// Complains about the type of the value, unless somebody complained about it before.
    pub(super) fn fail_type(&self, expected: &str, help: &str) {
        if !matches!(self.value, Value::Broken) {
            self.fail(
                format!("found {}", self.value.description()),
                expected,
                help,
            );
        }
    }

    /// Complains that something is missing in this value.
    pub(super) fn fail_absent(&self, problem: &str, expected: &str, help: &str) {
        self.out.add(Note {
            span: Some(self.span.clone()),
            key: self.path.clone(),
            problem: problem.to_owned(),
            expected: expected.to_owned(),
            help: help.to_owned(),
            absence: true,
            ..Note::default()
        });
    }

    /// A string.
    pub(super) fn string(&self, expected: &str) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => {
                self.fail_type(expected, "");
                None
            }
        }
    }

    /// One of `words`; those of `later` are known and not in this version.
    pub(super) fn word(&self, words: &[&'static str], later: &[&str]) -> Option<&'static str> {
        let expected = one_of(words);
        let text = self.string(&expected)?;
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Some(word);
        }
        if later.contains(&text) {
            self.fail_later(&quoted(text));
            return None;
        }
        let help = match nearest(text, words.iter().chain(later).copied()) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => String::new(),
        };
        self.fail(format!("unknown: {}", quoted(text)), &expected, &help);
        None
    }

    /// A whole number; `why` says what is wrong beyond the bounds.
    pub(super) fn integer(&self, bounds: RangeInclusive<u32>, why: &str) -> Option<u32> {
        let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
        let Value::Integer(number) = self.value else {
            self.fail_type(&expected, "");
            return None;
        };
        let value = u32::try_from(number)
            .ok()
            .filter(|value| bounds.contains(value));
        if value.is_none() {
            self.fail(format!("found {number}"), &expected, why);
        }
        value
    }

    /// A duration above zero.
    pub(super) fn duration(&self) -> Option<Duration> {
        let value = self.duration_or_zero()?;
        if value.is_zero() {
            let help = "nothing can happen within no time at all";
            self.fail("found a zero duration", "a duration above zero", help);
            return None;
        }
        Some(value)
    }

    /// A duration.
    pub(super) fn duration_or_zero(&self) -> Option<Duration> {
        let expected = "a duration such as \"2s\"";
        let text = match &self.value {
            Value::String(text) => text,
            Value::Integer(_) | Value::Float(_) => {
                let problem = format!("found {} without a unit", self.value.description());
                self.fail(problem, expected, value::DURATION_UNITS);
                return None;
            }
            _ => {
                self.fail_type(expected, value::DURATION_UNITS);
                return None;
            }
        };
        match value::duration(text) {
            Ok(value) if value > DURATION_MAX => {
                self.fail(
                    format!("{} is longer than 24h", quoted(text)),
                    "at most \"24h\"",
                    "",
                );
                None
            }
            Ok(value) => Some(value),
            Err(why) => {
                self.fail_unreadable(text, why, expected, value::DURATION_UNITS);
                None
            }
        }
    }

    /// A size in bytes within `bounds`; `why` says what is wrong beyond them.
    pub(super) fn size(&self, bounds: RangeInclusive<u64>, why: &str) -> Option<u64> {
        let expected = "a size such as \"16KiB\"";
        let text = match &self.value {
            Value::String(text) => text,
            Value::Integer(_) | Value::Float(_) => {
                let problem = format!("found {} without a unit", self.value.description());
                self.fail(problem, expected, value::SIZE_UNITS);
                return None;
            }
            _ => {
                self.fail_type(expected, value::SIZE_UNITS);
                return None;
            }
        };
        match value::size(text) {
            Ok(size) if bounds.contains(&size) => Some(size),
            Ok(_) => {
                let expected = format!(
                    "a size from {} to {}",
                    value::show_size(*bounds.start()),
                    value::show_size(*bounds.end())
                );
                self.fail(format!("found {}", quoted(text)), &expected, why);
                None
            }
            Err(why) => {
                self.fail_unreadable(text, why, expected, value::SIZE_UNITS);
                None
            }
        }
    }

    /// Is it the word "off"?
    pub(super) fn is_off(&self) -> bool {
        matches!(&self.value, Value::String(text) if text == "off")
    }

    fn fail_unreadable(&self, text: &str, why: Unreadable, expected: &str, units: &str) {
        let text = quoted(text);
        let problem = match why {
            Unreadable::NoUnit => format!("{text} has no unit"),
            Unreadable::Unit(unit) => format!("{text} has an unknown unit {}", quoted(&unit)),
            Unreadable::NoNumber if text == "`off`" => "this can't be switched off".to_owned(),
            Unreadable::NoNumber => format!("{text} does not start with a number"),
            Unreadable::TooLarge => format!("{text} is too large"),
        };
        self.fail(problem, expected, units);
    }

    /// The items of an array.
    pub(super) fn array(self, expected: &str, help: &str) -> Option<Vec<Item<'r>>> {
        let Value::Array(nodes) = self.value else {
            self.fail_type(expected, help);
            return None;
        };
        let item = |(at, node): (usize, Node)| Item {
            out: self.out,
            path: format!("{}[{}]", self.path, at + 1),
            span: node.span,
            value: node.value,
        };
        Some(nodes.into_iter().enumerate().map(item).collect())
    }

    /// A table.
    pub(super) fn table(self, expected: &str, help: &str) -> Option<Table<'r>> {
        let Value::Table(entries) = self.value else {
            self.fail_type(expected, help);
            return None;
        };
        Some(Table {
            out: self.out,
            path: self.path,
            span: Some(self.span),
            entries,
            asked: Vec::new(),
        })
    }
}

/// `"a", "b" or "c"`.
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

/// A table that is emptied key by key.
#[derive(Debug)]
pub(super) struct Table<'r> {
    out: &'r Collector,
    path: String,
    /// Of its key, or of itself where it has none; the whole file has no place.
    span: Option<Range<usize>>,
    entries: Vec<Entry>,
    asked: Vec<&'static str>,
}

impl<'r> Table<'r> {
    /// The whole file.
    pub(super) fn root(out: &'r Collector, entries: Vec<Entry>) -> Self {
        Self {
            out,
            path: String::new(),
            span: None,
            entries,
            asked: Vec::new(),
        }
    }

    /// Takes the value of `key`, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'r>> {
        self.asked.push(key);
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        let entry = self.entries.remove(at);
        Some(self.item(entry))
    }

    /// Is `key` there?
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Is nothing left?
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Complains about the table itself.
    pub(super) fn fail(&self, problem: &str, expected: &str, help: &str) {
        self.out.add(Note {
            span: self.span.clone(),
            key: self.path.clone(),
            problem: problem.to_owned(),
            expected: expected.to_owned(),
            help: help.to_owned(),
            ..Note::default()
        });
    }

    /// Everything that is left, with its keys: for tables whose keys are names.
    pub(super) fn rest(mut self) -> Vec<(String, Item<'r>)> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .map(|entry| (entry.key.clone(), self.item(entry)))
            .collect()
    }

    fn item(&self, entry: Entry) -> Item<'r> {
        // A table may begin anywhere, and more than once: its key is its place.
        let span = match entry.node.value {
            Value::Table(_) => entry.key_span,
            _ => entry.node.span,
        };
        Item {
            out: self.out,
            path: self.join(&entry.key),
            span,
            value: entry.node.value,
        }
    }

    fn join(&self, key: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let key = if !key.is_empty() && key.len() <= 64 && key.chars().all(plain) {
            key.to_owned()
        } else {
            quoted(key)
        };
        if self.path.is_empty() {
            key
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Complains that `key` is missing.
    pub(super) fn fail_absent(&self, key: &str, expected: &str, help: &str) {
        self.out.add(Note {
            span: self.span.clone(),
            key: self.join(key),
            problem: "missing".to_owned(),
            expected: expected.to_owned(),
            help: help.to_owned(),
            absence: true,
            ..Note::default()
        });
    }

    /// Complains about every key that nobody took. Those of `later` are known and not in this version.
    pub(super) fn finish(self, later: &[&str]) {
        let known: Vec<&str> = self.asked.iter().chain(later).copied().collect();
        for entry in &self.entries {
            let mut note = Note {
                span: Some(entry.key_span.clone()),
                key: self.join(&entry.key),
                ..Note::default()
            };
            if later.contains(&&*entry.key) {
                note.problem = "this key is known, but not in this version".to_owned();
                note.help = "leave it out for now".to_owned();
            } else {
                note.problem = "unknown key".to_owned();
                note.help = match nearest(&entry.key, known.iter().copied()) {
                    Some(key) => format!("did you mean `{key}`?"),
                    None if self.asked.is_empty() => String::new(),
                    None => format!("the keys here are {}", self.asked.join(", ")),
                };
            }
            self.out.add(note);
        }
    }
}

/// Puts a value that was given and read in its place.
pub(super) fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}
