//! One tree for TOML and JSON in which every key and value knows where it stands in the text.
//!
//! It knows no key: the sections give it meaning. What can't be understood is reported, and stands in the tree as
//! [`Value::Broken`], about which nobody complains again.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::error::{Collector, Note};
use super::source::{Source, quoted};

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
pub(super) fn toml(source: &Source<'_>, text: &str, out: &Collector<'_>) -> Vec<Entry> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in told(errors) {
        let end = text.len();
        let span = error.span().unwrap_or(end..end);
        let found = text.get(span.clone()).unwrap_or_default();
        let line = source.text_of(source.line_of(span.start.min(end)));
        let (problem, expected, help) = words(error.message(), found, line);
        out.add(Note {
            lost: error.message().contains(MISSING_COMMA),
            span: Some(span),
            problem: format!("this is not TOML: {problem}"),
            expected,
            help,
            syntax: true,
            ..Note::default()
        });
    }
    entries(table.into_inner(), out)
}

const MISSING_COMMA: &str = "missing comma between array elements";

/// The errors worth telling: an array that is not closed swallows the rest of the file, and all that the parser says
/// about that follows from the first thing it says.
fn told(mut errors: Vec<toml::de::Error>) -> Vec<toml::de::Error> {
    errors.sort_by_key(|error| error.span().map_or(usize::MAX, |span| span.start));
    let unclosed = errors
        .iter()
        .any(|error| error.message().contains("unclosed array"));
    let first = errors
        .iter()
        .position(|error| error.message().contains(MISSING_COMMA));
    if let (true, Some(first)) = (unclosed, first) {
        errors.truncate(first + 1);
    }
    errors
}

/// Problem, expectation and help for what the parser said about `found` in `line`.
fn words(message: &str, found: &str, line: &str) -> (String, String, String) {
    let (problem, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let (expected, help) = if message.contains("must be quoted") {
        let found = quoted(found.trim());
        (
            String::new(),
            format!("write \"{}\"", found.trim_matches('`')),
        )
    } else if message.contains(MISSING_COMMA) {
        let help = "an array ends with `]`, a string with its quote";
        ("`,` or `]`".to_owned(), help.to_owned())
    } else if message.contains("key") && line.contains(':') && !line.contains('=') {
        let help = "keys and values are joined by `=`";
        (expected.to_owned(), help.to_owned())
    } else if expected == "nothing" {
        (String::new(), String::new())
    } else {
        (expected.to_owned(), String::new())
    };
    (problem.to_owned(), expected, help)
}

fn entries(table: DeTable<'_>, out: &Collector<'_>) -> Vec<Entry> {
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
fn node(span: Range<usize>, value: DeValue<'_>, out: &Collector<'_>) -> Node {
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

fn broken_number(span: &Range<usize>, out: &Collector<'_>) -> Value {
    out.add(Note {
        span: Some(span.clone()),
        problem: "this number can't be read".to_owned(),
        syntax: true,
        ..Note::default()
    });
    Value::Broken
}
