//! The crates that are linked into a program, according to cargo.
//!
//! Owns running cargo and reading its output. It must not judge the result.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::failure::Failure;

/// One crate.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) authors: Vec<String>,
    pub(crate) manifest_path: PathBuf,
    /// The origin of the crate; `None` for the project's own crates.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
}

/// All crates in Cargo.lock.
pub(crate) struct Crates {
    target: String,
    by_name: BTreeMap<(String, String), Crate>,
}

impl Crates {
    pub(crate) fn known(target: &str) -> Result<Self, Failure> {
        let text = cargo(&[
            "metadata",
            "--locked",
            "--format-version=1",
            "--filter-platform",
            target,
        ])?;
        let metadata: Metadata = serde_json::from_str(&text)?;
        let keyed = |found: Crate| ((found.name.clone(), found.version.clone()), found);
        Ok(Self {
            target: target.to_owned(),
            by_name: metadata.packages.into_iter().map(keyed).collect(),
        })
    }

    /// Returns the third-party crates that are linked into this package's program, sorted. Procedural macros are
    /// omitted, because they run in the compiler and are not linked.
    pub(crate) fn linked_into(&self, package: &str) -> Result<Vec<Crate>, Failure> {
        let edges = "--edges=normal,no-proc-macro";
        let tree = cargo(&[
            "tree",
            "--locked",
            "--package",
            package,
            edges,
            "--target",
            &self.target,
            "--prefix=none",
            "--format={p}",
        ])?;
        let mut linked = BTreeMap::new();
        for line in tree.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(version)) = (words.next(), words.next()) else {
                continue;
            };
            let key = (name.to_owned(), version.trim_start_matches('v').to_owned());
            let found = self
                .by_name
                .get(&key)
                .ok_or_else(|| Failure::Unknown(line.to_owned()))?;
            if found.source.is_some() {
                linked.insert(key, found.clone());
            }
        }
        Ok(linked.into_values().collect())
    }
}

fn cargo(arguments: &[&str]) -> Result<String, Failure> {
    let failed = |reason: String| Failure::Cargo {
        command: arguments.join(" "),
        reason,
    };
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(error.to_string()))
}
