//! One tree for TOML and JSON in which every key and value knows where it stands in the text.
//!
//! It knows no key: the sections give it meaning. What can't be understood is reported, and stands in the tree as
//! [`Value::Broken`], about which nobody complains again.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::error::{Collector, Note};
use super::source::Source;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// A value of either language.
#[derive(Debug)]
pub(super) enum Value {
    String(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    /// In the order of the text.
    Table(Vec<Entry>),
    Array(Vec<Node>),
    /// TOML's dates and times.
    Date,
    /// JSON's `null`.
    Null,
    /// Reported already.
    Broken,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) node: Node,
}

impl Value {
    /// What it is, for a message.
    pub(super) fn description(&self) -> String {
        match self {
            Self::String(_) => "a string".to_owned(),
            Self::Integer(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Bool(value) => value.to_string(),
            Self::Table(_) => "a table".to_owned(),
            Self::Array(_) => "an array".to_owned(),
            Self::Date => "a date or time".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Broken => "something broken".to_owned(),
        }
    }
}

/// Reads TOML, as far as it can be understood.
pub(super) fn toml(source: &Source<'_>, text: &str, out: &Collector) -> Vec<Entry> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = source.text_of(source.line_of(span.start.min(text.len())));
        let (problem, expected) = match error.message().split_once(", expected ") {
            Some((problem, expected)) => (problem, expected),
            None => (error.message(), ""),
        };
        out.add(Note {
            span: Some(span),
            problem: format!("this is not TOML: {problem}"),
            expected: expected.to_owned(),
            help: syntax_help(line).to_owned(),
            syntax: true,
            ..Note::default()
        });
    }
    entries(table.into_inner(), out)
}

/// The usual reasons why a line is not TOML.
fn syntax_help(line: &str) -> &'static str {
    let Some((_, value)) = line.split_once('=') else {
        let opens = line.trim_start().starts_with('[');
        return if !opens && line.contains(':') {
            "keys and values are joined by `=`"
        } else {
            ""
        };
    };
    let value = value.trim_start();
    if value.starts_with(|c: char| c.is_ascii_digit()) {
        "durations, sizes, shares and addresses are strings: put them in quotes"
    } else if value.starts_with(|c: char| c.is_alphabetic() || c == '/' || c == ':') {
        "strings stand in quotes"
    } else {
        ""
    }
}

fn entries(table: DeTable<'_>, out: &Collector) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_span: key.span(),
            key: key.into_inner().into_owned(),
            node: node(value.span(), value.into_inner(), out),
        })
        .collect();
    // The parser's map is sorted by key.
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

/// Recursion is bounded: the parser refuses more than 80 levels.
fn node(span: Range<usize>, value: DeValue<'_>, out: &Collector) -> Node {
    let value = match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| broken_number(&span, out), Value::Integer),
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => broken_number(&span, out),
        },
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| node(item.span(), item.into_inner(), out))
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(entries(table, out)),
    };
    Node { span, value }
}

fn broken_number(span: &Range<usize>, out: &Collector) -> Value {
    out.add(Note {
        span: Some(span.clone()),
        problem: "this number can't be read".to_owned(),
        syntax: true,
        ..Note::default()
    });
    Value::Broken
}
