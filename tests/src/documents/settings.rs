//! The configuration reference, generated from the packaged examples.
//!
//! Owns the form of `docs/configuration.md`. The packaging tests check that the examples name every
//! setting with its default. The document tests check that the page is up to date.

use std::fmt::Write as _;

/// A program's example configuration.
pub struct Example<'a> {
    /// The program's name, like `sentrazone-plane`.
    pub program: &'a str,
    /// The path at which the example is installed.
    pub path: &'a str,
    /// The prefix of the program's environment variables, like `SENTRAZONE_PLANE_`.
    pub prefix: &'a str,
    /// The text of the example: comments, and every setting with its default as a commented-out line.
    pub text: &'a str,
}

struct Setting {
    key: String,
    value: String,
    words: String,
}

/// Generates the configuration reference from these examples.
#[must_use]
pub fn configuration(examples: &[Example<'_>]) -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         All settings of the plane and the agent, with their defaults; for a setting without a default, an example is shown.\n\
         This page is generated from the packaged examples by `make docs`.\n\n\
         An unknown setting is an error, and the message names its line. Each setting can be overridden by an environment\n\
         variable. Secrets are kept in files, never in settings or variables.\n",
    );
    for example in examples {
        let Example {
            program,
            path,
            prefix,
            text,
        } = example;
        let _ = write!(page, "\n## {program}: `{path}`\n");
        for (table, settings) in tables(text) {
            if settings.is_empty() {
                continue;
            }
            if !table.is_empty() {
                let _ = write!(page, "\n### `[{table}]`\n");
            }
            page.push_str("\n| setting | default | variable | |\n| --- | --- | --- | --- |\n");
            for Setting { key, value, words } in settings {
                let dotted = if table.is_empty() {
                    key.clone()
                } else {
                    format!("{table}_{key}")
                };
                let variable = format!("{prefix}{}", dotted.to_uppercase());
                let words = words.replace('|', "\\|");
                let _ = writeln!(page, "| `{key}` | `{value}` | `{variable}` | {words} |");
            }
        }
    }
    page
}

/// Returns the tables with their settings, in the file's order. The first table has no name.
fn tables(text: &str) -> Vec<(String, Vec<Setting>)> {
    let mut tables = vec![(String::new(), Vec::new())];
    let mut words: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            tables.push((name.to_owned(), Vec::new()));
            words.clear();
        } else if let Some((key, value)) = setting(line) {
            let (_, settings) = tables.last_mut().expect("the first table always exists");
            settings.push(Setting {
                key: key.to_owned(),
                value: value.to_owned(),
                words: words.join(" "),
            });
            words.clear();
        } else if let Some(comment) = line.strip_prefix('#') {
            words.push(comment.trim());
        } else {
            words.clear();
        }
    }
    tables
}

/// Parses `key = value`, commented out or not, into the key and the value.
fn setting(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.strip_prefix('#').unwrap_or(line).split_once(" = ")?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_key.then_some((key, value))
}
