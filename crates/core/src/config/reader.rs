//! Reads typed values out of the tree and notes every mistake on the way.
//!
//! An [`Item`] is a value that knows its key's path and its place, so that each complaint is complete. A reading method that returns `None` has complained.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use super::error::{Collector, Note};
use super::origin::Origin;
use super::raw::{Node, Value};
use super::source::quoted;
use super::suggest::nearest;
use super::table::Table;
use super::value::{self, Unreadable};

/// The longest time that can be configured: what is longer is as good as never.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// A value, its key's path and its place.
#[derive(Debug)]
pub(super) struct Item<'r> {
    out: &'r Collector<'r>,
    path: String,
    span: Range<usize>,
    value: Value,
}

impl<'r> Item<'r> {
    /// A value at a place.
    pub(super) fn new(
        out: &'r Collector<'r>,
        path: impl Into<String>,
        span: Range<usize>,
        value: Value,
    ) -> Self {
        Self {
            out,
            path: path.into(),
            span,
            value,
        }
    }

    /// The place without the value, for complaints that come later.
    pub(super) fn place(&self) -> Self {
        self.with(Value::Broken)
    }

    /// The place, for complaints about settings that are in use.
    pub(super) fn origin(&self) -> Origin {
        Origin::new(&self.path, self.out.source(), &self.span)
    }

    /// The same place with another value.
    pub(super) fn with(&self, value: Value) -> Self {
        Self::new(self.out, self.path.as_str(), self.span.clone(), value)
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
        self.fail_unknown(text, words.iter().chain(later).copied(), &expected);
        None
    }

    /// Complains that `text` is none of `words`, or whatever else is `expected`.
    pub(super) fn fail_unknown<'w>(
        &self,
        text: &str,
        words: impl Iterator<Item = &'w str>,
        expected: &str,
    ) {
        let help = match nearest(text, words) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => String::new(),
        };
        self.fail(format!("unknown: {}", quoted(text)), expected, &help);
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
        Some(Table::new(self.out, self.path, self.span, entries))
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

/// Puts a value that was given and read in its place.
pub(super) fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}
