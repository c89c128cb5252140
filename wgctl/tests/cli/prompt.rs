//! Prompts on a terminal: their text, the input that they accept, and the terminal settings after Ctrl-C.

use std::os::unix::process::ExitStatusExt as _;

use nix::sys::signal::Signal;

use crate::support::{Home, Plane};
use crate::terminal::Terminal;

fn plane() -> Plane {
    Plane::new(&[
        (
            "POST /api/login",
            200,
            r#"{"token":"eyJ.a.b","expires_at":"2999-01-01T00:00:00Z"}"#,
        ),
        ("POST /api/me/password", 200, "{}"),
    ])
}

#[test]
fn a_password_is_prompted_for_and_not_echoed() {
    let (home, plane) = (Home::new(), plane());
    let mut terminal = Terminal::wgctl(&home, &format!("login {}", plane.url), &[]);
    terminal.until("Email: ");
    terminal.enter("ops@example.com\n");
    terminal.until("Password: ");
    terminal.until_silent();
    terminal.enter("correct horse\n");
    terminal.until("Logged in to");
    let (status, written) = terminal.end();
    assert!(status.success(), "{written}");
    assert!(!written.contains("horse"), "{written}");
    assert!(plane.seen()[0].body.contains("correct horse"));
}

#[test]
fn a_mistyped_new_password_is_not_set() {
    let (home, plane) = (Home::new(), plane());
    let words = format!("user passwd --plane {}", plane.url);
    let mut terminal = Terminal::wgctl(&home, &words, &[("SENTRAZONE_TOKEN", "szt_x")]);
    for (question, answer) in [
        ("Current password: ", "correct horse\n"),
        ("New password (at least 12 characters): ", "battery staple\n"),
        ("Repeat the new password: ", "battery stable\n"),
    ] {
        terminal.until(question);
        terminal.until_silent();
        terminal.enter(answer);
    }
    terminal.until("the two passwords differ: nothing was changed");
    assert!(!terminal.end().0.success());
    assert!(plane.seen().is_empty());
}

#[test]
fn ctrl_c_at_a_password_prompt_ends_the_command_and_restores_the_terminal() {
    let (home, plane) = (Home::new(), plane());
    let login = format!(
        "{} login {} --email ops@example.com",
        env!("CARGO_BIN_EXE_wgctl"),
        plane.url
    );
    // dash does not restore the terminal settings itself.
    let script = format!("{login}; echo ended with $?; stty -a; {login}");
    let mut terminal = Terminal::run(&home, &["dash", "-c", &script], &[]);
    terminal.until("Password: ");
    terminal.until_silent();
    terminal.enter("correct\u{3}");
    terminal.until("ended with 130");
    terminal.until("isig icanon ");
    terminal.until(" echo ");
    terminal.until("Password: ");
    terminal.until_silent();
    terminal.enter("horse\n");
    terminal.until("Logged in to");
    terminal.end();
    assert_eq!(plane.seen().len(), 1);
    assert!(plane.seen()[0].body.contains(r#""password":"horse""#));
}

#[test]
fn ctrl_c_while_names_are_typed_ends_the_command() {
    let (home, plane) = (Home::new(), plane());
    let words = format!("peer add la --from-file - --plane {}", plane.url);
    let mut terminal = Terminal::wgctl(&home, &words, &[]);
    terminal.until_begun();
    terminal.enter("alice\nbob\n");
    terminal.enter("\u{3}");
    let (status, written) = terminal.end();
    assert_eq!(status.signal(), Some(Signal::SIGINT as i32), "{status}: {written}");
    assert!(plane.seen().is_empty());
}
