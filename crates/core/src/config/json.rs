//! JSON into the tree of [`raw`](super::raw).
//!
//! `serde_json` reads and checks the text. Its raw values are slices of it, so where a value stands follows from where
//! its slice begins.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{Collector, Note};
use super::raw::{Entry, Node, Value};
use super::source::{Source, quoted};

/// Levels of nesting; each costs another look at the text below it. The deepest key there is stands at six.
const DEPTH_MAX: usize = 16;

/// Reads JSON whose outermost value is an object.
pub(super) fn json(source: &Source<'_>, text: &str, out: &Collector<'_>) -> Vec<Entry> {
    let raw: &RawValue = match serde_json::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let at = source.offset(error.line(), error.column());
            let message = error.to_string();
            // The position is shown in our own way.
            let message = message.rsplit_once(" at line ").map_or(&*message, |m| m.0);
            syntax(at..at + 1, message, out);
            return Vec::new();
        }
    };
    let reader = Reader { text, out };
    match reader.value(raw, 0) {
        Value::Table(entries) => entries,
        Value::Broken => Vec::new(),
        other => {
            let problem = format!("found {} instead of an object", other.description());
            syntax(reader.span(raw), &problem, out);
            Vec::new()
        }
    }
}

fn syntax(span: std::ops::Range<usize>, problem: &str, out: &Collector<'_>) {
    out.add(Note {
        span: Some(span),
        problem: format!("this is not JSON: {problem}"),
        syntax: true,
        ..Note::default()
    });
}

struct Reader<'a> {
    text: &'a str,
    out: &'a Collector<'a>,
}

impl<'a> Reader<'a> {
    /// `raw` is a slice of `self.text`.
    fn span(&self, raw: &'a RawValue) -> std::ops::Range<usize> {
        let raw = raw.get();
        let start = raw.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        let start = start.min(self.text.len());
        start..start + raw.len()
    }

    fn value(&self, raw: &'a RawValue, depth: usize) -> Value {
        let text = raw.get();
        let read = match text.as_bytes().first() {
            Some(b'{' | b'[') if depth >= DEPTH_MAX => {
                let at = self.span(raw).start;
                syntax(at..at + 1, "nested too deeply", self.out);
                return Value::Broken;
            }
            Some(b'{') => self.table(raw, depth),
            Some(b'[') => self.array(raw, depth),
            Some(b'"') => serde_json::from_str(text).map(Value::String),
            Some(b't') => Ok(Value::Bool(true)),
            Some(b'f') => Ok(Value::Bool(false)),
            Some(b'n') => Ok(Value::Null),
            _ => match text.parse() {
                Ok(number) => Ok(Value::Integer(number)),
                Err(_) => serde_json::from_str(text).map(Value::Float),
            },
        };
        read.unwrap_or_else(|error| {
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(&*message, |m| m.0);
            syntax(self.span(raw), message, self.out);
            Value::Broken
        })
    }

    fn array(&self, raw: &'a RawValue, depth: usize) -> serde_json::Result<Value> {
        let items: Vec<&'a RawValue> = serde_json::from_str(raw.get())?;
        let node = |item| Node {
            span: self.span(item),
            value: self.value(item, depth + 1),
        };
        Ok(Value::Array(items.into_iter().map(node).collect()))
    }

    fn table(&self, raw: &'a RawValue, depth: usize) -> serde_json::Result<Value> {
        let mut pairs = serde_json::Deserializer::from_str(raw.get());
        let pairs = pairs.deserialize_map(Pairs)?;
        let mut entries: Vec<Entry> = Vec::with_capacity(pairs.len());
        let mut seen = BTreeSet::new();
        for (key, value) in pairs {
            let key_span = self.span(key);
            let key: String = serde_json::from_str(key.get())?;
            if !seen.insert(key.clone()) {
                let problem = format!("the key {} stands here twice", quoted(&key));
                syntax(key_span, &problem, self.out);
                continue;
            }
            entries.push(Entry {
                key,
                key_span,
                node: Node {
                    span: self.span(value),
                    value: self.value(value, depth + 1),
                },
            });
        }
        Ok(Value::Table(entries))
    }
}

/// The pairs of an object as slices.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}
