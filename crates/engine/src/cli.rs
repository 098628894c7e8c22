//! The command line: the same for every binary, which hands in its name.
//!
//! It parses, and loads what it names; it starts nothing. [`parse`] returns what is to be done, or an [`Exit`] with the
//! text to print and the process's exit code: 0 for what was asked for, 1 for an invalid configuration, 2 for wrong
//! usage.

mod explain;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use lb_core::config::settings::{ListenAddress, Listener, Origin, Settings};
use lb_core::config::{self, Mistakes, Trouble};

/// Bytes of a configuration that are read; a larger one is refused by the parser.
const FILE_MAX: u64 = 2 << 20;

/// Looks up a variable of the environment.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Start the balancer.
    Run(Box<Run>),
    /// Show how it works.
    Demo(Demo),
    /// Be one of the demo's backends.
    DemoBackend(DemoBackend),
}

/// Start the balancer.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What to run.
    pub settings: Settings,
    /// The file that the settings are from, for a reload; `None` if they are from flags.
    pub file: Option<PathBuf>,
}

/// Show how it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demo {
    /// End by itself with a summary.
    pub once: bool,
    /// Where the balancer listens, unless the system may choose.
    pub listen: Option<Listener>,
}

/// Be one of the demo's backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoBackend {
    /// Where it listens.
    pub listen: ListenAddress,
    /// The name that it answers with.
    pub name: String,
}

/// The process has nothing more to do than to print this and to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: u8,
    /// What to print: to standard output if the code is zero, to standard error otherwise.
    pub text: String,
}

impl Exit {
    /// Prints the text. That nobody reads it changes nothing.
    pub fn print(self) -> ExitCode {
        let text = self.text.trim_end_matches('\n');
        let _ = match self.code {
            0 => writeln!(io::stdout(), "{text}"),
            _ => writeln!(io::stderr(), "{text}"),
        };
        ExitCode::from(self.code)
    }

    fn asked_for(text: String) -> Self {
        Self { code: 0, text }
    }

    /// A failure, or an invalid configuration.
    pub(crate) fn failure(text: String) -> Self {
        Self { code: 1, text }
    }

    fn usage(text: String) -> Self {
        Self { code: 2, text }
    }
}

#[derive(Parser, Debug)]
#[command(
    version,
    about = "An HTTP/1.1 load balancer",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    source: Source,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// Start the balancer (the default)
    Run(Source),
    /// Read the configuration, report all mistakes, print what would run
    Check(Source),
    /// Tell whom a request would be sent to, and why, without sending it
    #[command(allow_missing_positional = true)]
    Explain(explain::ExplainArgs),
    /// See it work: three backends, traffic, a kill, a freeze and a revival; nothing else is needed
    Demo(DemoArgs),
    /// Be one of the demo's backends
    #[command(hide = true)]
    DemoBackend(DemoBackendArgs),
}

/// Where the settings come from: a file or flags.
#[derive(Args, Debug, Default)]
struct Source {
    /// The configuration, TOML or JSON [env: LB_CONFIG]
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["listen", "to", "check"])]
    config: Option<PathBuf>,
    /// Without a file: where to listen, such as :8080 or 127.0.0.1:8080; repeatable
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Without a file: a server, such as 127.0.0.1:9001; repeatable
    #[arg(long, value_name = "ADDR")]
    to: Vec<String>,
    /// Without a file: the path of a health check; a TCP connect otherwise
    #[arg(long, value_name = "PATH")]
    check: Option<String>,
}

#[derive(Args, Debug)]
struct DemoArgs {
    /// End after one round with a summary
    #[arg(long)]
    once: bool,
    /// Where the balancer listens; the system chooses a port otherwise
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

#[derive(Args, Debug)]
struct DemoBackendArgs {
    #[arg(long)]
    listen: String,
    #[arg(long)]
    name: String,
}

/// Reads the command line `args`, whose first is the program's own name as it was called, and what it refers to. `binary`
/// is the program's name in help texts.
///
/// # Errors
/// What to print and the exit code, when there is nothing to start: help, version, the answer of `check`, mistakes.
pub fn parse(
    binary: &'static str,
    args: impl IntoIterator<Item = OsString>,
    env: Lookup<'_>,
) -> Result<Command, Exit> {
    let matches = Cli::command()
        .name(binary)
        .bin_name(binary)
        .after_help(after_help(binary))
        .try_get_matches_from(args)
        .map_err(|error| refusal(&error))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| refusal(&error))?;
    match cli.command.unwrap_or(Sub::Run(cli.source)) {
        Sub::Run(source) => load(binary, source, env).map(|run| Command::Run(Box::new(run))),
        Sub::Check(source) => {
            let run = load(binary, source, env)?;
            Err(Exit::asked_for(config::summary(&run.settings)))
        }
        Sub::Explain(mut args) => {
            let source = std::mem::take(&mut args.source);
            let run = load(binary, source, env)?;
            explain::answer(&args, &run.settings).and_then(|text| Err(Exit::asked_for(text)))
        }
        Sub::Demo(demo) => Ok(Command::Demo(Demo {
            once: demo.once,
            listen: demo.listen.as_deref().map(listen).transpose()?,
        })),
        Sub::DemoBackend(backend) => Ok(Command::DemoBackend(DemoBackend {
            listen: listen(&backend.listen)?.address,
            name: backend.name,
        })),
    }
}

fn after_help(binary: &str) -> String {
    format!(
        "\
Examples:
  {binary} demo                                   see it work
  {binary} --listen :8080 --to 127.0.0.1:9001 --to 127.0.0.1:9002 --check /healthz
  {binary} --config lb.toml                       run what the file says
  {binary} check --config lb.toml                 what would run, or all mistakes
  {binary} explain --config lb.toml http://site.example/ --from 10.1.2.3 --down 127.0.0.1:9001

A file to begin with:
  [listen]
  web = \":8080\"

  [pool.app]
  servers = [\"127.0.0.1:9001\", \"127.0.0.1:9002\"]
  health  = \"/healthz\"

Environment:
  LB_CONFIG   the file, if neither --config nor --listen and --to are given
  LB_LOG      overrides the log: off, errors, all or a fraction such as 0.01; text or json; such as all,json

Signals: TERM and INT stop gracefully, a second one at once.
Exit codes: 0 ok, 1 failure or invalid configuration, 2 wrong usage."
    )
}

/// Help and version are asked for; the rest is wrong usage.
fn refusal(error: &clap::Error) -> Exit {
    let text = error.to_string();
    if error.use_stderr() {
        Exit::usage(text)
    } else {
        Exit::asked_for(text)
    }
}

fn listen(value: &str) -> Result<Listener, Exit> {
    config::listen_flag(value).map_err(|mistakes| Exit::usage(mistakes.to_string()))
}

fn load(binary: &str, source: Source, env: Lookup<'_>) -> Result<Run, Exit> {
    let flags = !source.listen.is_empty() || !source.to.is_empty() || source.check.is_some();
    let named = match source.config {
        Some(file) => {
            let origin = Origin::flag("--config", &file.to_string_lossy());
            Some((file, origin))
        }
        // Flags are nearer than the environment.
        None if flags => None,
        None => match env("LB_CONFIG").filter(|file| !file.is_empty()) {
            Some(file) => {
                let origin = Origin::variable("LB_CONFIG", &file);
                Some((file.into(), origin))
            }
            None => return Err(Exit::usage(nothing_given(binary))),
        },
    };
    let mut settings = match &named {
        Some((file, origin)) => read(file, origin, env)?,
        None => config::from_flags(&source.listen, &source.to, source.check.as_deref())
            .map_err(|mistakes| Exit::usage(mistakes.to_string()))?,
    };
    if let Some(text) = env("LB_LOG") {
        config::override_log(&mut settings.log, &text).map_err(|mistakes| invalid(&mistakes))?;
    }
    Ok(Run {
        settings,
        file: named.map(|(file, _)| file),
    })
}

fn nothing_given(binary: &str) -> String {
    format!(
        "\
error: neither a configuration nor servers are given

Name a file:        {binary} --config lb.toml
or say it in flags: {binary} --listen :8080 --to 127.0.0.1:9001 --to 127.0.0.1:9002
or see it work:     {binary} demo

More with --help."
    )
}

fn invalid(mistakes: &Mistakes) -> Exit {
    Exit::failure(mistakes.to_string())
}

/// Reads and checks the configuration in `file`, which is named at `origin`.
///
/// # Errors
/// The file can't be read, or is wrong.
pub fn read(file: &Path, origin: &Origin, env: Lookup<'_>) -> Result<Settings, Exit> {
    let mut text = Vec::new();
    File::open(file)
        .and_then(|file| file.take(FILE_MAX).read_to_end(&mut text))
        .map_err(|error| unreadable(file, origin, &error))?;
    let name = file.display().to_string();
    config::parse(&name, &text, env).map_err(|mistakes| invalid(&mistakes))
}

fn unreadable(file: &Path, origin: &Origin, error: &io::Error) -> Exit {
    let shown = |path: &Path| path.to_string_lossy().escape_debug().to_string();
    let help = match error.kind() {
        io::ErrorKind::NotFound => {
            "check the path; one without a slash in front begins where this program was started, and --help shows a file to \
             begin with"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "let the user that runs this read it, and enter the directories above".to_owned()
        }
        io::ErrorKind::IsADirectory => {
            format!("name a file in it, such as {}", shown(&file.join("lb.toml")))
        }
        _ => String::new(),
    };
    let trouble = Trouble {
        problem: format!("can't read {}: {error}", shown(file)),
        expected: "a configuration to read".to_owned(),
        help,
    };
    invalid(&Mistakes::at([(origin, trouble)]))
}

#[cfg(test)]
mod tests;
