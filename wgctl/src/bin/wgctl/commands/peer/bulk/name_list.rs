//! The file with the names of many devices: CSV (RFC 4180), a name and perhaps a public key a line.
//!
//! Owns the form and naming the line that is wrong. It must not ask the plane.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use wgctl::{PeerName, PublicKey};

use crate::failure::Failure;

/// One line of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) name: PeerName,
    pub(super) key: Option<PublicKey>,
}

/// The names of a file, all of them right.
pub(super) fn read(path: &Path) -> Result<Vec<Wanted>, Failure> {
    let shown = path.display().to_string();
    if path == Path::new("-") {
        return parse(std::io::stdin().lock(), "stdin");
    }
    let file = std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    parse(file, &shown)
}

/// RFC 4180: a name with a comma in it is quoted. Empty lines and lines that begin with `#` are skipped.
fn parse(mut input: impl Read, file: &str) -> Result<Vec<Wanted>, Failure> {
    let mut text = String::new();
    let failed = |error| Failure::Local(format!("{file}: {error}"));
    input.read_to_string(&mut text).map_err(failed)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // The reader would make something of it, over several lines.
    if let Some(at) = text
        .lines()
        .position(|line| !line.starts_with('#') && !is_quoted_right(line))
    {
        return Err(Failure::Local(format!(
            "{file}:{}: a double quote is not in its place: one opens a field and one ends it (\"Roe, Jane\"), and within \
             it two stand for one; nothing was added",
            at + 1
        )));
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut seen = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| Failure::Local(format!("{file}: {error}")))?;
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |what: &str| Failure::Local(format!("{file}:{line}: {what}; nothing was added"));
        let fields: Vec<&str> = record.iter().collect();
        let (name, key) = match fields.as_slice() {
            ["name", "public_key"] if wanted.is_empty() => continue,
            [name] | [name, ""] => (name, None),
            [name, key] => (name, Some(key.parse().map_err(|error| wrong(&format!("{error}")))?)),
            _ => {
                return Err(wrong(
                    "write NAME or NAME,PUBLIC-KEY (a name with a comma in double quotes)",
                ));
            }
        };
        let name: PeerName = name.parse().map_err(|error| wrong(&format!("{error}")))?;
        if let Some(first) = seen.insert(name.clone(), line) {
            return Err(wrong(&format!("{name} is in line {first} already")));
        }
        wanted.push(Wanted { name, key });
    }
    if wanted.is_empty() {
        return Err(Failure::Local(format!("{file} holds no name")));
    }
    Ok(wanted)
}

/// Whether quotes stand where RFC 4180 has them, in a line that is a whole record: no name has a line
/// break.
fn is_quoted_right(line: &str) -> bool {
    let mut rest = line;
    loop {
        let end = match rest.strip_prefix('"') {
            None => rest.find(',').unwrap_or(rest.len()),
            Some(quoted) => {
                let inside = quoted.replace("\"\"", "__");
                let Some(end) = inside.find('"') else { return false };
                let after = &quoted[end + 1..];
                let blank = after.len() - after.trim_start().len();
                rest = &after[blank..];
                0
            }
        };
        if rest[..end].contains('"') || !(rest[end..].is_empty() || rest[end..].starts_with(',')) {
            return false;
        }
        match rest[end..].strip_prefix(',') {
            Some(next) => rest = next,
            None => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(String, bool)>, String> {
        let wanted = parse(text.as_bytes(), "names").map_err(|failure| failure.to_string())?;
        Ok(wanted
            .into_iter()
            .map(|one| (one.name.to_string(), one.key.is_some()))
            .collect())
    }

    #[test]
    fn a_line_is_a_name_or_a_name_and_a_key() {
        let key = "pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk=";
        let text = format!(
            "\u{feff}\"name\",public_key\n# staff\nalice\n\n\"Roe, Jane\", {key}\r\nZoë's laptop,\n\"the \"\"old\"\" one\" ,\n"
        );
        let expected = [
            ("alice", false),
            ("Roe, Jane", true),
            ("Zoë's laptop", false),
            ("the \"old\" one", false),
        ];
        assert_eq!(
            parsed(&text).unwrap(),
            expected.map(|(name, key)| (name.to_owned(), key))
        );
    }

    #[test]
    fn a_wrong_line_is_named_and_nothing_is_added() {
        for (text, expected) in [
            ("alice\nbob,short\n", "names:2: "),
            (
                "alice\nbob\nalice\n",
                "names:3: alice is in line 1 already; nothing was added",
            ),
            ("a,b,c\n", "names:1: write NAME"),
            ("# nobody\n", "names holds no name"),
            ("x\u{202e}y\n", "names:1: a peer name is"),
            ("alice\n\"bob\ncarol\n", "names:2: a double quote"),
            ("alice\nbob\"\n", "names:2: a double quote"),
            ("\"Roe\" Jane\n", "names:1: a double quote"),
            ("a, \"b\"\n", "names:1: a double quote"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
