//! Mistakes in a configuration, and how they are shown.
//!
//! Nothing here knows a key or a rule: the sections say what is wrong, this file says where, as text for a person.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use super::origin::Origin;
use super::source::{Place, Source};

/// Mistakes told in full; of a longer list the rest is only counted.
const TOLD_MAX: usize = 100;

/// One mistake: where it is, what was found, what was expected and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    key: String,
    problem: String,
    expected: String,
    help: String,
    place: Option<Place>,
}

impl Mistake {
    /// The key's path, such as `pool.app.health.interval`, or the flag; empty when the text could not be read.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong, with what was found.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What would have been right.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What to do next; may be empty.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Line and column, both counted from one, columns in characters. `None` when something is missing altogether.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }
}

/// What turned out to be wrong with a setting when it was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, with what was found.
    pub problem: String,
    /// What would have been right.
    pub expected: String,
    /// What to do next; may be empty.
    pub help: String,
}

/// All mistakes of one configuration, in the order of the text; at least one, and if there are hundreds the first
/// hundred. Its `Display` is what a person reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    source: String,
    numbered: bool,
    list: Vec<Mistake>,
    /// Mistakes beyond [`TOLD_MAX`].
    untold: usize,
}

impl Mistakes {
    /// What turned out to be wrong with settings of one source, each told in its place.
    pub fn at<'o>(found: impl IntoIterator<Item = (&'o Origin, Trouble)>) -> Self {
        let mut mistakes = Self {
            source: String::new(),
            numbered: false,
            list: Vec::new(),
            untold: 0,
        };
        for (origin, trouble) in found {
            let stated = origin.stated();
            if let Some(stated) = stated {
                mistakes.source.clone_from(&stated.source);
                mistakes.numbered = stated.numbered;
            }
            mistakes.list.push(Mistake {
                key: stated.map_or_else(String::new, |stated| stated.key.clone()),
                problem: trouble.problem,
                expected: trouble.expected,
                help: trouble.help,
                place: stated.map(|stated| stated.place.clone()),
            });
        }
        mistakes.untold = mistakes.list.len().saturating_sub(TOLD_MAX);
        mistakes.list.truncate(TOLD_MAX);
        mistakes
    }

    /// Each mistake, in the order of the text.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mistake> {
        self.list.iter()
    }

    /// Is there none? Never so in an error.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn write(&self, mistake: &Mistake, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error: ")?;
        if !mistake.key.is_empty() {
            write!(f, "{}: ", mistake.key)?;
        }
        writeln!(f, "{}", mistake.problem)?;
        let Some(place) = &mistake.place else {
            if !self.source.is_empty() {
                writeln!(f, " --> {}", self.source)?;
            }
            if !mistake.expected.is_empty() {
                writeln!(f, "  = expected {}", mistake.expected)?;
            }
            return write_help(mistake, " ", f);
        };
        let number = if self.numbered {
            place.line.to_string()
        } else {
            String::new()
        };
        let gutter = " ".repeat(number.len());
        if self.numbered {
            let Place { line, column, .. } = place;
            writeln!(f, "{gutter}--> {}:{line}:{column}", self.source)?;
        } else {
            writeln!(f, "{gutter}--> {}", self.source)?;
        }
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", place.text)?;
        let indent = " ".repeat(place.indent);
        write!(f, "{gutter} | {indent}{}", "^".repeat(place.width))?;
        if !mistake.expected.is_empty() {
            write!(f, " expected {}", mistake.expected)?;
        }
        writeln!(f)?;
        write_help(mistake, &gutter, f)
    }
}

fn write_help(mistake: &Mistake, gutter: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if mistake.help.is_empty() {
        return Ok(());
    }
    writeln!(f, "{gutter} = help: {}", mistake.help)
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.list {
            self.write(mistake, f)?;
            writeln!(f)?;
        }
        match self.list.len() + self.untold {
            1 => write!(f, "1 mistake")?,
            count => write!(f, "{count} mistakes")?,
        }
        if !self.source.is_empty() {
            write!(f, " in {}", self.source)?;
        }
        if self.untold > 0 {
            write!(f, ", the first {TOLD_MAX} are shown")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// What a section has to say about a value or key.
#[derive(Clone, Debug, Default)]
pub(super) struct Note {
    /// What it is about; `None` when something is missing altogether.
    pub(super) span: Option<Range<usize>>,
    /// The key's path or the flag.
    pub(super) key: String,
    /// What is wrong.
    pub(super) problem: String,
    /// What would have been right.
    pub(super) expected: String,
    /// What to do.
    pub(super) help: String,
    /// The text breaks the rules of its language.
    pub(super) syntax: bool,
    /// What follows in the text was not understood.
    pub(super) lost: bool,
    /// Something is missing, which in a text with broken syntax may just not have been understood.
    pub(super) absence: bool,
}

/// Collects notes from everywhere while a configuration is read.
#[derive(Debug)]
pub(super) struct Collector<'s> {
    source: &'s Source<'s>,
    notes: RefCell<Vec<Note>>,
}

impl<'s> Collector<'s> {
    /// Nothing yet about `source`.
    pub(super) fn new(source: &'s Source<'s>) -> Self {
        Self {
            source,
            notes: RefCell::default(),
        }
    }

    /// What is read.
    pub(super) fn source(&self) -> &Source<'s> {
        self.source
    }

    /// Adds a note.
    pub(super) fn add(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }

    /// Did nobody complain?
    pub(super) fn is_empty(&self) -> bool {
        self.notes.borrow().is_empty()
    }

    /// The mistakes so far.
    ///
    /// What a broken line says is not taken seriously: of each such line only the first breach of syntax remains, and
    /// nothing counts as missing.
    pub(super) fn finish(self) -> Mistakes {
        let source = self.source;
        let line_of = |note: &Note| Some(source.line_of(note.span.as_ref()?.start));
        let mut notes = self.notes.into_inner();
        notes.sort_by_key(|note| note.span.as_ref().map_or(usize::MAX, |span| span.start));
        let syntax: Vec<&Note> = notes.iter().filter(|note| note.syntax).collect();
        let understood = syntax.is_empty();
        let broken: BTreeSet<usize> = syntax.into_iter().filter_map(line_of).collect();
        let lost = notes.iter().filter(|note| note.lost);
        let lost = lost.filter_map(line_of).min().unwrap_or(usize::MAX);
        let mut told = BTreeSet::new();
        notes.retain(|note| match (line_of(note), note.syntax) {
            (Some(line), true) => told.insert(line),
            (None, true) => true,
            (line, false) => {
                let on_broken_line =
                    line.is_some_and(|line| line >= lost || broken.contains(&line));
                !on_broken_line && (understood || !note.absence)
            }
        });
        let untold = notes.len().saturating_sub(TOLD_MAX);
        let list = notes
            .into_iter()
            .take(TOLD_MAX)
            .map(|note| Mistake {
                key: note.key,
                problem: note.problem,
                expected: note.expected,
                help: note.help,
                place: note.span.map(|span| source.place(&span)),
            })
            .collect();
        Mistakes {
            source: source.name(),
            numbered: source.numbered(),
            list,
            untold,
        }
    }
}
