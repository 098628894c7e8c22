//! Where it is shown: a picture that is drawn over the one before, or lines that follow each other.

use std::io::{self, IsTerminal as _, Write};

use super::picture::Style;

/// Hides the cursor and switches the wrapping of long lines off: a narrow terminal cuts the picture.
const ENTER: &str = "\x1b[?25l\x1b[?7l";
/// Undoes it.
const LEAVE: &str = "\x1b[?25h\x1b[?7h";

/// An output. Dropping it leaves the terminal as it was found.
#[derive(Debug)]
pub(super) struct Screen<W: Write> {
    out: W,
    live: bool,
    style: Style,
    /// Lines of the picture above the cursor.
    drawn: usize,
    entered: bool,
}

impl Screen<io::Stdout> {
    /// Standard output. A picture is for terminals; `NO_COLOR` is honoured, and blocks are for UTF-8.
    pub(super) fn stdout() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let out = io::stdout();
        let live = out.is_terminal() && set("TERM").is_none_or(|term| term != "dumb");
        let locale = set("LC_ALL")
            .or_else(|| set("LC_CTYPE"))
            .or_else(|| set("LANG"));
        let style = Style {
            color: live && set("NO_COLOR").is_none(),
            unicode: live && locale.is_some_and(|locale| is_utf8(&locale)),
        };
        Self::new(out, live, style)
    }
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

impl<W: Write> Screen<W> {
    fn new(out: W, live: bool, style: Style) -> Self {
        Self {
            out,
            live,
            style,
            drawn: 0,
            entered: false,
        }
    }

    /// Whether pictures are drawn; if not, lines are written.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// What can be shown.
    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// Draws a picture over the one before.
    pub(super) fn draw(&mut self, picture: &[String]) -> io::Result<()> {
        let mut text = String::new();
        if !self.entered {
            self.entered = true;
            text.push_str(ENTER);
        }
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for line in picture {
            // In place, and what is left of the old line is erased.
            text.push('\r');
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        self.drawn = picture.len();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes lines that stay.
    pub(super) fn write<S: AsRef<str>>(&mut self, lines: &[S]) -> io::Result<()> {
        self.drawn = 0;
        let mut text = String::new();
        for line in lines {
            text.push_str(line.as_ref());
            text.push('\n');
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        if self.entered {
            // Where nothing can be written, nothing is to be restored.
            let _ = self.out.write_all(LEAVE.as_bytes());
            let _ = self.out.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style {
        color: false,
        unicode: false,
    };

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_picture_covers_the_one_before_and_the_terminal_is_left_as_it_was() {
        let mut out = Vec::new();
        {
            let mut screen = Screen::new(&mut out, true, PLAIN);
            screen.draw(&lines(&["one", "two"])).unwrap();
            screen.draw(&lines(&["1", "2"])).unwrap();
            screen.write(&["end"]).unwrap();
            screen.draw(&lines(&["new"])).unwrap();
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\x1b[?25l\x1b[?7l\rone\x1b[K\n\rtwo\x1b[K\n\x1b[2A\r1\x1b[K\n\r2\x1b[K\nend\n\rnew\x1b[K\n\x1b[?25h\x1b[?7h"
        );
    }

    #[test]
    fn lines_alone_bring_no_escape_sequence() {
        let mut out = Vec::new();
        Screen::new(&mut out, false, PLAIN)
            .write(&["a", "b"])
            .unwrap();
        assert_eq!(out, b"a\nb\n");
    }

    #[test]
    fn utf8_is_found_in_the_name_of_the_locale() {
        assert!(is_utf8("en_US.UTF-8") && is_utf8("C.utf8"));
        assert!(!is_utf8("C") && !is_utf8("de_DE.ISO-8859-1"));
    }
}
