//! The changelog in Debian's format (deb-changelog(5)).
//!
//! Owns the conversion from CHANGELOG.md. The unreleased entries become the entries of this version.

use std::fmt::Write as _;

use jiff::Timestamp;

const MAINTAINER: &str = "Sentrazone maintainers <maintainers@sentrazone.example>";
const WIDTH: usize = 79;

/// Returns the changelog of `package`. `date` is the commit date of this version.
pub(crate) fn of(package: &str, version: &str, date: Timestamp, markdown: &str) -> String {
    let mut text = String::new();
    let mut open = None;
    for block in blocks(markdown) {
        if let Some(heading) = block.strip_prefix("## ") {
            close(&mut text, open.take());
            let (version, at) = release(heading, version, date);
            let _ = writeln!(text, "{package} ({version}) unstable; urgency=medium\n");
            open = Some(at);
        } else if open.is_some() {
            if let Some(kind) = block.strip_prefix("### ") {
                let _ = writeln!(text, "  [ {kind} ]");
            } else if let Some(item) = block.strip_prefix("- ") {
                fill(&mut text, item);
            }
        }
    }
    close(&mut text, open);
    text
}

/// Returns the headings and items, each joined into one line.
fn blocks(markdown: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in markdown.lines() {
        match blocks.last_mut() {
            Some(last) if goes_on && line.starts_with("  ") => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ if line.starts_with("## ") || line.starts_with("### ") || line.starts_with("- ") => {
                blocks.push(line.trim_end().to_owned());
            }
            _ => {}
        }
        goes_on = line.starts_with("- ") || goes_on && line.starts_with("  ");
    }
    blocks
}

/// Parses a heading, `[Unreleased]` or `[1.2.3] - 2027-01-31`, into version and date.
fn release(heading: &str, version: &str, date: Timestamp) -> (String, Timestamp) {
    let name = heading.split(']').next().unwrap_or_default().trim_start_matches('[');
    if name == "Unreleased" {
        return (version.to_owned(), date);
    }
    let day = heading.rsplit(" - ").next().unwrap_or_default();
    let at = format!("{day}T00:00:00Z").parse().unwrap_or(date);
    (name.to_owned(), at)
}

/// Appends an item, wrapped into short lines.
fn fill(text: &mut String, item: &str) {
    let mut line = "  *".to_owned();
    for word in item.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = "   ".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

fn close(text: &mut String, at: Option<Timestamp>) {
    if let Some(at) = at {
        let at = at.strftime("%a, %d %b %Y %H:%M:%S +0000");
        let _ = writeln!(text, "\n -- {MAINTAINER}  {at}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKDOWN: &str = "# Changelog

All of it.

## [Unreleased]

### Added
- A short thing.
- A long thing that goes on and on, and on and on, and on and on, until it does
  not fit into one line any more.

## [0.1.0] - 2026-12-24

### Fixed
- Something.
";

    #[test]
    fn the_changelog_is_converted_to_debians_format() {
        let date = Timestamp::from_second(1_800_000_000).unwrap();
        let expected = "\
sentrazone-plane (0.2.0) unstable; urgency=medium

  [ Added ]
  * A short thing.
  * A long thing that goes on and on, and on and on, and on and on, until it
    does not fit into one line any more.

 -- Sentrazone maintainers <maintainers@sentrazone.example>  Fri, 15 Jan 2027 08:00:00 +0000

sentrazone-plane (0.1.0) unstable; urgency=medium

  [ Fixed ]
  * Something.

 -- Sentrazone maintainers <maintainers@sentrazone.example>  Thu, 24 Dec 2026 00:00:00 +0000

";
        assert_eq!(of("sentrazone-plane", "0.2.0", date, MARKDOWN), expected);
    }
}
