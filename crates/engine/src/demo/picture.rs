//! What is seen: a pure function from a [`View`] to lines of text, no more than 24 lines of 79 columns.
//!
//! It writes nothing. The lines of [`draw`] replace each other on a terminal, those of [`status`] follow each other in a
//! file or a pipe.

use std::fmt::Write as _;
use std::time::Duration;

use lb_core::event::State;

use super::programme::{SERVERS, Step};

/// Columns of the narrowest terminal that this is made for.
pub(super) const WIDTH: usize = 80;

/// Transitions that stay in sight.
pub(super) const EVENTS: usize = 5;

/// Lines of a picture above the table.
const EXPLAINED: usize = 8;

/// Columns of a bar: all requests together.
const BAR: u32 = 30;

/// How a server's process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    /// It was started and has not said its address yet.
    Starting,
    /// It works.
    Running,
    /// It was killed.
    Killed,
    /// It was stopped.
    Frozen,
}

impl Condition {
    fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Killed => "killed",
            Self::Frozen => "frozen",
        }
    }
}

/// One server, as it is and as the balancer sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) condition: Condition,
    pub(super) state: State,
    /// Answers in the last second.
    pub(super) per_second: u32,
    /// Requests at it, as the balancer counts.
    pub(super) in_flight: u32,
}

/// What the clients see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clients {
    /// Requests sent in the last second.
    pub(super) per_second: u32,
    /// Requests without an answer so far.
    pub(super) waiting: usize,
    /// Failed although a server was there.
    pub(super) failed: u64,
    /// Told so while no server was there.
    pub(super) excused: u64,
    /// The longest time that an answer of the last second took.
    pub(super) slowest: Duration,
}

/// Everything that is shown at one moment.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// Where a person can send requests, too.
    pub(super) url: &'a str,
    /// Requests per second that the clients mean to send.
    pub(super) load: u32,
    /// The running step, its number from one, the number of all.
    pub(super) step: (&'a Step, usize, usize),
    pub(super) servers: [Server; SERVERS],
    pub(super) clients: Clients,
    /// What the balancer noticed, oldest first.
    pub(super) events: &'a [String],
}

/// What the terminal can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Style {
    /// Colours of the terminal's own palette.
    pub(super) color: bool,
    /// Block characters.
    pub(super) unicode: bool,
}

/// Colours that can be read on dark and on light.
#[derive(Clone, Copy)]
enum Ink {
    Bold = 1,
    Red = 31,
    Green = 32,
    Magenta = 35,
}

impl Style {
    fn paint(self, ink: Ink, text: &str) -> String {
        if self.color {
            format!("\x1b[{}m{text}\x1b[0m", ink as u8)
        } else {
            text.to_owned()
        }
    }

    fn bar(self, length: u32) -> String {
        let cell = if self.unicode { '█' } else { '#' };
        std::iter::repeat_n(cell, length as usize).collect()
    }
}

/// The live picture: always the same number of lines, so that one replaces the other.
pub(super) fn draw(view: &View<'_>, style: Style) -> Vec<String> {
    let (step, number, steps) = view.step;
    let mut lines = vec![
        format!(
            "Three servers behind a load balancer, which gets {} requests per second.",
            view.load
        ),
        format!("Ask it yourself: curl {}     Ctrl-C ends.", view.url),
        String::new(),
        style.paint(Ink::Bold, &format!("{number}/{steps}  {}", step.title)),
    ];
    lines.extend(explanation(step));
    lines.resize(EXPLAINED, String::new());
    lines.push(style.paint(
        Ink::Bold,
        "server  process   balancer  answers per second                       in flight",
    ));
    lines.extend(
        view.servers
            .iter()
            .map(|server| row(server, view.load, style)),
    );
    lines.push(String::new());
    lines.extend(clients(&view.clients, style));
    lines.push(String::new());
    lines.push(style.paint(Ink::Bold, "What the balancer noticed"));
    lines.extend((0..EVENTS).map(|index| match view.events.get(index) {
        Some(event) => format!("  {}", clip(event, WIDTH - 3)),
        None => String::new(),
    }));
    lines
}

/// What the balancer makes of a step, and what to look at.
pub(super) fn explanation(step: &Step) -> impl Iterator<Item = String> {
    let meaning = step.meaning.into_iter().filter(|line| !line.is_empty());
    let lines = meaning.map(|line| format!("  {line}"));
    lines.chain([format!("  Look at {}", step.look)])
}

fn row(server: &Server, load: u32, style: Style) -> String {
    let process = format!("{:<10}", server.condition.as_str());
    let process = match server.condition {
        Condition::Running | Condition::Starting => process,
        Condition::Killed => style.paint(Ink::Red, &process),
        Condition::Frozen => style.paint(Ink::Magenta, &process),
    };
    let state = format!("{:<10}", server.state.as_str());
    let state = match server.state {
        State::Up => style.paint(Ink::Green, &state),
        State::Down | State::Suspect | State::Ejected => style.paint(Ink::Red, &state),
        _ => style.paint(Ink::Magenta, &state),
    };
    let length = (server.per_second * BAR).div_ceil(load.max(1)).min(BAR);
    let gap = (BAR - length) as usize;
    format!(
        "{:<8}{process}{state}{}{:gap$} {:>6}{:>14}",
        server.name,
        style.paint(Ink::Green, &style.bar(length)),
        "",
        server.per_second,
        server.in_flight,
    )
}

fn clients(clients: &Clients, style: Style) -> [String; 2] {
    let failed = format!("failed {}", clients.failed);
    let failed = if clients.failed == 0 {
        failed
    } else {
        style.paint(Ink::Red, &failed)
    };
    [
        format!(
            "{} {} requests/s, {failed}, waiting {}, slowest {} ms",
            style.paint(Ink::Bold, "clients"),
            clients.per_second,
            clients.waiting,
            clients.slowest.as_millis(),
        ),
        if clients.excused == 0 {
            String::new()
        } else {
            format!(
                "        and {} were told that no server is there",
                clients.excused
            )
        },
    ]
}

/// One line for those who read lines: rates of servers that are up, states of the others.
pub(super) fn status(view: &View<'_>) -> String {
    let mut line = String::new();
    for server in &view.servers {
        // Writing to a string does not fail.
        let _ = match server.state {
            State::Up => write!(line, "{} {}/s, ", server.name, server.per_second),
            other => write!(line, "{} {}, ", server.name, other.as_str()),
        };
    }
    let clients = &view.clients;
    let _ = write!(
        line,
        "failed {}, waiting {}, slowest {} ms",
        clients.failed,
        clients.waiting,
        clients.slowest.as_millis()
    );
    if clients.excused > 0 {
        let _ = write!(line, ", 503: {}", clients.excused);
    }
    line
}

/// The first `columns` characters.
fn clip(text: &str, columns: usize) -> &str {
    match text.char_indices().nth(columns) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::programme::PROGRAMME;

    const PLAIN: Style = Style {
        color: false,
        unicode: false,
    };
    const FULL: Style = Style {
        color: true,
        unicode: true,
    };

    fn server(name: &'static str, per_second: u32) -> Server {
        Server {
            name,
            condition: Condition::Running,
            state: State::Up,
            per_second,
            in_flight: 0,
        }
    }

    fn killed<'a>(events: &'a [String]) -> View<'a> {
        let mut servers = [server("a", 60), server("b", 0), server("c", 61)];
        servers[1].condition = Condition::Killed;
        servers[1].state = State::Suspect;
        servers[2].in_flight = 2;
        View {
            url: "http://127.0.0.1:40123/",
            load: 120,
            step: (&PROGRAMME[1], 2, 7),
            servers,
            clients: Clients {
                per_second: 120,
                waiting: 2,
                failed: 0,
                excused: 0,
                slowest: Duration::from_micros(3_400),
            },
            events,
        }
    }

    #[test]
    fn the_picture_after_a_kill_says_what_happened_line_by_line() {
        let events = [" 3.0 s  b: up -> suspect (connect failed: refused)".to_owned()];
        assert_eq!(
            draw(&killed(&events), PLAIN),
            [
                "Three servers behind a load balancer, which gets 120 requests per second.",
                "Ask it yourself: curl http://127.0.0.1:40123/     Ctrl-C ends.",
                "",
                "2/7  Server b was just killed (SIGKILL).",
                "  Its connections are refused. The request that found out was sent to another",
                "  server, and so are all that come now: to a and c.",
                "  Look at \"failed\". It stays 0.",
                "",
                "server  process   balancer  answers per second                       in flight",
                "a       running   up        ###############                    60             0",
                "b       killed    suspect                                       0             0",
                "c       running   up        ################                   61             2",
                "",
                "clients 120 requests/s, failed 0, waiting 2, slowest 3 ms",
                "",
                "",
                "What the balancer noticed",
                "   3.0 s  b: up -> suspect (connect failed: refused)",
                "",
                "",
                "",
                "",
            ]
        );
    }

    #[test]
    fn every_picture_fits_the_smallest_terminal_and_has_the_same_height() {
        let long = vec!["x".repeat(300); EVENTS + 3];
        for (index, step) in PROGRAMME.iter().enumerate() {
            let mut view = killed(&long);
            view.step = (step, index + 1, PROGRAMME.len());
            view.url = "http://127.0.0.1:65535/";
            view.servers = [server("a", 99_999); SERVERS];
            view.servers[0].in_flight = 99_999;
            view.clients.excused = 99_999;
            view.clients.waiting = 99_999;
            view.clients.slowest = Duration::from_secs(30);
            let lines = draw(&view, PLAIN);
            assert_eq!(lines.len(), 22);
            for line in lines {
                assert!(line.chars().count() < WIDTH, "{line}");
            }
        }
    }

    #[test]
    fn no_escape_and_no_block_is_in_a_plain_picture_and_colours_do_not_move_columns() {
        let view = killed(&[]);
        let plain = draw(&view, PLAIN);
        assert!(
            plain
                .iter()
                .all(|line| line.is_ascii() && !line.contains('\x1b'))
        );
        let painted = draw(&view, FULL);
        assert!(painted.iter().any(|line| line.contains("\x1b[31m")));
        for (painted, plain) in painted.iter().zip(&plain) {
            assert_eq!(stripped(painted).replace('█', "#"), *plain);
        }
    }

    /// Without `ESC [ … m`.
    fn stripped(line: &str) -> String {
        let mut parts = line.split("\x1b[");
        let mut text = parts.next().unwrap().to_owned();
        for part in parts {
            text.push_str(part.split_once('m').unwrap().1);
        }
        text
    }

    #[test]
    fn the_plain_status_is_one_line_with_the_same_numbers() {
        let mut view = killed(&[]);
        assert_eq!(
            status(&view),
            "a 60/s, b suspect, c 61/s, failed 0, waiting 2, slowest 3 ms"
        );
        for server in &mut view.servers {
            server.state = State::Down;
        }
        view.clients.excused = 300;
        assert_eq!(
            status(&view),
            "a down, b down, c down, failed 0, waiting 2, slowest 3 ms, 503: 300"
        );
    }
}
