//! The file with the names of many devices: CSV (RFC 4180), with a name and optionally a public key per line.
//!
//! Owns the format, and the error messages, which name the invalid line. It must not contact the plane.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use wgctl::{PeerName, PublicKey};

use crate::failure::Failure;

/// One line of the file.
#[derive(Debug, PartialEq)]
pub(super) struct NameEntry {
    pub(super) name: PeerName,
    pub(super) key: Option<PublicKey>,
}

/// Reads the names from a file. All of them must be valid.
pub(super) fn read(path: &Path) -> Result<Vec<NameEntry>, Failure> {
    let shown = path.display().to_string();
    if path == Path::new("-") {
        return parse(std::io::stdin().lock(), "stdin");
    }
    let file = std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    parse(file, &shown)
}

/// Parses RFC 4180 with one record per line; a name that contains a comma is quoted. Empty lines and lines
/// that begin with `#` are skipped, and so is a first line that reads `name,public_key`. Nothing is returned unless the
/// whole file is valid.
fn parse(mut input: impl Read, file: &str) -> Result<Vec<NameEntry>, Failure> {
    let mut bytes = Vec::new();
    let failed = |error| Failure::Local(format!("{file}: {error}"));
    input.read_to_end(&mut bytes).map_err(failed)?;
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let mut wanted: Vec<NameEntry> = Vec::new();
    if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) || text.contains(&0) {
        return Err(Failure::Local(format!(
            "{file} is not UTF-8 text (it may be UTF-16): save it as CSV UTF-8; nothing was added"
        )));
    }
    let (mut seen, mut keys) = (BTreeMap::new(), BTreeMap::new());
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let wrong = |what: String| Failure::Local(format!("{file}:{number}: {what}; nothing was added"));
        let Some(one) = line_of(line, wanted.is_empty()).map_err(wrong)? else {
            continue;
        };
        if let Some(first) = seen.insert(one.name.clone(), number) {
            return Err(wrong(format!("{} is already in line {first}", one.name)));
        }
        if let Some(first) = one.key.and_then(|key| keys.insert(key, number)) {
            return Err(wrong(format!("the public key is already in line {first}")));
        }
        wanted.push(one);
    }
    if wanted.is_empty() {
        return Err(Failure::Local(format!("{file} contains no names")));
    }
    Ok(wanted)
}

/// Parses one line. Returns `None` for an empty line, a comment or the header.
fn line_of(line: &[u8], is_first: bool) -> Result<Option<NameEntry>, String> {
    let line =
        std::str::from_utf8(line).map_err(|_| "this is not UTF-8 text: save the file as CSV UTF-8".to_owned())?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.trim_start().starts_with('#') {
        return Err(
            "a comment begins with # at the beginning of its line; put a name like this in double quotes".to_owned(),
        );
    }
    // A line break or a tab within a line would become part of a name or be ignored.
    if line.contains(char::is_control) {
        return Err("there is a control character in it (tabs are not separators: write NAME,PUBLIC-KEY)".to_owned());
    }
    if !is_quoted_right(line) {
        return Err(
            "a double quote is out of place: quotes enclose a whole field (\"Roe, Jane\"), and within it two quotes \
             stand for one"
                .to_owned(),
        );
    }
    let fields = fields(line)?;
    let fields: Vec<&str> = fields.iter().collect();
    let (name, key) = match fields.as_slice() {
        ["name", "public_key"] if is_first => return Ok(None),
        [heading, ..] if is_first && !line.starts_with('"') && heading.eq_ignore_ascii_case("name") => {
            return Err(
                "this looks like a heading: remove the line, write it as name,public_key, or put the name in double \
                 quotes if it is one"
                    .to_owned(),
            );
        }
        [name] | [name, ""] => (*name, None),
        [name, key] => (*name, Some(key.parse().map_err(|error| format!("{error}"))?)),
        _ => return Err("write NAME or NAME,PUBLIC-KEY (put a name with a comma in double quotes)".to_owned()),
    };
    if holds_key(name) {
        return Err("there is a public key in the name: write NAME,PUBLIC-KEY, with a comma between them".to_owned());
    }
    if !line.starts_with('"') {
        looks_foreign(name, is_first)?;
    }
    let name = name.parse().map_err(|error| format!("{error}"))?;
    Ok(Some(NameEntry { name, key }))
}

/// Refuses an unquoted name that is more likely part of another format.
fn looks_foreign(name: &str, is_first: bool) -> Result<(), String> {
    let quoted = "put the name in double quotes if it is one";
    if is_first && name.to_ascii_lowercase().starts_with("sep=") {
        return Err(format!(
            "this looks like a separator line of a spreadsheet: remove the line, or {quoted}"
        ));
    }
    if name.eq_ignore_ascii_case("[interface]") || name.eq_ignore_ascii_case("[peer]") {
        return Err(format!(
            "this looks like a WireGuard configuration, not a list of names: {quoted}"
        ));
    }
    if name.contains(';') {
        return Err(format!(
            "a semicolon does not separate fields: write NAME,PUBLIC-KEY, or {quoted}"
        ));
    }
    Ok(())
}

fn fields(line: &str) -> Result<csv::StringRecord, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(line.as_bytes());
    let record = reader.records().next().unwrap_or_else(|| Ok(csv::StringRecord::new()));
    record.map_err(|error| format!("{error}"))
}

/// Returns true if a separator other than a comma precedes a key, or if the name is missing.
fn holds_key(name: &str) -> bool {
    let is_key = |word: &str| word.parse::<PublicKey>().is_ok();
    name.split([' ', ';', '|', ':']).any(is_key)
}

/// Returns true if all quotes are where RFC 4180 allows them. The line is a whole record, because no name
/// contains a line break.
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
    fn an_invalid_line_is_named_and_nothing_is_added() {
        for (text, expected) in [
            ("alice\nbob,short\n", "names:2: "),
            (
                "alice\nbob\nalice\n",
                "names:3: alice is already in line 1; nothing was added",
            ),
            ("a,b,c\n", "names:1: write NAME"),
            ("# nobody\n", "names contains no names"),
            ("x\u{202e}y\n", "names:1: a peer name is"),
            ("alice\n\"bob\ncarol\n", "names:2: a double quote"),
            ("alice\nbob\"\n", "names:2: a double quote"),
            ("\"Roe\" Jane\n", "names:1: a double quote"),
            ("a, \"b\"\n", "names:1: a double quote"),
            ("# staff\n\nalice\n\nbob,short\n", "names:5: "),
            ("alice\nbob,KEY,more\n", "names:2: write NAME"),
            ("alice\nbob,KEY,\n", "names:2: write NAME"),
            ("alice\n,KEY\n", "names:2: a peer name is"),
            ("alice\n  \n", "names:2: a peer name is"),
            ("alice\nbob;KEY\n", "names:2: there is a public key in the name"),
            ("alice\nbob KEY\n", "names:2: there is a public key in the name"),
            ("alice\nKEY\n", "names:2: there is a public key in the name"),
            ("alice\nbob\tKEY\n", "names:2: there is a control character"),
            ("alice\tsmith\n", "names:1: there is a control character"),
            ("alice\rbob\n", "names:1: there is a control character"),
            ("alice\nbob\u{1}\n", "names:2: there is a control character"),
            ("alice\nbob\u{0}\n", "names is not UTF-8 text"),
            ("name;public_key\nalice;\n", "names:1: a semicolon"),
            ("alice\nbob;bob@example.com\n", "names:2: a semicolon"),
            ("sep=,\nalice\n", "names:1: this looks like a separator"),
            (
                "[Interface]\nAddress = 10.0.0.2/32\n",
                "names:1: this looks like a WireGuard",
            ),
            ("alice,KEY\nbob,KEY\n", "names:2: the public key is already in line 1"),
            ("alice\n # staff\n", "names:2: a comment begins"),
            ("Name\nalice\n", "names:1: this looks like a heading"),
            ("name\nalice\n", "names:1: this looks like a heading"),
            ("Name,Public Key\nalice,KEY\n", "names:1: this looks like a heading"),
            ("alice\nname,public_key\n", "names:2: "),
        ] {
            let text = text.replace("KEY", "pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk=");
            let error = parsed(&text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
        let utf16 = parse(b"\xff\xfea\0\n\0".as_slice(), "names").unwrap_err().to_string();
        assert!(utf16.contains("save it as CSV UTF-8"), "{utf16}");
        let error = parse(b"alice\nbo\xffb\n".as_slice(), "names").unwrap_err().to_string();
        assert!(error.starts_with("names:2: this is not UTF-8"), "{error}");
    }

    #[test]
    fn a_quoted_name_may_look_like_anything() {
        let names = ["name", "# staff", "Smith; Jane"];
        let text: String = names.iter().map(|name| format!("\"{name}\"\n")).collect();
        assert_eq!(parsed(&text).unwrap(), names.map(|name| (name.to_owned(), false)));
    }
}
