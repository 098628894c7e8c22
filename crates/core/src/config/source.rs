//! The text that is read: where its lines are, and how a piece of it is shown.
//!
//! The text is anybody's: what is shown of it never reaches a terminal as a control sequence, nor by the megabyte.

use std::ops::Range;

/// Characters of a line that are shown at most.
const WIDTH_MAX: usize = 120;
/// Of a line that is too long, characters shown before the place in question.
const LEAD: usize = 40;
/// Characters of a name or value that are repeated in a message.
const SHOWN_MAX: usize = 60;

/// The name of the command line as a source.
pub(super) const COMMAND_LINE: &str = "command line";
/// The name of the environment as a source.
pub(super) const ENVIRONMENT: &str = "environment";

/// A text with its name and the starts of its lines.
#[derive(Debug)]
pub(super) struct Source<'a> {
    name: &'a str,
    text: &'a str,
    numbered: bool,
    starts: Vec<usize>,
}

/// A piece of a source, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The line, from one.
    pub(super) line: usize,
    /// The column, from one, in characters.
    pub(super) column: usize,
    /// The line's text, harmless and cut to a window.
    pub(super) text: String,
    /// Characters of `text` before the piece.
    pub(super) indent: usize,
    /// Characters of the piece within this line; at least one.
    pub(super) width: usize,
}

impl<'a> Source<'a> {
    /// A file.
    pub(super) fn file(name: &'a str, text: &'a str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0)
            .chain(newlines.map(|(at, _)| at + 1))
            .collect();
        Self {
            name,
            text,
            numbered: true,
            starts,
        }
    }

    /// Something without line numbers: the command line, an environment variable.
    pub(super) fn line(name: &'a str, text: &'a str) -> Self {
        Self {
            name,
            text,
            numbered: false,
            starts: vec![0],
        }
    }

    /// Its name, harmless.
    pub(super) fn name(&self) -> String {
        self.name.chars().map(harmless).collect()
    }

    /// Do line and column mean anything to a person?
    pub(super) fn numbered(&self) -> bool {
        self.numbered
    }

    /// The line, from zero, that holds byte `offset`.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) - 1
    }

    /// The offset of a line and a byte column, both from one, as some parsers report them.
    pub(super) fn offset(&self, line: usize, column: usize) -> usize {
        let start = self.starts.get(line.saturating_sub(1)).copied();
        let offset = start.unwrap_or(self.text.len()) + column.saturating_sub(1);
        offset.min(self.text.len())
    }

    /// The text of a line, from zero.
    pub(super) fn text_of(&self, line: usize) -> &'a str {
        let start = self.starts.get(line).copied().unwrap_or(self.text.len());
        let end = self.starts.get(line + 1).copied();
        self.text[start..end.unwrap_or(self.text.len())].trim_end_matches(['\n', '\r'])
    }

    /// What to show for `span`. A span of several lines is shown up to the end of its first.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let offset = span.start.min(self.text.len());
        let line = self.line_of(offset);
        let text = self.text_of(line);
        let within = offset - self.starts[line];
        let length = span.end.saturating_sub(offset);
        let before = chars_below(text, within);
        let width = chars_below(text, within.saturating_add(length)) - before;
        let (shown, indent) = window(text, before);
        let room = shown.chars().count().saturating_sub(indent);
        Place {
            line: line + 1,
            column: before + 1,
            indent,
            width: width.min(room).max(1),
            text: shown,
        }
    }
}

/// Characters of `text` that start below byte `offset`.
fn chars_below(text: &str, offset: usize) -> usize {
    // Counted by their first bytes, which is fast: each listener of a file has a place, and a line may be long.
    let first = |byte: &&u8| !matches!(byte, 0x80..=0xBF);
    let below = &text.as_bytes()[..offset.min(text.len())];
    below.iter().filter(first).count()
}

/// The part of `text` around its character number `at`, and where that character is in it.
fn window(text: &str, at: usize) -> (String, usize) {
    let whole = text.chars().nth(WIDTH_MAX).is_none();
    let skipped = if whole { 0 } else { at.saturating_sub(LEAD) };
    let mut shown = String::new();
    if skipped > 0 {
        shown.push('…');
    }
    let mut rest = text.chars().skip(skipped).map(harmless);
    shown.extend(rest.by_ref().take(WIDTH_MAX));
    if rest.next().is_some() {
        shown.push('…');
    }
    (shown, at - skipped + usize::from(skipped > 0))
}

/// `c`, or a stand-in for what moves a cursor, starts an escape sequence, or reorders text.
fn harmless(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2066}'..='\u{2069}'
        | '\u{FEFF}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// `text` in quotes for a message: harmless and not too long.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::from("`");
    let mut rest = text.chars().map(harmless);
    shown.extend(rest.by_ref().take(SHOWN_MAX));
    if rest.next().is_some() {
        shown.push('…');
    }
    shown.push('`');
    shown
}

/// The path of `key` in the table at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let key = if !key.is_empty() && key.len() <= SHOWN_MAX && key.chars().all(plain) {
        key.to_owned()
    } else {
        quoted(key)
    };
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_not_bytes() {
        let text = "a = 1\nnamé = \"ü\" # x\n";
        let source = Source::file("f", text);
        let start = text.find("\"ü\"").unwrap();
        let place = source.place(&(start..start + 4));
        assert_eq!((place.line, place.column), (2, 8));
        assert_eq!((place.indent, place.width), (7, 3));
    }

    #[test]
    fn a_span_over_several_lines_is_shown_to_the_end_of_the_first() {
        let source = Source::file("f", "ab [\n1\n]\n");
        let place = source.place(&(3..8));
        assert_eq!((place.line, place.column, place.width), (1, 4, 1));
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        for (text, line, column) in [("", 1, 1), ("ab", 1, 3), ("ab\n", 2, 1)] {
            let source = Source::file("f", text);
            let place = source.place(&(text.len()..text.len()));
            assert_eq!((place.line, place.column, place.width), (line, column, 1));
            let beyond = source.place(&(99..100));
            assert_eq!((beyond.line, beyond.column), (line, column));
        }
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("{}X{}", "a".repeat(1000), "b".repeat(1000));
        let place = Source::file("f", &text).place(&(1000..1001));
        assert_eq!(place.column, 1001);
        assert_eq!(place.text.chars().nth(place.indent), Some('X'));
        assert_eq!(place.text.chars().count(), WIDTH_MAX + 2);
    }

    #[test]
    fn nothing_that_is_shown_controls_a_terminal() {
        let text = "k = \"\u{1b}[2J\u{202e}\u{7f}\"\tx";
        let place = Source::file("f", text).place(&(0..1));
        assert_eq!(place.text, "k = \"\u{fffd}[2J\u{fffd}\u{fffd}\" x");
        assert_eq!(quoted("a\u{1b}\nb"), "`a\u{fffd}\u{fffd}b`");
        assert_eq!(quoted(&"x".repeat(99)), format!("`{}…`", "x".repeat(60)));
    }
}
