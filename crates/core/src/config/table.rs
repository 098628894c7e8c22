//! A table that is emptied key by key: what nobody asked for is unknown.

use std::ops::Range;

use super::error::{Collector, Note};
use super::raw::{Entry, Value};
use super::reader::Item;
use super::source::join;
use super::suggest::nearest;

/// A table that is emptied key by key.
#[derive(Debug)]
pub(super) struct Table<'r> {
    out: &'r Collector<'r>,
    path: String,
    /// Of its key, or of itself where it has none; the whole file has no place.
    span: Option<Range<usize>>,
    entries: Vec<Entry>,
    asked: Vec<&'static str>,
}

impl<'r> Table<'r> {
    /// The whole file.
    pub(super) fn root(out: &'r Collector<'r>, entries: Vec<Entry>) -> Self {
        Self {
            out,
            path: String::new(),
            span: None,
            entries,
            asked: Vec::new(),
        }
    }

    /// The table at `path`.
    pub(super) fn new(
        out: &'r Collector<'r>,
        path: String,
        span: Range<usize>,
        entries: Vec<Entry>,
    ) -> Self {
        Self {
            out,
            path,
            span: Some(span),
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
        Item::new(self.out, self.join(&entry.key), span, entry.node.value)
    }

    fn join(&self, key: &str) -> String {
        join(&self.path, key)
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
