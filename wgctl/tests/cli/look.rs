//! Output format: colours, narrow terminals, wide characters, headings, order and `--quiet`.

use serde_json::Value;

use crate::support::{Home, ID, Plane, peer, stderr, stdout};
use crate::terminal::Terminal;

const STATUS: &str = r#"[{"server_id":"la","online":true,"ping_ms":null,"peers":0,"transfer_rx":0,"transfer_tx":0,
    "reported_at":null,"desired_revision":8,"applied_revision":8,"failed":null}]"#;

#[test]
fn colours_depend_on_the_terminal_and_the_environment() {
    let home = Home::new();
    let plane = Plane::new(&[("GET /api/statuses", 200, STATUS)]);
    let words = format!("status --plane {}", plane.url);
    for (environment, coloured) in [
        (&[][..], true),
        (&[("NO_COLOR", "1")], false),
        (&[("NO_COLOR", "")], true),
        (&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], false),
        (&[("CLICOLOR", "0")], false),
        (&[("TERM", "dumb")], false),
    ] {
        let (status, written) = Terminal::wgctl(&home, &words, environment).end();
        assert_eq!(status.code(), Some(0), "{written}");
        assert!(written.contains("online"));
        assert_eq!(
            written.contains("\u{1b}[32mla"),
            coloured,
            "{environment:?}: {written:?}"
        );
        assert_eq!(written.contains('\u{1b}'), coloured, "{environment:?}: {written:?}");
    }
    for (environment, coloured) in [
        (&[][..], false),
        (&[("TERM", "xterm")], false),
        (&[("CLICOLOR_FORCE", "1")], true),
        (&[("CLICOLOR_FORCE", "0")], false),
    ] {
        let written = stdout(&home.run_with(&words, "", environment));
        assert_eq!(written.contains('\u{1b}'), coloured, "{environment:?}: {written:?}");
    }
}

#[test]
fn a_long_name_is_truncated_on_a_terminal_but_not_in_a_file() {
    let home = Home::new();
    let name = "a-very-long-name-that-somebody-gave-to-a-telephone";
    let list = format!("[{},{}]", peer(name), peer("日本"));
    let plane = Plane::new(&[("GET /api/wg-clients/la", 200, &list)]);
    let words = format!("peer list la --plane {}", plane.url);
    let (_, written) = Terminal::wgctl(&home, &words, &[("NO_COLOR", "1")]).end();
    let lines: Vec<_> = written.lines().collect();
    assert_eq!(lines.len(), 3, "{written}");
    assert!(lines[1].starts_with("a-very-l") && lines[1].contains('…'), "{written}");
    for line in &lines[1..] {
        assert!(line.trim_end().ends_with(ID), "an id is never truncated: {written}");
    }
    // 日本 has two characters and takes four columns.
    let column = |line: &str, text: &str| line.split(text).next().unwrap().chars().count();
    assert_eq!(
        column(lines[1], "enabled"),
        column(lines[2], "enabled") + 2,
        "{written}"
    );
    assert!(stdout(&home.run(&words, "")).contains(name));
}

#[test]
fn headings_can_be_omitted_and_the_order_can_be_chosen() {
    let home = Home::new();
    let heard = |name: &str, at: &str, received: u64| {
        let text = peer(name).replace(r#""transferRx":2048"#, &format!(r#""transferRx":{received}"#));
        text.replace(
            r#""latestHandshakeAt":null"#,
            &format!(r#""latestHandshakeAt":"2026-05-0{at}T12:00:00Z""#),
        )
    };
    let list = format!(
        "[{},{},{}]",
        heard("Bob", "1", 2),
        heard("alice", "2", 1),
        heard("carol", "3", 3)
    );
    let plane = Plane::new(&[("GET /api/wg-clients/la", 200, &list)]);
    for (words, expected) in [
        ("", ["Bob", "alice", "carol"]),
        ("--reverse", ["carol", "alice", "Bob"]),
        ("--sort name", ["alice", "Bob", "carol"]),
        ("--sort handshake", ["carol", "alice", "Bob"]),
        ("--sort traffic", ["carol", "Bob", "alice"]),
    ] {
        let words = format!("peer list la --no-header {words} --plane {}", plane.url);
        let text = stdout(&home.run(&words, ""));
        let names: Vec<_> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(names, expected, "{words}");
        let json: Value = serde_json::from_slice(&home.run(&format!("{words} --json"), "").stdout).unwrap();
        let names: Vec<_> = json
            .as_array()
            .unwrap()
            .iter()
            .map(|peer| peer["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected, "{words}");
    }
}

#[test]
fn results_and_failures_are_printed_despite_quiet() {
    let home = Home::new();
    let (list, one) = (format!("[{}]", peer("alice")), format!("/api/wg-clients/la/{ID}"));
    let (enable, remove) = (format!("POST {one}/enable"), format!("DELETE {one}"));
    let plane = Plane::new(&[
        ("GET /api/wg-clients/la", 200, &list),
        (&enable, 200, &peer("alice")),
        (&remove, 204, ""),
    ]);
    let run = |words: &str| home.run(&format!("{words} --plane {}", plane.url), "");
    for words in ["peer enable la alice -q", "peer remove la alice --quiet"] {
        let output = run(words);
        assert_eq!(
            (output.status.code(), stdout(&output).as_str()),
            (Some(0), ""),
            "{}",
            stderr(&output)
        );
    }
    assert!(stdout(&run("peer list la -q")).contains("alice"));
    assert!(stderr(&run("peer enable la bob -q")).contains("no peer"));
    let removed: Value = serde_json::from_slice(&run("peer remove la alice --json").stdout).unwrap();
    assert_eq!(removed["message"], "alice has been removed from la.");
}

#[test]
fn the_status_can_be_limited_to_some_servers() {
    let home = Home::new();
    let plane = Plane::new(&[("GET /api/statuses", 200, STATUS)]);
    let output = home.run(&format!("status la --plane {}", plane.url), "");
    assert!(stdout(&output).contains("online"));
    let output = home.run(&format!("status la berlin --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("no server berlin: see `wgctl server list`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn redirecting_a_secret_to_a_world_readable_file_prints_a_warning() {
    use std::os::unix::fs::OpenOptionsExt as _;
    let home = Home::new();
    let text = format!("GET /api/wg-clients/la/{ID}/configuration");
    let list = format!("[{}]", peer("alice"));
    let plane = Plane::new(&[("GET /api/wg-clients/la", 200, &list), (&text, 200, "[Interface]\n")]);
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        let path = home.0.join(format!("{mode:o}"));
        let file = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(mode)
            .open(&path)
            .unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_wgctl"))
            .args(["peer", "config", "la", "alice", "--plane", &plane.url])
            .env_clear()
            .env("HOME", &home.0)
            .stdout(file)
            .output()
            .unwrap();
        assert_eq!(
            stderr(&output).contains("umask 077"),
            warned,
            "{mode:o}: {}",
            stderr(&output)
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[Interface]\n");
    }
}

#[test]
fn an_argument_that_is_one_peers_id_and_anothers_name_is_refused() {
    let home = Home::new();
    let other = "9b1f0d9e-0000-4000-8000-1b7d0f6f6a11";
    let list = format!(
        "[{},{}]",
        peer("alice"),
        peer(ID).replace(&format!(r#""id":"{ID}""#), &format!(r#""id":"{other}""#))
    );
    let plane = Plane::new(&[("GET /api/wg-clients/la", 200, &list)]);
    let output = home.run(&format!("peer remove la {ID} --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(other) && text.contains("\"alice\""), "{text}");
    assert!(plane.seen().iter().all(|request| request.line.starts_with("GET ")));
}
