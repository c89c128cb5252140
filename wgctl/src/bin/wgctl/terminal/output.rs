//! The output on stdout: the plane's JSON, or text and tables for people.
//!
//! Owns the writing (one locked write, a reader that went away is no error) and what is printed where.
//! Colours only on a terminal or with
//! `CLICOLOR_FORCE`, and never with `NO_COLOR` (no-color.org, bixense.com/clicolors). It must not talk
//! to a plane.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use serde::Serialize;
use wgctl::{Clock, Timestamp};

use crate::failure::Failure;
use crate::terminal::table::{Surface, Table};
use crate::terminal::text::plain;

/// The options of the output.
#[derive(clap::Args, Clone, Copy, Default)]
pub(crate) struct Style {
    /// Print the answer as JSON
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Print no confirmations and no progress; answers and failures are still printed
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    /// Print tables without headings
    #[arg(long, global = true, help_heading = "Output")]
    no_header: bool,
}

/// Where and how answers are printed.
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

    /// True if JSON was asked for.
    pub(crate) const fn json(&self) -> bool {
        self.style.json
    }

    /// True if colours are used.
    pub(crate) const fn colour(&self) -> bool {
        self.colour
    }

    /// True if stdout is a terminal that can be drawn on.
    pub(crate) const fn terminal(&self) -> bool {
        self.terminal
    }

    /// True if progress is shown.
    pub(crate) const fn progress(&self) -> bool {
        self.progress
    }

    /// Prints the answer as JSON where asked for, else as `human` words it.
    pub(crate) fn answer<T: Serialize>(&self, value: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        if !self.json() {
            return self.text(&human());
        }
        let mut text = serde_json::to_string_pretty(value).map_err(|error| no_json(&error))?;
        text.push('\n');
        self.text(&text)
    }

    /// Prints the answer as JSON on one line.
    pub(crate) fn line_of_json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let mut text = serde_json::to_string(value).map_err(|error| no_json(&error))?;
        text.push('\n');
        self.text(&text)
    }

    /// Prints what a change led to, like [`answer`](Self::answer); nothing where quiet was asked for.
    pub(crate) fn changed<T: Serialize>(&self, value: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.style.quiet && !self.json() {
            return Ok(());
        }
        self.answer(value, human)
    }

    /// Confirms something that the API answers with no body.
    pub(crate) fn done(&self, text: &str) -> Result<(), Failure> {
        self.changed(&serde_json::json!({ "message": text.trim_end() }), || text.to_owned())
    }

    /// The current time, which ages and distances are counted from.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Draws a table.
    pub(crate) fn table(&self, table: Table) -> String {
        table.render(self.surface(), None)
    }

    /// The surface that tables are drawn on.
    pub(crate) fn surface(&self) -> Surface {
        Surface {
            colour: self.colour,
            header: !self.style.no_header,
            width: self.size().map(|(_, columns)| columns),
        }
    }

    /// Rows and columns of the terminal.
    pub(crate) fn size(&self) -> Option<(usize, usize)> {
        let size = Some(console::Term::stdout()).filter(|_| self.terminal)?.size_checked();
        size.map(|(rows, columns)| (rows.into(), columns.into()))
            .filter(|&(rows, columns)| rows > 0 && columns > 0)
    }

    /// Prints text as it is.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are.
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
            // Nothing is left to tell when stderr is gone too.
            let _ = writeln!(std::io::stderr().lock(), "{}", plain(text));
        }
    }

    /// As wg(8) does: a secret redirected into a file that everybody may read is worth a word.
    pub(crate) fn warn_of_open_file(&self) {
        let Ok(stdout) = std::io::stdout().as_fd().try_clone_to_owned() else {
            return;
        };
        let open = std::fs::File::from(stdout)
            .metadata()
            .is_ok_and(|file| file.is_file() && file.mode() & 0o007 != 0);
        if open {
            self.note("wgctl: warning: others may read this file; set `umask 077` first");
        }
    }
}

fn no_json(error: &serde_json::Error) -> Failure {
    Failure::Local(format!("cannot write the answer as JSON: {error}"))
}
