//! What is printed on stdout: the plane's JSON, or text and tables for people.
//!
//! Owns the writing (one locked write, a reader that went away is no error), the look of tables
//! and the escaping of text that came from elsewhere. Colours only on a terminal, and never with
//! `NO_COLOR` (no-color.org). It must not talk to a plane.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table as Comfy, presets};
use serde::Serialize;
use wgctl::Timestamp;

use crate::failure::Failure;

/// Where and how answers are printed.
pub(crate) struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let colour =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, colour }
    }

    /// Whether JSON was asked for.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// Whether to use colours.
    pub(crate) const fn colour(&self) -> bool {
        self.colour
    }

    /// Prints the answer as JSON where asked for, else as `human` words it.
    pub(crate) fn answer<T: Serialize>(&self, value: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        if !self.json {
            return self.text(&human());
        }
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::Local(format!("cannot write the answer as JSON: {error}")))?;
        text.push('\n');
        self.text(&text)
    }

    /// Prints for people; nothing where JSON was asked for and the API answers with no body.
    pub(crate) fn done(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.text(text) }
    }

    /// Prints a table.
    pub(crate) fn table(&self, table: Table) -> String {
        table.render(self.colour)
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
}

/// How a table's row looks on a terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// All is well.
    Good,
    /// Needs attention.
    Bad,
    /// Switched off.
    Quiet,
}

impl Tone {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Quiet => Some("2"),
        }
    }
}

/// A table without borders, columns two blanks apart.
pub(crate) struct Table {
    table: Comfy,
    header: bool,
    tones: Vec<Tone>,
}

impl Table {
    /// A table with these headings; a heading that begins with `>` makes its column right-aligned.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let mut table = Self::without_header();
        table.header = true;
        table
            .table
            .set_header(headings.iter().map(|heading| heading.trim_start_matches('>')));
        for (index, heading) in headings.iter().enumerate() {
            if let (true, Some(column)) = (heading.starts_with('>'), table.table.column_mut(index)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// A list of `name  value` lines.
    pub(crate) fn without_header() -> Self {
        let mut table = Comfy::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        Self {
            table,
            header: false,
            tones: Vec::new(),
        }
    }

    pub(crate) fn row<S: AsRef<str>>(&mut self, tone: Tone, cells: impl IntoIterator<Item = S>) {
        self.table.add_row(cells.into_iter().map(|cell| plain(cell.as_ref())));
        self.tones.push(tone);
    }

    /// One line of a list.
    pub(crate) fn field(&mut self, name: &str, value: impl AsRef<str>) {
        self.row(Tone::Plain, [name, value.as_ref()]);
    }

    fn render(mut self, colour: bool) -> String {
        for column in self.table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let header = self.header.then_some("1").into_iter().map(Some);
        let tones = header.chain(self.tones.iter().map(|tone| tone.code()));
        let mut text = String::new();
        for (line, tone) in self.table.lines().zip(tones) {
            match tone.filter(|_| colour) {
                Some(code) => text.push_str(&format!("\u{1b}[{code}m{}\u{1b}[0m\n", line.trim_end())),
                None => text.push_str(&format!("{}\n", line.trim_end())),
            }
        }
        text
    }
}

/// Text from elsewhere on one line, without anything a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        if obeyed(c) {
            plain.extend(c.escape_unicode())
        } else {
            plain.push(c)
        }
        plain
    })
}

/// `a, b`, or a dash for none.
pub(crate) fn join<T: ToString>(values: &[T]) -> String {
    if values.is_empty() {
        return "-".to_owned();
    }
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// The value, or a dash for none.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A number of bytes in binary units, as wg(8) writes them.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut scaled = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    format!("{scaled:.2} {unit}")
}

/// How long ago, in its two largest units.
pub(crate) fn ago(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(
        || "never".to_owned(),
        |then| format!("{} ago", duration(now.since(then))),
    )
}

/// A duration in its two largest units.
pub(crate) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_have_no_trailing_blanks() {
        let mut table = Table::new(&["NAME", ">RX"]);
        table.row(Tone::Bad, ["alice", "1 B"]);
        table.row(Tone::Plain, ["b", "10 KiB"]);
        assert_eq!(table.render(false), "NAME       RX\nalice     1 B\nb      10 KiB\n");
    }

    #[test]
    fn colours_stay_outside_the_columns() {
        let mut table = Table::new(&["NAME"]);
        table.row(Tone::Bad, ["alice"]);
        assert_eq!(table.render(true), "\u{1b}[1mNAME\u{1b}[0m\n\u{1b}[31malice\u{1b}[0m\n");
    }

    #[test]
    fn nothing_from_elsewhere_reaches_the_terminal_as_a_command() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}");
        assert_eq!(plain("Zoë 日本"), "Zoë 日本");
    }

    #[test]
    fn quantities_are_written_for_people() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1024), bytes(u64::MAX)],
            ["0 B", "1023 B", "1.00 KiB", "16.00 EiB"]
        );
        let at = Timestamp::from_unix;
        assert_eq!(
            [ago(None, at(0)), ago(Some(at(0)), at(59)), ago(Some(at(0)), at(90_000))],
            ["never", "59 s ago", "1 d 1 h ago"]
        );
    }
}
