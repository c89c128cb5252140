//! The programs that a process executes, as the kernel reports them through strace(1).
//!
//! Owns starting a program under strace and reading strace's output. It must not judge the result.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wait::until_blocking;

/// A program to be traced. To start it, run the file [`Trace::program`].
pub struct Trace {
    program: PathBuf,
    output: PathBuf,
}

impl Trace {
    /// Prepares to trace `program` once. The files are named after `name` and placed in `folder`.
    #[must_use]
    pub fn of(program: &Path, name: &str, folder: &Path) -> Self {
        let trace = Self {
            program: folder.join(name),
            output: folder.join(format!("{name}.strace")),
        };
        // With -D, strace runs as a grandchild, so that the started process is the traced program itself and
        // keeps its id and signals.
        let script = format!(
            "#!/bin/sh\nexec strace -D -f -e trace=execve,execveat -o '{}' '{}' \"$@\"\n",
            trace.output.display(),
            program.display()
        );
        std::fs::write(&trace.program, script).expect("a script");
        std::fs::set_permissions(&trace.program, PermissionsExt::from_mode(0o700)).expect("a program");
        trace
    }

    /// Returns the file to run instead of the program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Waits until the process with this id has ended. Returns all calls to execve(2) and execveat(2) by that process,
    /// its threads and its children.
    #[must_use]
    pub fn executed(&self, id: u32) -> Vec<String> {
        let ended = |text: &String| {
            let its_own =
                |line: &str| line.split_whitespace().next() == Some(&id.to_string()) && line.contains(" +++ ");
            text.lines().any(its_own)
        };
        let read = || std::fs::read_to_string(&self.output).unwrap_or_default();
        let text = until_blocking("strace reports the end of the process", read, ended);
        text.lines()
            .filter(|line| line.contains("exec"))
            .map(str::to_owned)
            .collect()
    }
}

/// Returns true if strace works here. Some sandboxes forbid it. Panics if strace is not installed.
#[must_use]
pub fn is_allowed() -> bool {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let tried = tried.expect("strace: run tests/tools, which installs it");
    let words = String::from_utf8_lossy(&tried.stderr);
    assert!(
        tried.status.success() || words.contains("PTRACE") || words.contains("ptrace"),
        "{words}"
    );
    tried.status.success()
}
