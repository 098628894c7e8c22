use std::sync::atomic::{AtomicU32, Ordering};

use lb_core::config::settings::{AccessLog, LogFormat, Origin};

use super::*;

fn no_env(_: &str) -> Option<String> {
    None
}

fn parse_with(args: &str, env: Lookup<'_>) -> Result<Command, Exit> {
    let args = std::iter::once("lb-test").chain(args.split_whitespace());
    parse("lb-test", args.map(OsString::from), env)
}

fn run(args: &str, env: Lookup<'_>) -> Run {
    match parse_with(args, env) {
        Ok(Command::Run(run)) => *run,
        other => panic!("{other:?}"),
    }
}

fn exit(args: &str) -> Exit {
    parse_with(args, &no_env).unwrap_err()
}

/// A file that is gone after the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lb-cli-test-{}-{count}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const GOOD: &str = "[listen]\nweb = \":8080\"\n[pool.app]\nservers = [\"a:1\"]\n";

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn flags_run_with_and_without_the_word_run() {
    let flags = "--listen :8080 --to 127.0.0.1:9001 --to 127.0.0.1:9002 --check /healthz";
    let short = run(flags, &no_env);
    assert_eq!(short.settings.pool.servers.len(), 2);
    assert_eq!(short.file, None);
    assert_eq!(run(&format!("run {flags}"), &no_env), short);
}

#[test]
fn a_file_is_read_by_flag_or_environment() {
    let file = Temporary::new(GOOD);
    let by_flag = run(&format!("--config {}", file.path()), &no_env);
    assert_eq!(by_flag.file.as_deref(), Some(file.0.as_path()));
    let env = |name: &str| (name == "LB_CONFIG").then(|| file.path().to_owned());
    assert_eq!(run("", &env), by_flag);
    assert_eq!(run("run", &env), by_flag);
    let flags = run("--listen :1 --to b:2", &env);
    assert_eq!(&*flags.settings.pool.servers[0].name, "b:2");
}

#[test]
fn the_environment_overrides_the_log() {
    let env = |name: &str| (name == "LB_LOG").then(|| "all,text".to_owned());
    let log = run("--listen :1 --to a:1", &env).settings.log;
    assert_eq!((log.access, log.format), (AccessLog::All, LogFormat::Text));
    let env = |name: &str| (name == "LB_LOG").then(|| "loud".to_owned());
    let exit = parse_with("--listen :1 --to a:1", &env).unwrap_err();
    assert_eq!(exit.code, 1);
    assert!(
        exit.text.starts_with("error: LB_LOG: unknown: `loud`"),
        "{}",
        exit.text
    );
}

#[test]
fn check_prints_what_would_run() {
    let exit = exit("check --listen :8080 --to 127.0.0.1:9001");
    assert_eq!(exit.code, 0);
    assert!(
        exit.text.starts_with("listen   web on :8080"),
        "{}",
        exit.text
    );
}

#[test]
fn check_reports_all_mistakes_of_a_file_with_code_1() {
    let file = Temporary::new("listn = 1\n[pool.app]\nservers = [\"a\"]\n");
    let exit = exit(&format!("check --config {}", file.path()));
    assert_eq!(exit.code, 1);
    let place = format!(" --> {}:1:1", file.path());
    assert!(exit.text.contains(&place), "{}", exit.text);
    assert!(
        exit.text.contains("did you mean `listen`?"),
        "{}",
        exit.text
    );
    assert!(exit.text.contains("3 mistakes in "), "{}", exit.text);
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_who_named_it_and_what_to_do() {
    let missing = "can't read /nowhere/lb.toml: No such file or directory (os error 2)";
    let what_to_do = "expected a configuration to read
 = help: check the path; one without a slash in front begins where this program was started, and --help shows a file to \
                      begin with

1 mistake in";
    assert_eq!(
        exit("--config /nowhere/lb.toml"),
        Exit {
            code: 1,
            text: format!(
                "error: --config: {missing}
--> command line
 |
 | --config /nowhere/lb.toml
 |          ^^^^^^^^^^^^^^^^ {what_to_do} command line"
            )
        }
    );
    let env = |name: &str| (name == "LB_CONFIG").then(|| "/nowhere/lb.toml".to_owned());
    assert_eq!(
        parse_with("check", &env).unwrap_err(),
        Exit {
            code: 1,
            text: format!(
                "error: LB_CONFIG: {missing}
--> environment
 |
 | LB_CONFIG=/nowhere/lb.toml
 |           ^^^^^^^^^^^^^^^^ {what_to_do} environment"
            )
        }
    );
}

#[test]
fn each_reason_why_a_file_cannot_be_read_says_what_to_do() {
    for (kind, what_to_do) in [
        (io::ErrorKind::NotFound, "check the path"),
        (
            io::ErrorKind::PermissionDenied,
            "let the user that runs this read it",
        ),
        (
            io::ErrorKind::IsADirectory,
            "name a file in it, such as a/lb.toml",
        ),
    ] {
        let said = unreadable(Path::new("a"), &Origin::default(), &kind.into());
        assert_eq!(said.code, 1);
        assert!(said.text.contains(what_to_do), "{}", said.text);
    }
    let directory = std::env::temp_dir();
    let exit = exit(&format!("--config {}", directory.display()));
    assert_eq!(exit.code, 1);
    assert!(exit.text.contains("name a file in it"), "{}", exit.text);
}

#[test]
fn wrong_usage_ends_with_code_2_and_says_what_to_do() {
    for (args, said) in [
        ("", "neither a configuration nor servers are given"),
        ("run", "lb-test --config lb.toml"),
        ("check", "lb-test --listen :8080 --to 127.0.0.1:9001"),
        ("--config a.toml --listen :80", "cannot be used with"),
        ("--config a.toml --check /x", "cannot be used with"),
        ("--listen :80", "error: --to: missing"),
        ("--check /x", "error: --listen: missing"),
        (
            "--listen 80 --to a:1",
            "error: --listen: `80` is only a port",
        ),
        ("--listen", "a value is required"),
        ("--lisen :80", "a similar argument exists: '--listen'"),
        ("chek", "a similar subcommand exists: 'check'"),
        ("demo --listen x", "error: --listen: `x` has no port"),
        ("demo-backend", "required arguments were not provided"),
    ] {
        let exit = exit(args);
        assert_eq!(exit.code, 2, "{args}");
        assert!(exit.text.contains(said), "{args}: {}", exit.text);
    }
}

#[test]
fn arguments_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let args = [
        "lb-test".into(),
        "--listen".into(),
        OsString::from_vec(vec![0xFF]),
    ];
    assert_eq!(parse("lb-test", args, &no_env).unwrap_err().code, 2);
}

#[test]
fn help_and_version_are_answers() {
    let help = exit("--help");
    assert_eq!(help.code, 0);
    for text in [
        "Usage: lb-test",
        "lb-test demo",
        "LB_CONFIG",
        "LB_LOG",
        "Exit codes: 0 ok",
    ] {
        assert!(help.text.contains(text), "{text}: {}", help.text);
    }
    assert!(!help.text.contains("demo-backend"), "{}", help.text);
    let version = exit("--version");
    assert_eq!(version.code, 0);
    assert_eq!(
        version.text.trim_end(),
        concat!("lb-test ", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(exit("demo --help").code, 0);
}

#[test]
fn the_demo_has_its_flags() {
    let demo = |args| match parse_with(args, &no_env) {
        Ok(Command::Demo(demo)) => demo,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        demo("demo"),
        Demo {
            once: false,
            listen: None
        }
    );
    assert_eq!(
        demo("demo --once --listen 127.0.0.1:0"),
        Demo {
            once: true,
            listen: Some(Listener {
                name: "web".into(),
                address: ListenAddress::Exact("127.0.0.1:0".parse().unwrap()),
                origin: Origin::default(),
            })
        }
    );
    assert_eq!(
        parse_with("demo-backend --listen 127.0.0.1:0 --name s1", &no_env),
        Ok(Command::DemoBackend(DemoBackend {
            listen: ListenAddress::Exact("127.0.0.1:0".parse().unwrap()),
            name: "s1".to_owned()
        }))
    );
}
