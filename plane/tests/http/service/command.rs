//! The plane's command line: its output and its exit codes.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::client::request;
use crate::support::plane::until;

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
fn an_invalid_configuration_exits_with_78_and_one_line() {
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
fn an_address_in_use_exits_with_69_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = plane(&written(dir.path(), ""))
        .env("SENTRAZONE_PLANE_LISTEN", &address)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(
        said(&output).contains(&format!("cannot listen on {address}")),
        "{}",
        said(&output)
    );
}

#[test]
fn a_plane_that_cannot_start_does_not_migrate_its_database() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let older = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/tests/schema_1/plane.redb");
    std::fs::copy(older, state.join("plane.redb")).unwrap();
    let copy = state.join("plane.redb.schema-1");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = written(dir.path(), "");
    for (setting, value, code) in [
        ("SENTRAZONE_PLANE_LISTEN", address.as_str(), 69),
        ("SENTRAZONE_PLANE_METRICS_LISTEN", address.as_str(), 69),
        ("SENTRAZONE_PLANE_SOCKET", config.to_str().unwrap(), 1),
    ] {
        let output = plane(&config).env(setting, value).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(!copy.exists(), "{setting}: the database was migrated");
    }
    let files = "[tls]\nmode = \"files\"\ncert = \"/nonexistent\"\nkey = \"/nonexistent\"\n";
    let output = plane(&written(dir.path(), files)).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(!copy.exists(), "tls: the database was migrated");

    std::fs::write(state.join("jwt.key"), "short").unwrap();
    let output = plane(&written(dir.path(), "")).output().unwrap();
    assert_eq!(output.status.code(), Some(65), "{}", said(&output));
    assert!(!copy.exists(), "jwt.key: the database was migrated");

    std::fs::remove_file(state.join("jwt.key")).unwrap();
    let mut child = plane(&written(dir.path(), "")).stderr(Stdio::null()).spawn().unwrap();
    until("the database to be migrated", || copy.exists().then_some(()));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_missing_database_is_reported_if_a_plane_has_run_before() {
    let dir = tempfile::tempdir().unwrap();
    let config = written(dir.path(), "");
    let database = dir.path().join("state/plane.redb");
    let started = || {
        let mut child = plane(&config).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut log: Vec<String> = lines
            .by_ref()
            .take_while(|line| !line.contains("listening on unix"))
            .collect();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        log.extend(lines);
        assert!(child.wait().unwrap().success(), "{log:?}");
        log.join("\n")
    };
    let warning = format!("there is no database {}", database.display());
    let first = started();
    assert!(!first.contains(&warning), "{first}");
    std::fs::remove_file(&database).unwrap();
    let second = started();
    assert!(second.contains(&warning) && second.contains("jwt.key"), "{second}");
}

#[test]
fn a_database_that_another_plane_uses_exits_with_75() {
    let dir = tempfile::tempdir().unwrap();
    let config = written(dir.path(), "");
    let mut first = plane(&config).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(first.stderr.take().unwrap()).lines();
    lines
        .find(|line| line.as_ref().unwrap().contains("listening on"))
        .unwrap()
        .unwrap();
    let second = plane(&config).env("SENTRAZONE_LOG", "error").output().unwrap();
    assert_eq!(second.status.code(), Some(75));
    assert_eq!(said(&second).lines().count(), 1, "{}", said(&second));
    assert!(
        said(&second).contains("stop the other sentrazone-plane"),
        "{}",
        said(&second)
    );
    kill(Pid::from_raw(i32::try_from(first.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(first.wait().unwrap().success());
}

#[test]
fn the_service_manager_receives_ready_and_then_watchdog_notifications() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut child = plane(&written(dir.path(), ""))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let words: Vec<String> = (0..4).map(|_| told()).collect();
    assert_eq!(words, ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_plane_logs_its_address_and_exits_cleanly_on_a_signal() {
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
