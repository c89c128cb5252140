//! `--watch`, with and without a terminal.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Home, Plane, problem, stderr};
use crate::terminal::Terminal;

const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

fn status(server: &str, received: u64) -> String {
    format!(
        r#"{{"server_id":"{server}","online":true,"ping_ms":1.0,"peers":3,"transfer_rx":{received},"transfer_tx":0,
        "reported_at":"2026-05-06T12:00:00Z","desired_revision":8,"applied_revision":8,"failed":null}}"#
    )
}

fn plane(received: u64) -> Plane {
    Plane::new(&[("GET /api/statuses", 200, &format!("[{}]", status("la", received)))])
}

#[test]
fn a_watched_status_is_redrawn_in_place_and_survives_an_unreachable_plane() {
    let home = Home::new();
    let plane = plane(1024);
    let mut terminal = Terminal::wgctl(&home, &format!("status --watch 1 --plane {}", plane.url), &[]);
    terminal.until(ENTER);
    terminal.until(&format!("Every 1 s: status of {}", plane.url));
    terminal.until("1.00 KiB");
    assert!(terminal.settings().contains("-echo "), "typed keys must not be echoed");
    plane.answer("GET /api/statuses", 200, &format!("[{}]", status("la", 4096)));
    // Only changed values are highlighted, and the screen is not cleared in between.
    terminal.until("\u{1b}[H");
    terminal.until("1.0 ms");
    terminal.until("\u{1b}[7m4.00 KiB\u{1b}[27m");
    plane.hang_up(2);
    terminal.until("is the latest: cannot reach the plane");
    terminal.until("4.00 KiB");
    plane.answer("GET /api/statuses", 200, &format!("[{}]", status("la", 5120)));
    terminal.until("\u{1b}[7m5.00 KiB\u{1b}[27m");
    terminal.enter("\u{3}");
    terminal.until(LEAVE);
    let (status, written) = terminal.end();
    assert_eq!(status.code(), Some(0));
    assert!(written.ends_with(LEAVE), "{written:?}");
}

#[test]
fn a_refusal_ends_the_watch_after_the_terminal_has_been_restored() {
    let home = Home::new();
    let plane = plane(1);
    let terminal = Terminal::wgctl(&home, &format!("status --watch 1 --plane {}", plane.url), &[]);
    terminal.until("1 B");
    plane.answer(
        "GET /api/statuses",
        401,
        &problem(401, "unauthorized", "the login has expired"),
    );
    terminal.until(LEAVE);
    terminal.until("wgctl: the login has expired (unauthorized)");
    assert!(terminal.settings().contains(" echo "));
    assert_eq!(terminal.end().0.code(), Some(1));
}

#[test]
fn the_screen_adapts_when_the_window_is_resized() {
    let home = Home::new();
    let servers: Vec<_> = (0..40).map(|number| status(&format!("server-{number}"), 0)).collect();
    let plane = Plane::new(&[("GET /api/statuses", 200, &format!("[{}]", servers.join(",")))]);
    let terminal = Terminal::wgctl(&home, &format!("status --watch 3600 --plane {}", plane.url), &[]);
    // A heading, a blank line, the column headings and 40 servers. The last line counts the omitted lines.
    terminal.until("server-19");
    terminal.until("… 20 more lines");
    terminal.resize(10, 120);
    terminal.until("server-5");
    terminal.until("… 34 more lines");
    terminal.resize(60, 120);
    terminal.until("server-39");
    assert_eq!(plane.seen().len(), 1, "a resize redraws without another request");
    terminal.signal(Signal::SIGTERM);
    terminal.until(LEAVE);
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn a_suspended_watch_restores_the_terminal_until_it_is_resumed() {
    let home = Home::new();
    let plane = plane(1);
    let terminal = Terminal::wgctl(&home, &format!("status --watch 3600 --plane {}", plane.url), &[]);
    terminal.until(ENTER);
    terminal.until("1 B");
    terminal.signal(Signal::SIGTSTP);
    terminal.until(LEAVE);
    terminal.until_stopped();
    terminal.signal(Signal::SIGCONT);
    terminal.until(ENTER);
    terminal.until("1 B");
    terminal.signal(Signal::SIGHUP);
    assert_eq!(terminal.end().0.code(), Some(0));
}

/// A watch without a terminal, which is killed when dropped.
struct Piped(Child);

impl Piped {
    fn start(home: &Home, words: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_wgctl"))
            .args(words.split_whitespace())
            .env_clear()
            .env("HOME", &home.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn without_a_terminal_each_round_is_printed_below_the_previous_one() {
    let home = Home::new();
    let plane = plane(1);
    let mut watch = Piped::start(&home, &format!("status --watch=1 --plane {}", plane.url));
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut said = BufReader::new(watch.0.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    for _ in 0..2 {
        assert!(lines.next().unwrap().starts_with("SERVER "));
        assert!(lines.next().unwrap().starts_with("la  "));
        assert_eq!(lines.next().unwrap(), "");
    }
    plane.hang_up(2);
    let away = said.next().unwrap();
    assert!(away.starts_with("wgctl: continuing: cannot reach the plane"), "{away}");
    let back = said.find(|line| line == "wgctl: the plane is back");
    assert!(back.is_some());
    assert!(lines.next().unwrap().starts_with("SERVER "));
}

#[test]
fn with_json_each_round_is_one_line() {
    let home = Home::new();
    let plane = plane(7);
    let mut watch = Piped::start(&home, &format!("status --watch 1 --json --plane {}", plane.url));
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut said = BufReader::new(watch.0.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut round = || serde_json::from_str::<Value>(&lines.next().unwrap()).unwrap();
    assert_eq!(round()[0]["transfer_rx"], 7);
    plane.hang_up(1);
    let failure: Value = serde_json::from_str(&said.next().unwrap()).unwrap();
    assert_eq!(failure["code"], "unreachable");
    assert_eq!(round()[0]["transfer_rx"], 7);
}

#[test]
fn a_plane_that_is_unreachable_at_the_start_is_a_failure() {
    let home = Home::new();
    for words in ["status --watch", "peer list la --watch 5", "server list --watch=5"] {
        let output = home.run(&format!("{words} --plane http://127.0.0.1:1"), "");
        assert_eq!(output.status.code(), Some(1), "{words}: {}", stderr(&output));
    }
    let output = home.run("peer list --watch la", "");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("1 to 86400 seconds"), "{}", stderr(&output));
}
