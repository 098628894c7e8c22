//! The comparison's own program, as far as it needs nobody else's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

const VERSUS: &str = env!("CARGO_BIN_EXE_versus");

#[test]
fn the_generator_is_held_against_its_own_servers_and_says_who_is_missing() {
    let output = Command::new(VERSUS)
        .args(["--calibrate", "--seconds", "0.2"])
        .env("PATH", "")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for work in ["**W1**", "**W2**", "**W3**"] {
        assert!(text.contains(work), "{text}");
    }
    let lines = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(lines("| versus"), 3, "{text}");
    assert_eq!(text.matches("not installed").count(), 6, "{text}");
}

#[test]
fn its_servers_end_with_whoever_started_them() {
    // Held, so that nobody else is given the port before the servers listen on it.
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    held.set_reuse_address(true).unwrap();
    held.set_reuse_port(true).unwrap();
    held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let port = held.local_addr().unwrap().as_socket().unwrap();
    let mut servers = Command::new(VERSUS)
        .args(["serve", &port.port().to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut client = loop {
        std::thread::sleep(Duration::from_millis(2));
        match TcpStream::connect(port) {
            Ok(client) => break client,
            Err(_) => assert!(servers.try_wait().unwrap().is_none(), "it has ended"),
        }
    };
    client.write_all(b"GET /b/3 HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nxxx"), "{answer}");
    drop(servers.stdin.take());
    assert!(servers.wait().unwrap().success());
}

#[test]
fn a_wrong_command_line_is_refused_before_anything_starts() {
    for arguments in [["--work", "W9"], ["--peers", "apache"]] {
        let output = Command::new(VERSUS).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn what_counts_instructions_is_missed_before_anything_is_built() {
    let output = Command::new(VERSUS)
        .arg("--instructions")
        .env("PATH", "")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(
        said.trim(),
        "versus: valgrind is not installed, and it is what counts"
    );
}
