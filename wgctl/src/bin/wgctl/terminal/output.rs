//! The output on stdout: the plane's JSON, or human-readable text and tables.
//!
//! Owns the writing (each output is one locked write, and a closed pipe is not an error) and the choice of the output
//! format. Colours are used only on a terminal or with `CLICOLOR_FORCE`, and never with `NO_COLOR`
//! (no-color.org, bixense.com/clicolors). It must not talk to a plane.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use serde::Serialize;
use wgctl::{Clock, Timestamp};

use crate::failure::Failure;
use crate::terminal::table::{Surface, Table};
use crate::terminal::text::plain;

/// The output options.
#[derive(clap::Args, Clone, Copy, Default)]
pub(crate) struct Style {
    /// Print the result as JSON
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Suppress confirmations and progress; results and failures are still printed
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    /// Print tables without headings
    #[arg(long, global = true, help_heading = "Output")]
    no_header: bool,
}

/// The destination and the format of a command's results.
pub(crate) struct Output {
    style: Style,
    colour: bool,
    terminal: bool,
    progress: bool,
    clock: Clock,
}

impl Output {
    pub(crate) fn new(style: Style, clock: Clock) -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let able = set("TERM").is_some_and(|kind| kind != "dumb");
        let terminal = able && std::io::stdout().is_terminal();
        let wanted = if set("NO_COLOR").is_some() {
            Some(false)
        } else if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
            Some(true)
        } else {
            set("CLICOLOR").filter(|value| value == "0").map(|_| false)
        };
        Self {
            style,
            colour: wanted.unwrap_or(terminal),
            terminal,
            progress: able && std::io::stderr().is_terminal() && !style.json && !style.quiet,
            clock,
        }
    }

    /// Returns true if JSON was requested.
    pub(crate) const fn json(&self) -> bool {
        self.style.json
    }

    /// Returns true if colours are used.
    pub(crate) const fn colour(&self) -> bool {
        self.colour
    }

    /// Returns true if stdout is a terminal that can be drawn on.
    pub(crate) const fn terminal(&self) -> bool {
        self.terminal
    }

    /// Returns true if progress is shown.
    pub(crate) const fn progress(&self) -> bool {
        self.progress
    }

    /// Prints a result: as JSON if requested, or else as the text that `human` returns.
    pub(crate) fn answer<T: Serialize>(&self, value: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        if !self.json() {
            return self.text(&human());
        }
        let mut text = serde_json::to_string_pretty(value).map_err(|error| no_json(&error))?;
        text.push('\n');
        self.text(&text)
    }

    /// Prints a result as one line of JSON.
    pub(crate) fn line_of_json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let mut text = serde_json::to_string(value).map_err(|error| no_json(&error))?;
        text.push('\n');
        self.text(&text)
    }

    /// Prints the result of a change, like [`answer`](Self::answer). With `--quiet`, only JSON is printed.
    pub(crate) fn changed<T: Serialize>(&self, value: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.style.quiet && !self.json() {
            return Ok(());
        }
        self.answer(value, human)
    }

    /// Confirms a change for which the API returns no body.
    pub(crate) fn done(&self, text: &str) -> Result<(), Failure> {
        self.changed(&serde_json::json!({ "message": text.trim_end() }), || text.to_owned())
    }

    /// Returns the current time, to which ages and relative times refer.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Renders a table.
    pub(crate) fn table(&self, table: Table) -> String {
        table.render(self.surface(), None)
    }

    /// Returns the surface on which tables are drawn.
    pub(crate) fn surface(&self) -> Surface {
        Surface {
            colour: self.colour,
            header: !self.style.no_header,
            width: self.size().map(|(_, columns)| columns),
        }
    }

    /// Returns the number of rows and columns of the terminal.
    pub(crate) fn size(&self) -> Option<(usize, usize)> {
        let size = Some(console::Term::stdout()).filter(|_| self.terminal)?.size_checked();
        size.map(|(rows, columns)| (rows.into(), columns.into()))
            .filter(|&(rows, columns)| rows > 0 && columns > 0)
    }

    /// Prints text unchanged.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes unchanged.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(|error| match error.kind() {
                ErrorKind::BrokenPipe => Failure::ReaderGone,
                _ => Failure::Local(format!("cannot write to stdout: {error}")),
            })
    }

    /// Prints a note on stderr.
    pub(crate) fn note(&self, text: &str) {
        if !self.json() {
            // If stderr is closed too, the note is lost.
            let _ = writeln!(std::io::stderr().lock(), "{}", plain(text));
        }
    }

    /// Warns, as wg(8) does, if a secret is redirected into a world-readable file.
    pub(crate) fn warn_if_world_readable(&self) {
        let Ok(stdout) = std::io::stdout().as_fd().try_clone_to_owned() else {
            return;
        };
        let open = std::fs::File::from(stdout)
            .metadata()
            .is_ok_and(|file| file.is_file() && file.mode() & 0o007 != 0);
        if open {
            self.note("wgctl: warning: other users can read this file; set `umask 077` first");
        }
    }
}

fn no_json(error: &serde_json::Error) -> Failure {
    Failure::Local(format!("cannot encode the result as JSON: {error}"))
}
