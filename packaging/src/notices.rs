//! The licence notices of linked crates, which the licences require us to pass on.
//!
//! Owns the search for the notices in the crates. A text that several crates share is included only once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use crate::crates::Crate;
use crate::failure::Failure;

/// The prefixes of the names of notice files, in upper case.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// Returns all notices, each under the names of the crates, or of the files in our own source, that it covers.
pub(crate) fn of(linked: &[Crate], taken_over: &[(&str, &str)]) -> Result<String, Failure> {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (files, licence) in taken_over {
        owners.insert(licence.trim_end().to_owned(), vec![(*files).to_owned()]);
    }
    let mut without = Vec::new();
    for one in linked {
        let license = one.license.as_deref();
        let license = license.ok_or_else(|| Failure::NoLicence(one.name.clone()))?;
        let told = format!("{} {} ({license})", one.name, one.version);
        let texts = texts(one)?;
        if texts.is_empty() {
            without.push(told.clone());
        }
        for text in texts {
            owners.entry(text).or_default().push(told.clone());
        }
    }
    let mut all = "The programs in this package are linked with these crates, all unmodified. Their source\n\
                   is available on https://crates.io.\n"
        .to_owned();
    let rule = "-".repeat(80);
    let mut told: Vec<(Vec<String>, String)> = owners.into_iter().map(|(text, names)| (names, text)).collect();
    told.sort();
    for (names, text) in told {
        let _ = write!(all, "\n{rule}\n{}\n\n{text}\n", names.join("\n"));
    }
    if !without.is_empty() {
        let _ = write!(
            all,
            "\n{rule}\nThese crates include no licence text; the text is at https://spdx.org/licenses:\n{}\n",
            without.join("\n")
        );
    }
    Ok(all)
}

fn texts(one: &Crate) -> Result<Vec<String>, Failure> {
    let Some(folder) = one.manifest_path.parent() else {
        return Ok(Vec::new());
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Failure::at(folder))? {
        let path = entry.map_err(Failure::at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if NAMES.iter().any(|begin| name.starts_with(begin)) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let bytes = fs::read(&path).map_err(Failure::at(&path))?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        texts.push(lines.join("\n").trim_matches('\n').to_owned());
    }
    Ok(texts)
}
