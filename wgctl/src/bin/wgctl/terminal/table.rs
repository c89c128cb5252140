//! Human-readable tables: columns separated by two spaces, without borders.
//!
//! Owns the layout: widths in terminal columns (so that a Japanese name lines up too), truncation on narrow
//! terminals, and the look of a row's tone and of a changed cell. It must not print anything or choose
//! colours; `output` does so.

use console::{Alignment, measure_text_width, pad_str, truncate_str};

use crate::terminal::text::plain;

/// The look of a table row on a terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// Everything is as it should be.
    Good,
    /// Something needs attention.
    Bad,
    /// Something is switched off.
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

/// The surface that a table is printed on.
#[derive(Clone, Copy)]
pub(crate) struct Surface {
    pub(crate) colour: bool,
    /// True if the headings are printed.
    pub(crate) header: bool,
    /// The number of columns of the terminal; `None` if lines may have any length.
    pub(crate) width: Option<usize>,
}

/// The minimum width of a truncated cell, in columns.
const LEAST: usize = 8;
const GAP: &str = "  ";

#[derive(Default)]
struct Column {
    heading: String,
    right: bool,
    may_be_cut: bool,
    volatile: bool,
}

struct Row {
    tone: Tone,
    cells: Vec<String>,
}

/// Rows of cells, with or without headings.
#[derive(Default)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

impl Table {
    /// Creates a table with these headings. The marks before a heading describe its column: `>` means
    /// right-aligned, `…` that cells may be truncated, and `~` that cells change by themselves as time passes.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let column = |heading: &&str| {
            let text = heading.trim_start_matches(['>', '…', '~']);
            let marks = heading.strip_suffix(text).unwrap_or_default();
            Column {
                heading: text.to_owned(),
                right: marks.contains('>'),
                may_be_cut: marks.contains('…'),
                volatile: marks.contains('~'),
            }
        };
        Self {
            columns: headings.iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// Creates a list of `name  value` lines.
    pub(crate) fn without_header() -> Self {
        Self::default()
    }

    pub(crate) fn row<S: AsRef<str>>(&mut self, tone: Tone, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().map(|cell| plain(cell.as_ref())).collect();
        self.rows.push(Row { tone, cells });
    }

    /// Adds one line of a list.
    pub(crate) fn field(&mut self, name: &str, value: impl AsRef<str>) {
        self.row(Tone::Plain, [name, value.as_ref()]);
    }

    /// Renders the table as text, one line per row. Cells that differ from `before` are shown in reverse video.
    pub(crate) fn render(&self, surface: Surface, before: Option<&Self>) -> String {
        let widths = self.widths(surface);
        let headings: Vec<_> = self.columns.iter().map(|column| column.heading.clone()).collect();
        let mut text = String::new();
        if surface.header && !headings.is_empty() {
            let line = self.line(&headings, &widths, &[]);
            push_line(&mut text, &line, Some("1").filter(|_| surface.colour));
        }
        for row in &self.rows {
            let changed = before.map_or_else(Vec::new, |before| self.changes(row, before));
            let line = self.line(&row.cells, &widths, &changed);
            push_line(&mut text, &line, row.tone.code().filter(|_| surface.colour));
        }
        text
    }

    /// Returns the widths of the columns. Cells are truncated only if that makes the rows fit. Otherwise, lines
    /// wrap, so that nothing is lost.
    fn widths(&self, surface: Surface) -> Vec<usize> {
        let headings = self.columns.iter().map(|column| column.heading.as_str());
        let mut widths: Vec<usize> = if surface.header {
            headings.map(measure_text_width).collect()
        } else {
            Vec::new()
        };
        for row in &self.rows {
            widths.resize(widths.len().max(row.cells.len()), 0);
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = measure_text_width(cell).max(*width);
            }
        }
        let Some(room) = surface.width else { return widths };
        let mut cut = widths.clone();
        let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
        while total(&cut) > room {
            let cuttable = cut
                .iter_mut()
                .zip(&self.columns)
                .filter(|(_, column)| column.may_be_cut);
            match cuttable.map(|(width, _)| width).max() {
                Some(widest) if *widest > LEAST => *widest -= 1,
                _ => return widths,
            }
        }
        cut
    }

    fn line(&self, cells: &[String], widths: &[usize], changed: &[bool]) -> String {
        let mut line = String::new();
        for (index, (cell, &width)) in cells.iter().zip(widths).enumerate() {
            let cell = truncate_str(cell, width, "…");
            let right = self.columns.get(index).is_some_and(|column| column.right);
            let alignment = if right { Alignment::Right } else { Alignment::Left };
            let mut padded = pad_str(&cell, width, alignment, None).into_owned();
            if changed.get(index) == Some(&true) && !cell.is_empty() {
                padded = padded.replacen(&*cell, &format!("\u{1b}[7m{cell}\u{1b}[27m"), 1);
            }
            if index > 0 {
                line.push_str(GAP);
            }
            line.push_str(&padded);
        }
        line.truncate(line.trim_end().len());
        line
    }

    /// Returns true for each cell that differs from the row with the same first cell in `before`, and for all
    /// cells of a new row.
    fn changes(&self, row: &Row, before: &Self) -> Vec<bool> {
        let was = before.rows.iter().find(|was| was.cells.first() == row.cells.first());
        let volatile = |index: usize| self.columns.get(index).is_some_and(|column| column.volatile);
        let changed = |(index, cell): (usize, &String)| match was {
            Some(was) => !volatile(index) && was.cells.get(index) != Some(cell),
            None => true,
        };
        row.cells.iter().enumerate().map(changed).collect()
    }
}

fn push_line(text: &mut String, line: &str, code: Option<&str>) {
    match code {
        Some(code) => text.push_str(&format!("\u{1b}[{code}m{line}\u{1b}[0m\n")),
        None => text.push_str(&format!("{line}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Surface = Surface {
        colour: false,
        header: true,
        width: None,
    };

    #[test]
    fn columns_line_up_without_trailing_spaces() {
        let mut table = Table::new(&["NAME", ">RX"]);
        table.row(Tone::Bad, ["alice", "1 B"]);
        table.row(Tone::Plain, ["b", "10 KiB"]);
        assert_eq!(
            table.render(PLAIN, None),
            "NAME       RX\nalice     1 B\nb      10 KiB\n"
        );
        let bare = Surface { header: false, ..PLAIN };
        assert_eq!(table.render(bare, None), "alice     1 B\nb      10 KiB\n");
    }

    #[test]
    fn wide_and_combining_characters_line_up() {
        let mut table = Table::new(&["NAME", "ID"]);
        table.row(Tone::Plain, ["日本", "1"]);
        table.row(Tone::Plain, ["Zoe\u{308}", "2"]);
        assert_eq!(table.render(PLAIN, None), "NAME  ID\n日本  1\nZoe\u{308}   2\n");
    }

    #[test]
    fn colours_do_not_affect_the_column_widths() {
        let mut table = Table::new(&["NAME"]);
        table.row(Tone::Bad, ["alice"]);
        let surface = Surface { colour: true, ..PLAIN };
        assert_eq!(
            table.render(surface, None),
            "\u{1b}[1mNAME\u{1b}[0m\n\u{1b}[31malice\u{1b}[0m\n"
        );
    }

    #[test]
    fn a_narrow_terminal_truncates_names_but_never_ids() {
        let mut table = Table::new(&["…NAME", "STATE", "ID"]);
        table.row(Tone::Plain, ["alice-the-first-of-her-name", "enabled", "5f0c2f0e"]);
        let narrow = |width| {
            table.render(
                Surface {
                    width: Some(width),
                    ..PLAIN
                },
                None,
            )
        };
        assert_eq!(narrow(30), "NAME         STATE    ID\nalice-the-…  enabled  5f0c2f0e\n");
        assert_eq!(
            narrow(20),
            narrow(100),
            "if truncation does not help, nothing is truncated: the terminal wraps"
        );
    }

    #[test]
    fn changed_cells_are_shown_in_reverse_except_in_volatile_columns() {
        let headings = &["NAME", ">RX", "~SEEN"];
        let (mut before, mut after) = (Table::new(headings), Table::new(headings));
        before.row(Tone::Plain, ["alice", "1", "1 s ago"]);
        after.row(Tone::Plain, ["alice", "22", "2 s ago"]);
        after.row(Tone::Plain, ["bob", "1", "never"]);
        let reverse = |text: &str| format!("\u{1b}[7m{text}\u{1b}[27m");
        let expected = format!(
            "NAME   RX  SEEN\nalice  {}  2 s ago\n{}     {}  {}\n",
            reverse("22"),
            reverse("bob"),
            reverse("1"),
            reverse("never")
        );
        assert_eq!(after.render(PLAIN, Some(&before)), expected);
        assert_eq!(before.render(PLAIN, Some(&before)), before.render(PLAIN, None));
    }
}
