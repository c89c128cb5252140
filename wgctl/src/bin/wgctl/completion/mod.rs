//! Shell completion, including names that only the plane knows.
//!
//! Owns the scripts that `wgctl completions SHELL` prints, and the responses to their requests. The scripts call
//! `wgctl` with `_WGCTL_COMPLETE` set to the shell's name, and with the words so far. The plane has one second to
//! respond. Completion must not print errors or prompt for anything.

mod bash;
mod candidates;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use clap_complete::env::Shells;

use self::candidates::with_names;

/// The environment variable that requests candidates.
const VARIABLE: &str = "_WGCTL_COMPLETE";

/// Returns the script that a shell loads to complete `wgctl`.
pub(crate) fn script(shell: Shell) -> io::Result<Vec<u8>> {
    let mut script = Vec::new();
    let name = shell.to_string();
    if shell == Shell::Bash {
        return Ok(bash::script(VARIABLE).into_bytes());
    }
    let shells = Shells::builtins();
    let completer = shells.completer(&name);
    let completer = completer.ok_or_else(|| io::Error::other(format!("there is no completion for {name}")))?;
    completer.write_registration(VARIABLE, "wgctl", "wgctl", "wgctl", &mut script)?;
    if shell == Shell::Zsh {
        // When zsh loads the file by name from $fpath, it runs the file at the first completion, so the file
        // must also call the completer.
        script.extend_from_slice(b"[[ ${funcstack[1]} == _wgctl ]] && _clap_dynamic_completer_wgctl \"$@\"\n");
    }
    Ok(script)
}

/// Responds to a shell, if one requests candidates.
pub(crate) fn answer(cli: fn() -> Command) -> Option<ExitCode> {
    let shell = std::env::var(VARIABLE).ok().filter(|shell| !shell.is_empty())?;
    let asked = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let mut answer = Vec::new();
    let told = match shell.as_str() {
        "bash" => bash::answer(cli, asked, &mut answer),
        shell => answer_shell(cli, shell, asked, &mut answer),
    };
    // A shell that requests something unknown, or that has already exited, gets no response.
    let printed = told.and_then(|()| io::stdout().lock().write_all(&answer));
    Some(ExitCode::from(u8::from(printed.is_err())))
}

fn answer_shell(cli: fn() -> Command, shell: &str, words: Vec<OsString>, answer: &mut Vec<u8>) -> io::Result<()> {
    let shells = Shells::builtins();
    let completer = shells
        .completer(shell)
        .ok_or_else(|| io::Error::other("no such shell"))?;
    // The other shells insert a candidate into the line without quoting it.
    let quotes = matches!(shell, "zsh" | "fish");
    let mut command = with_names(cli, &words, quotes);
    completer.write_complete(&mut command, words, std::env::current_dir().ok().as_deref(), answer)
}

/// Returns the words of a line as a shell parses them.
#[cfg(test)]
pub(crate) fn words(line: &str) -> Vec<String> {
    bash::Line::read(line).words
}
