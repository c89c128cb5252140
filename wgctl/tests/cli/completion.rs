//! Completion in real shells: bash, zsh and fish.

use std::path::Path;
use std::process::Command;

use crate::support::{Home, Plane, peer, server, stdout};
use crate::terminal::Terminal;

const USERS: &str = r#"[{"id":"5f0c2f0e-5b0e-4c43-8a53-1b7d0f6f6a11","email":"ops@example.com","role":"admin","enabled":true,
    "created_at":"2026-05-06T12:00:00Z","last_login_at":null}]"#;

/// Returns a plane with a server `los-angeles` and three peers: a telephone, a laptop with a space in its
/// name, and a name that a shell would run as a command.
fn plane() -> Plane {
    let servers = format!("[{}]", server("").replace(r#""id":"la""#, r#""id":"los-angeles""#));
    let peers = format!(
        "[{},{},{}]",
        peer("telephone"),
        peer("Zoe's laptop"),
        peer("$(touch here)")
    );
    Plane::new(&[
        ("GET /api/servers", 200, &servers),
        ("GET /api/wg-clients/los-angeles", 200, &peers),
        ("GET /api/users", 200, USERS),
    ])
}

/// Starts a shell with the completions of the wgctl under test, configured to ask `plane`.
fn shell(home: &Home, plane: &Plane, command: &[&str], setup: &str) -> Terminal {
    let folder = Path::new(env!("CARGO_BIN_EXE_wgctl")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let environment = [
        ("SENTRAZONE_URL", plane.url.as_str()),
        ("PATH", &path),
        ("LANG", "C.UTF-8"),
    ];
    let mut terminal = Terminal::run(home, command, &environment);
    terminal.enter(&format!("{setup}\n echo rea''dy\n"));
    terminal.until("ready");
    terminal
}

/// Types the beginning of a line and Tab, waits until the line shows `expected`, and clears the line.
fn expect(terminal: &mut Terminal, typed: &str, expected: &str) {
    terminal.enter(typed);
    // A plane that does not respond within a second yields no completions, so Tab is pressed again.
    terminal.enter_until("\t", expected);
    terminal.enter("\u{15}");
}

fn installed(shell: &str) -> bool {
    let there = Command::new(shell).arg("--version").output().is_ok();
    if !there {
        eprintln!("not tried: {shell} is not installed (tests/tools installs it)");
    }
    there
}

#[test]
fn bash_completes_commands_and_the_names_of_servers_peers_and_people() {
    let (home, plane) = (Home::new(), plane());
    let command = ["bash", "--norc", "--noprofile", "-i"];
    let setup = "bind 'set enable-bracketed-paste off'; PS1='> '; source <(wgctl completions bash)";
    let mut bash = shell(&home, &plane, &command, setup);
    expect(&mut bash, "wgctl pee", "wgctl peer ");
    expect(&mut bash, "wgctl peer li", "wgctl peer list ");
    expect(&mut bash, "wgctl peer list lo", "list los-angeles ");
    expect(&mut bash, "wgctl peer show los-angeles te", "los-angeles telephone ");
    expect(
        &mut bash,
        "wgctl peer show los-angeles Z",
        r"los-angeles Zoe\'s\ laptop ",
    );
    expect(&mut bash, "wgctl peer show los-angeles \"Zoe", "\"Zoe's laptop\" ");
    expect(
        &mut bash,
        r"wgctl peer show los-angeles \$",
        r"los-angeles \$\(touch\ here\) ",
    );
    // readline breaks words at @ and :.
    expect(&mut bash, "wgctl user disable ops@ex", "disable ops@example.com ");
    let other = format!("wgctl --plane {} server show l", plane.url);
    expect(&mut bash, &other, "show los-angeles ");
    bash.enter("exit\n");
    bash.end();
    assert!(!home.0.join("here").exists());
}

#[test]
fn zsh_completes_names_whether_the_script_is_sourced_or_autoloaded() {
    if !installed("zsh") {
        return;
    }
    let (home, plane) = (Home::new(), plane());
    let functions = home.0.join("functions");
    std::fs::create_dir(&functions).unwrap();
    std::fs::write(functions.join("_wgctl"), home.run("completions zsh", "").stdout).unwrap();
    for setup in [
        "autoload -U compinit; compinit -u -D; source <(wgctl completions zsh)".to_owned(),
        format!(
            "fpath=({} $fpath); autoload -U compinit; compinit -u -D",
            functions.display()
        ),
    ] {
        let setup = format!("PS1='> '; unset zle_bracketed_paste; {setup}");
        let mut zsh = shell(&home, &plane, &["zsh", "-f", "-i"], &setup);
        expect(&mut zsh, "wgctl peer show los-angeles te", "lephone");
        expect(&mut zsh, "wgctl peer show los-angeles Z", r"oe\'s\ laptop");
        expect(&mut zsh, "wgctl user disable ops@ex", "ample.com");
        zsh.enter("exit\n");
        zsh.end();
    }
}

#[test]
fn fish_completes_names() {
    if !installed("fish") {
        return;
    }
    let (home, plane) = (Home::new(), plane());
    let setup = "wgctl completions fish | source";
    let mut fish = shell(&home, &plane, &["fish", "--no-config", "-i"], setup);
    expect(&mut fish, "wgctl peer show los-angeles te", "telephone ");
    expect(&mut fish, "wgctl user disable ops@ex", "ops@example.com ");
    fish.enter("exit\n");
    fish.end();
}

#[test]
fn an_unresponsive_plane_yields_no_errors_and_no_names() {
    let home = Home::new();
    // A listener that never responds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for url in ["http://127.0.0.1:1", &silent, "nonsense"] {
        for line in [
            "wgctl server show ",
            "wgctl peer show la ",
            "wgctl --token-file - user disable ",
        ] {
            let output = Command::new(env!("CARGO_BIN_EXE_wgctl"))
                .args(["--", line, ""])
                .env_clear()
                .envs([
                    ("HOME", home.0.to_str().unwrap()),
                    ("SENTRAZONE_URL", url),
                    ("_WGCTL_COMPLETE", "bash"),
                ])
                .output()
                .unwrap();
            let words = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), words.as_str()), (Some(0), ""), "{url} {line}");
            let offered = String::from_utf8(output.stdout).unwrap();
            assert!(offered.lines().all(|candidate| candidate.starts_with('-')), "{offered}");
        }
    }
}

#[test]
fn a_shell_that_does_not_quote_is_offered_only_plain_words() {
    let (home, plane) = (Home::new(), plane());
    let words = ["--", "wgctl", "peer", "show", "los-angeles", ""];
    let output = Command::new(env!("CARGO_BIN_EXE_wgctl"))
        .args(words)
        .env_clear()
        .envs([
            ("HOME", home.0.to_str().unwrap()),
            ("SENTRAZONE_URL", &plane.url),
            ("_WGCTL_COMPLETE", "powershell"),
        ])
        .output()
        .unwrap();
    let offered = stdout(&output);
    assert!(
        offered.contains("telephone") && !offered.contains("touch") && !offered.contains("Zoe"),
        "{offered}"
    );
}
