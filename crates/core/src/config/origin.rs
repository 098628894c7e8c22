//! Where a setting is stated, kept for mistakes that show only when it is used: an address that somebody else has.

use std::ops::Range;

use super::source::{COMMAND_LINE, ENVIRONMENT, Place, Source};

/// Where a setting is stated: in a file, on the command line, in the environment, or nowhere.
///
/// Any two are equal, because where something stands changes nothing about what it means.
#[derive(Clone, Debug, Default)]
pub struct Origin(Option<Box<Stated>>);

/// What is shown of it.
#[derive(Clone, Debug)]
pub(super) struct Stated {
    /// The key's path, the flag or the variable.
    pub(super) key: String,
    /// The name of the source.
    pub(super) source: String,
    /// Do line and column mean anything to a person?
    pub(super) numbered: bool,
    pub(super) place: Place,
}

impl Origin {
    /// The value of `key` at `span` of a source.
    pub(super) fn new(key: &str, source: &Source<'_>, span: &Range<usize>) -> Self {
        Self(Some(Box::new(Stated {
            key: key.to_owned(),
            source: source.name(),
            numbered: source.numbered(),
            place: source.place(span),
        })))
    }

    /// The value of the flag `name`, as in `--config lb.toml`.
    pub fn flag(name: &str, value: &str) -> Self {
        let text = format!("{name} {value}");
        let source = Source::line(COMMAND_LINE, &text);
        Self::new(name, &source, &(name.len() + 1..text.len()))
    }

    /// The value of the variable `name`, as in `LB_CONFIG=lb.toml`.
    pub fn variable(name: &str, value: &str) -> Self {
        let text = format!("{name}={value}");
        let source = Source::line(ENVIRONMENT, &text);
        Self::new(name, &source, &(name.len() + 1..text.len()))
    }

    /// What is shown of it; `None` if it is stated nowhere.
    pub(super) fn stated(&self) -> Option<&Stated> {
        self.0.as_deref()
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Listener;
    use crate::config::{Mistakes, Trouble, from_flags, parse};

    fn taken(listeners: &[Listener]) -> String {
        let trouble = |listener: &Listener| Trouble {
            problem: format!("{} is taken", listener.address),
            expected: "another one".to_owned(),
            help: "look around".to_owned(),
        };
        let found = listeners.iter().map(|one| (&one.origin, trouble(one)));
        Mistakes::at(found).to_string()
    }

    fn taken_in(name: &str, text: &str) -> String {
        let env = |name: &str| (name == "PORT").then(|| "81".to_owned());
        taken(&parse(name, text.as_bytes(), &env).unwrap().listeners)
    }

    #[test]
    fn what_shows_only_in_use_is_told_where_the_file_says_it() {
        let pool = "[pool.app]\nservers = [\"a:1\"]\n";
        let short = "[listen]\nweb = \":${PORT}\"\n";
        let long = "[listen.api]\naddress = \"127.0.0.1:80\" # long\n";
        assert_eq!(
            taken_in("lb.toml", &format!("{short}{pool}{long}")),
            r#"error: listen.web: :81 is taken
 --> lb.toml:2:7
  |
2 | web = ":${PORT}"
  |       ^^^^^^^^^^ expected another one
  = help: look around

error: listen.api.address: 127.0.0.1:80 is taken
 --> lb.toml:6:11
  |
6 | address = "127.0.0.1:80" # long
  |           ^^^^^^^^^^^^^^ expected another one
  = help: look around

2 mistakes in lb.toml"#
        );
        let json = "{\n\"port\": \":80\", \"servers\": [\"a:1\"]}";
        let shown = taken_in("config.json", json);
        assert!(
            shown.starts_with("error: port: :80 is taken\n --> config.json:2:9\n"),
            "{shown}"
        );
    }

    #[test]
    fn what_shows_only_in_use_is_told_at_its_flag_or_variable() {
        let strings = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let settings = from_flags(&strings(&[":80", ":81"]), &strings(&["a:1"]), None).unwrap();
        assert_eq!(
            taken(&settings.listeners[1..]),
            "error: --listen: :81 is taken
--> command line
 |
 | --listen :80 --listen :81 --to a:1
 |                       ^^^ expected another one
 = help: look around

1 mistake in command line"
        );
        let trouble = || Trouble {
            problem: "gone".to_owned(),
            expected: String::new(),
            help: String::new(),
        };
        for (origin, shown) in [
            (
                Origin::flag("--config", "a.toml"),
                "error: --config: gone\n--> command line\n |\n | --config a.toml\n |          ^^^^^^\n\n\
                 1 mistake in command line",
            ),
            (
                Origin::variable("LB_CONFIG", "a.toml"),
                "error: LB_CONFIG: gone\n--> environment\n |\n | LB_CONFIG=a.toml\n |           ^^^^^^\n\n\
                 1 mistake in environment",
            ),
            (Origin::default(), "error: gone\n\n1 mistake"),
        ] {
            assert_eq!(Mistakes::at([(&origin, trouble())]).to_string(), shown);
        }
    }
}
