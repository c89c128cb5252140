//! Generates the packages' files other than the programs, from the code and from cargo's metadata.
//!
//! Owns the output directory: one directory per package, with manual pages, completions, changelog,
//! copyright, the notices of linked crates, and the list of these crates (CycloneDX). The same commit always
//! produces the same bytes. It must not build or pack anything: `packaging/build` does that, and runs this program.

mod changelog;
mod crates;
mod failure;
mod licences;
mod notices;
mod pages;
mod sbom;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::crates::Crates;
use crate::failure::Failure;

/// The names of the packages.
const PACKAGES: [&str; 3] = ["sentrazone-plane", "sentrazone-agent", "wgctl"];
const CHANGELOG: &str = include_str!("../../CHANGELOG.md");
/// The third-party files in our own source: the package, the files, and their licence (MIT).
const TAKEN_OVER: [(&str, &str, &str); 1] = [(
    "sentrazone-plane",
    "plane/src/auth/common_passwords.txt",
    include_str!("../../plane/src/auth/common_passwords.LICENSE"),
)];

/// Generates the packages' files other than the programs.
#[derive(Parser)]
struct Arguments {
    /// The version of the packages.
    #[arg(long)]
    version: String,
    /// The time of the commit, in seconds since 1970 (<https://reproducible-builds.org/specs/source-date-epoch>).
    #[arg(long, env = "SOURCE_DATE_EPOCH")]
    date: i64,
    /// The target triple, as rustc writes it.
    #[arg(long)]
    target: String,
    /// The directory with the lists that cargo-cyclonedx has written, in one subdirectory per package.
    #[arg(long)]
    sboms: PathBuf,
    /// The output directory.
    folder: PathBuf,
}

fn main() -> ExitCode {
    match make(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error may be closed.
            let _ = writeln!(std::io::stderr(), "packaging: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn make(arguments: &Arguments) -> Result<(), Failure> {
    let date = jiff::Timestamp::from_second(arguments.date)?;
    let crates = Crates::known(&arguments.target)?;
    for package in PACKAGES {
        let folder = arguments.folder.join(package);
        fs::create_dir_all(folder.join("man")).map_err(Failure::at(&folder))?;
        let write = |name: &str, content: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, content).map_err(Failure::at(&path))
        };
        let linked = crates.linked_into(package)?;
        write(
            "changelog",
            changelog::of(package, &arguments.version, date, CHANGELOG).as_bytes(),
        )?;
        let taken_over: Vec<(&str, &str)> = TAKEN_OVER
            .iter()
            .filter(|(whose, ..)| *whose == package)
            .map(|(_, files, licence)| (*files, *licence))
            .collect();
        write(
            "copyright",
            licences::copyright(package, &linked, &taken_over).as_bytes(),
        )?;
        write("third-party-notices", notices::of(&linked, &taken_over)?.as_bytes())?;
        let name = format!("{package}.cdx.json");
        let listed = read(&arguments.sboms.join(package).join(&name))?;
        write(&name, sbom::of_what_is_linked(&listed, &linked)?.as_bytes())?;
    }
    pages::write(&arguments.folder, &date.strftime("%Y-%m-%d").to_string())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(Failure::at(path))
}
