//! Prompts on the terminal, secrets on stdin, and the handling of Ctrl-C.
//!
//! Owns the input of passwords: from the terminal without echo, or from stdin if requested. It must not take
//! a password from an argument or the environment.

use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Write as _};

use tokio::signal::unix::{Signal, SignalKind, signal};
use wgctl::program::terminal::ask_hidden;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Starts catching Ctrl-C.
pub(crate) fn interrupt() -> Result<Signal, Failure> {
    signal(SignalKind::interrupt()).map_err(|error| Failure::Local(format!("cannot wait for Ctrl-C: {error}")))
}

/// Reads the first line of stdin, without its line break.
pub(crate) fn line_of_stdin(what: &str) -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::with_capacity(4096));
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::Local(format!("cannot read {what} from stdin: {error}")))?;
    let length = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(length);
    if line.is_empty() {
        return Err(Failure::Usage(format!("there is no {what} on stdin")));
    }
    Ok(line)
}

/// Reads an existing password.
pub(crate) fn password(question: &str, from_stdin: bool) -> Result<Zeroizing<String>, Failure> {
    if from_stdin {
        return line_of_stdin("password");
    }
    ask_hidden(question).map_err(|error| match error.kind() {
        // If the signal is ignored, the program is still running here.
        ErrorKind::Interrupted => Failure::Local("stopped by Ctrl-C: nothing was done".to_owned()),
        _ => Failure::Usage(format!(
            "no terminal to ask for the password on ({error}): use --password-stdin"
        )),
    })
}

/// Reads a new password twice, so that a typing error locks nobody out.
pub(crate) fn new_password(from_stdin: bool) -> Result<Zeroizing<String>, Failure> {
    let first = password("New password (at least 12 characters): ", from_stdin)?;
    if !from_stdin && *password("Repeat the new password: ", false)? != *first {
        return Err(Failure::Usage(
            "the two passwords differ: nothing was changed".to_owned(),
        ));
    }
    Ok(first)
}

/// Prompts for a line that is not secret.
pub(crate) fn line(question: &str, instead: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("no terminal to ask on: use {instead}")));
    }
    let mut answer = String::new();
    let mut stderr = std::io::stderr().lock();
    let asked = write!(stderr, "{question}").and_then(|()| stderr.flush());
    asked
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::Local(format!("cannot ask on the terminal: {error}")))?;
    Ok(answer.trim().to_owned())
}

/// Asks for confirmation of something that cannot be undone. Without a terminal, only `--yes` confirms it.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "no terminal to ask on: add --yes to agree to this: {question}"
        )));
    }
    match line(&format!("{question} [y/N] "), "--yes")?.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Local("nothing was changed".to_owned())),
    }
}
