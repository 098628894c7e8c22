//! Where the programs are: ours are built, the others are looked for.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::peers::Peer;

/// Where servers are installed, whatever the `PATH` says.
const SYSTEM: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];

/// The program of one of our own: in `directory`, or built, each by itself, so that no feature of one gets into the other.
pub(super) fn ours(peer: Peer, directory: Option<&Path>) -> io::Result<PathBuf> {
    let name = peer.program();
    if let Some(directory) = directory {
        let program = fs::canonicalize(directory)?.join(name);
        let missing = || io::Error::other(format!("no program {}", program.display()));
        return runnable(&program)
            .then(|| program.clone())
            .ok_or_else(missing);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    eprintln!("building {name} …");
    let output = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "-p",
            name,
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let built = built(&String::from_utf8_lossy(&output.stdout), name);
    built
        .filter(|_| output.status.success())
        .ok_or_else(|| io::Error::other(format!("{name} does not build")))
}

/// What cargo says it has built under this name.
fn built(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    messages
        .filter(|message| message["target"]["name"] == name)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
}

/// The program of this name, if it is installed.
pub(super) fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    find(name, &path)
}

fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    let places = env::split_paths(path).chain(SYSTEM.map(PathBuf::from));
    places
        .map(|place| place.join(name))
        .find(|program| runnable(program))
}

fn runnable(program: &Path) -> bool {
    fs::metadata(program)
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// What a program says of its version: the first line of what it prints.
pub(super) fn version(peer: Peer, program: &Path) -> String {
    let output = Command::new(program)
        .arg(peer.version_argument())
        .stdin(Stdio::null())
        .output();
    let text = output.map_or_else(
        |error| error.to_string().into_bytes(),
        |output| [output.stdout, output.stderr].concat(),
    );
    told(program, &String::from_utf8_lossy(&text))
}

/// The first line that says something, without the path with which Envoy begins it.
fn told(program: &Path, text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let path = program.to_str().unwrap_or_default();
    lines
        .map(|line| line.strip_prefix(path).unwrap_or(line).trim_start())
        .find(|line| !line.is_empty())
        .unwrap_or("unknown")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Scratch;

    #[test]
    fn a_program_is_found_along_the_path_if_it_can_be_run() {
        let (first, second) = (Scratch::new(), Scratch::new());
        let path = env::join_paths([first.path(), second.path()]).unwrap();
        for place in [&first, &second] {
            fs::write(place.path().join("some-balancer"), "").unwrap();
        }
        assert_eq!(find("some-balancer", &path), None);
        let program = second.path().join("some-balancer");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("some-balancer", &path), Some(program));
    }

    #[test]
    fn a_version_is_the_first_line_that_says_something_and_no_path() {
        let table = [
            (
                "nginx version: nginx/1.22.1\n",
                "nginx version: nginx/1.22.1",
            ),
            (
                "\n/p/envoy  version: 9e5/1.40.0/RELEASE\n\n",
                "version: 9e5/1.40.0/RELEASE",
            ),
            ("", "unknown"),
        ];
        for (text, wanted) in table {
            assert_eq!(told(Path::new("/p/envoy"), text), wanted);
        }
    }

    #[test]
    fn a_directory_without_our_program_is_refused() {
        let empty = Scratch::new();
        let error = ours(Peer::LbTokio, Some(empty.path()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("lb-tokio"), "{error}");
    }

    #[test]
    fn the_program_is_where_cargo_says_it_is() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"lb_core\"},\"executable\":null}\n\
             {\"target\":{\"name\":\"lb-tokio\"},\"executable\":\"/t/release/lb-tokio\"}\nnoise\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(
            built(messages, "lb-tokio"),
            Some("/t/release/lb-tokio".into())
        );
        assert_eq!(built(messages, "lb-async-std"), None);
    }
}
