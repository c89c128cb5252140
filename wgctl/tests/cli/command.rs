//! The command without a plane: arguments, exit codes, keys and completions.

use std::process::{Command, Stdio};

use crate::support::{Home, stderr, stdout};

const COMMANDS: &[&str] = &[
    "",
    "user",
    "user add",
    "user list",
    "user set",
    "user passwd",
    "user disable",
    "user enable",
    "user remove",
    "token",
    "token add",
    "token list",
    "token remove",
    "key",
    "key rotate",
    "server",
    "server add",
    "server list",
    "server show",
    "server set",
    "server token",
    "server remove",
    "peer",
    "peer add",
    "peer list",
    "peer show",
    "peer enable",
    "peer disable",
    "peer rename",
    "peer set",
    "peer remove",
    "peer config",
    "peer qr",
    "status",
    "history",
    "audit",
    "audit export",
    "audit verify",
    "login",
    "logout",
    "genkey",
    "pubkey",
    "genpsk",
    "show",
    "completions",
];

#[test]
fn every_command_has_a_help_text() {
    let home = Home::new();
    for command in COMMANDS {
        let output = home.run(&format!("{command} --help"), "");
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(stdout(&output).contains("Usage: wgctl"), "{command}");
        assert!(stdout(&output).contains("--json"), "{command}");
    }
}

#[test]
fn wrong_usage_exits_with_code_2_and_an_explanation() {
    let home = Home::new();
    for (words, expected) in [
        ("", "Usage"),
        ("frobnicate", "unrecognized"),
        ("user add ops@example.com", "--role"),
        ("user add nobody --admin", "ops@example.com"),
        ("user add ops@example.com --role king", "admin"),
        ("server add Los --endpoint vpn:1 --pool 10.8.0.0/24", "server id"),
        ("server add la --endpoint vpn --pool 10.8.0.0/24", "HOST:PORT"),
        (
            "server add la --endpoint vpn:1 --pool 10.8.0.0/33",
            "write NETWORK/PREFIX, like 10.8.0.0/24",
        ),
        (
            "server add la --endpoint vpn:1 --pool 10.8.0.0",
            "write NETWORK/PREFIX, like 10.8.0.0/24",
        ),
        (
            "peer add la alice --allowed-ips 10.8.0.0/33",
            "write NETWORK/PREFIX, like 10.8.0.0/24",
        ),
        ("server remove la", "no terminal to ask on: add --yes"),
        ("server add la --endpoint vpn:1", "--pool"),
        ("server set la", "--endpoint"),
        ("peer set la alice", "--expires"),
        ("peer add la alice --expires soon", "90d"),
        ("peer add la alice --public-key short", "44 characters"),
        (
            "peer add la alice --dns resolver.example",
            "write an address, like 10.8.0.2",
        ),
        ("history la --step 5", "--step"),
        ("history la --step 86401", "--step"),
        ("audit --limit 0", "--limit"),
        ("status --plane ftp://plane", "https"),
        ("status --plane https://plane --socket /x", "--socket"),
        ("status --plane http://192.0.2.1 --token-file token", "plain http"),
        ("completions tcsh", "zsh"),
        ("login https://plane --password-stdin", "--email"),
    ] {
        std::fs::write(home.0.join("token"), "x\n").unwrap();
        let output = home.run(words, "");
        assert_eq!(output.status.code(), Some(2), "{words}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{words}: {}", stderr(&output));
    }
}

#[test]
fn an_unreachable_plane_is_reported_on_one_line_followed_by_the_next_step() {
    let home = Home::new();
    for (words, expected) in [
        (
            "status --plane http://127.0.0.1:1",
            "cannot reach the plane at http://127.0.0.1:1",
        ),
        (
            "server list --socket /nonexistent/plane.sock",
            "cannot reach the plane at /nonexistent/plane.sock",
        ),
    ] {
        // Without TLS, no certificate store is needed.
        let bare = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
        let output = home.run_with(words, "", &bare);
        assert_eq!(output.status.code(), Some(1), "{words}");
        let text = stderr(&output);
        assert!(text.starts_with("wgctl: ") && text.contains(expected), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_failure_is_printed_as_json_if_json_was_requested() {
    let home = Home::new();
    for (words, code, expected) in [
        ("status --json --plane http://127.0.0.1:1", 1, "unreachable"),
        ("server remove la --json", 2, "usage"),
        ("peer list --sort size la --json", 2, "usage"),
        ("pubkey --json", 1, "local"),
    ] {
        let output = home.run(words, "");
        assert_eq!(output.status.code(), Some(code), "{words}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["code"], expected, "{error}");
        assert!(error["detail"].is_string(), "{error}");
    }
}

#[test]
fn a_lack_of_interfaces_or_of_kernel_support_is_reported() {
    let home = Home::new();
    let one = home.run("show wgctl-absent", "");
    let all = home.run("show", "");
    assert_eq!(one.status.code(), Some(1));
    if stderr(&one).contains("this kernel has no WireGuard") {
        assert_eq!((all.status.code(), stderr(&all)), (Some(1), stderr(&one)));
    } else if stdout(&all).is_empty() && all.status.success() {
        assert_eq!(stderr(&all), "no WireGuard interfaces\n");
    } else {
        eprintln!("not checked: this machine has WireGuard interfaces");
    }
}

#[test]
fn keys_match_those_of_wg() {
    let home = Home::new();
    let private = stdout(&home.run("genkey", ""));
    let public = stdout(&home.run("pubkey", &private));
    assert_eq!((private.len(), public.len()), (45, 45));
    assert_ne!(stdout(&home.run("genpsk", "")), stdout(&home.run("genpsk", "")));
    let wg = Command::new("wg")
        .arg("pubkey")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut wg) = wg else {
        eprintln!("not compared with wg: it is not installed");
        return;
    };
    std::io::Write::write_all(&mut wg.stdin.take().unwrap(), private.as_bytes()).unwrap();
    assert_eq!(stdout(&wg.wait_with_output().unwrap()), public);
}

#[test]
fn keys_can_be_printed_as_json() {
    let home = Home::new();
    let key: serde_json::Value = serde_json::from_slice(&home.run("genkey --json", "").stdout).unwrap();
    let private = key["private_key"].as_str().unwrap();
    let key: serde_json::Value = serde_json::from_slice(&home.run("pubkey --json", private).stdout).unwrap();
    assert_eq!(key["public_key"].as_str().unwrap().len(), 44);
}

#[test]
fn an_invalid_key_is_refused_without_being_repeated() {
    let home = Home::new();
    let output = home.run("pubkey", "iEoyG5bD0eJfQ9ZbWqgs8nD9W2E4yBmDq0VxgJwqy");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("44 characters") && !stderr(&output).contains("iEoy"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn logging_never_shows_a_key() {
    let home = Home::new();
    let output = home.run_with("genkey", "", &[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")]);
    assert_eq!(stderr(&output), "");
}

#[test]
fn every_shell_has_a_completion_script() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = home.run(&format!("completions {shell}"), "");
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("_WGCTL_COMPLETE"), "{shell}");
    }
}

#[test]
fn a_reader_that_closes_the_pipe_early_is_not_a_failure() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_wgctl"))
        .args(["completions", "bash"])
        .env("HOME", &home.0)
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}
