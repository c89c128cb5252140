//! The plane's command: what it prints, how it ends.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::request;

fn plane(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentrazone-plane"));
    command.arg("--config").arg(config);
    command
}

fn written(dir: &Path, more: &str) -> std::path::PathBuf {
    let path = dir.join("plane.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstate_dir = \"{0}/state\"\nsocket = \"{0}/plane.sock\"\n{more}",
        dir.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_wrong_configuration_ends_with_78_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let config = written(dir.path(), "[tls]\nmode = \"on\"\n");
    for arguments in [&["check"][..], &[]] {
        let output = plane(&config).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
        assert!(said(&output).contains("plane.toml:5: tls.mode"), "{}", said(&output));
    }
    let missing = plane(Path::new("/nonexistent/plane.toml")).output().unwrap();
    assert_eq!(missing.status.code(), Some(78));
    let good = plane(&written(dir.path(), "")).arg("check").output().unwrap();
    assert!(good.status.success() && !dir.path().join("state").exists());
}

#[test]
fn a_busy_address_ends_with_1_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = plane(&written(dir.path(), ""))
        .env("SENTRAZONE_PLANE_LISTEN", &address)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains(&format!("cannot listen on {address}")),
        "{}",
        said(&output)
    );
}

#[test]
fn it_says_where_it_listens_and_ends_well_on_a_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let dir = tempfile::tempdir().unwrap();
        let mut child: Child = plane(&written(dir.path(), "")).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains("listening on http://"))
            .unwrap();
        let address = line.rsplit("http://").next().unwrap().trim().parse().unwrap();
        request("GET", "/healthz").send(address).expect(200);
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(child.wait().unwrap().success(), "{rest:?}");
        assert!(!dir.path().join("plane.sock").exists());
    }
}
