//! Completion in shells, of names that only the plane knows too.
//!
//! Owns the scripts of `wgctl completions SHELL` and the answers to them: they call `wgctl` with
//! `_WGCTL_COMPLETE` set to the shell's name and the words so far. The plane is asked within a second;
//! whatever goes wrong, nothing is printed and nobody is asked anything.

mod bash;
mod candidates;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use clap_complete::env::Shells;

use self::candidates::with_names;

/// The environment variable that asks for an answer.
const VARIABLE: &str = "_WGCTL_COMPLETE";

/// The script that a shell reads to complete `wgctl`.
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
        // Loaded by name from $fpath, the file is run at the first completion, and has to give it too.
        script.extend_from_slice(b"[[ ${funcstack[1]} == _wgctl ]] && _clap_dynamic_completer_wgctl \"$@\"\n");
    }
    Ok(script)
}

/// Answers a shell where one asks.
pub(crate) fn answer(cli: fn() -> Command) -> Option<ExitCode> {
    let shell = std::env::var(VARIABLE).ok().filter(|shell| !shell.is_empty())?;
    let asked = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let mut answer = Vec::new();
    let told = match shell.as_str() {
        "bash" => bash::answer(cli, asked, &mut answer),
        shell => of_shell(cli, shell, asked, &mut answer),
    };
    // A shell that asks for something unknown, or has gone, gets no answer.
    let printed = told.and_then(|()| io::stdout().lock().write_all(&answer));
    Some(ExitCode::from(u8::from(printed.is_err())))
}

fn of_shell(cli: fn() -> Command, shell: &str, words: Vec<OsString>, answer: &mut Vec<u8>) -> io::Result<()> {
    let shells = Shells::builtins();
    let completer = shells
        .completer(shell)
        .ok_or_else(|| io::Error::other("no such shell"))?;
    // The others write what they are given into the line as it is.
    let quotes = matches!(shell, "zsh" | "fish");
    let mut command = with_names(cli, &words, quotes);
    completer.write_complete(&mut command, words, std::env::current_dir().ok().as_deref(), answer)
}

/// The words of a line as a shell reads them.
#[cfg(test)]
pub(crate) fn words(line: &str) -> Vec<String> {
    bash::Line::read(line).words
}
