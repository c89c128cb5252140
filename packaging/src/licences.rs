//! The file `copyright` in machine-readable form (DEP-5, copyright-format 1.0).
//!
//! Owns the form of that file. `notices` collects the licence texts.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::crates::Crate;

/// The licences whose text Debian installs in /usr/share/common-licenses.
const COMMON: [(&str, &str); 3] = [
    ("Apache-2.0", "Apache-2.0"),
    ("LGPL-2.1-or-later", "LGPL-2.1"),
    ("MPL-2.0", "MPL-2.0"),
];

/// Returns the content of the file: the copyright holders and the licence of every part. `taken_over` lists the
/// third-party files in our own source, with their licence (MIT).
pub(crate) fn copyright(package: &str, linked: &[Crate], taken_over: &[(&str, &str)]) -> String {
    let mut text = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Sentrazone
Source: https://github.com/sentrazone/sentrazone
Comment: The program is linked with the Rust crates below, unmodified. Each is on
 https://crates.io with its source.

Files: *
Copyright: 2026 Sentrazone maintainers
License: Apache-2.0

Files: rust-standard-library/*
Copyright: The Rust Project Developers
License: MIT or Apache-2.0
"
    .to_owned();
    for (files, licence) in taken_over {
        let owners: Vec<&str> = licence.lines().take_while(|line| !line.is_empty()).collect();
        let _ = write!(
            text,
            "\nFiles: {files}\nCopyright: {}\nLicense: MIT\n",
            owners.join("\n ").replace("Copyright (c) ", "")
        );
    }
    let mut names: BTreeSet<String> = ["MIT", "Apache-2.0"].map(str::to_owned).into();
    for one in linked {
        let license = one.license.as_deref().unwrap_or_default().replace('/', " OR ");
        let authors = match one.authors.as_slice() {
            [] => format!("The authors of {}", one.name),
            authors => authors.join("\n "),
        };
        let _ = write!(
            text,
            "\nFiles: {}-{}/*\nCopyright: {authors}\nLicense: {}\n",
            one.name,
            one.version,
            expression(&license)
        );
        names.extend(atoms(&license));
    }
    for name in names {
        let _ = writeln!(text, "\nLicense: {}", in_debian(&name));
        if let Some((_, file)) = COMMON.iter().find(|(spdx, _)| *spdx == name) {
            let _ = writeln!(text, " The text is in /usr/share/common-licenses/{file}.");
        } else {
            let _ = writeln!(
                text,
                " The text, with the notices of each crate, is in\n /usr/share/doc/{package}/third-party-notices.gz."
            );
        }
    }
    text
}

/// Converts an SPDX expression to Debian's syntax.
fn expression(license: &str) -> String {
    let words = license.replace(['(', ')'], "");
    in_debian(&words).replace(" OR ", " or ").replace(" AND ", " and ")
}

fn in_debian(name: &str) -> String {
    name.replace(" WITH LLVM-exception", " with LLVM exception")
        .replace("-or-later", "+")
}

/// Returns the licences in an SPDX expression.
fn atoms(license: &str) -> Vec<String> {
    let words = license.replace(['(', ')'], "").replace(" AND ", " OR ");
    words.split(" OR ").map(|name| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn third_party_files_are_listed_with_their_copyright_holders() {
        let files = "plane/src/auth/common_passwords.txt";
        let licence = include_str!("../../plane/src/auth/common_passwords.LICENSE");
        let text = copyright("sentrazone-plane", &[], &[(files, licence)]);
        let owners = "Copyright: 2012-2016 Dan Wheeler and Dropbox, Inc.\n 2021 @zxcvbn-ts\nLicense: MIT\n";
        assert!(text.contains(&format!("Files: {files}\n{owners}")), "{text}");
    }

    #[test]
    fn an_spdx_expression_is_converted_to_debians_syntax() {
        let spdx = "(MIT OR Apache-2.0 WITH LLVM-exception) AND Unicode-3.0";
        assert_eq!(
            expression(spdx),
            "MIT or Apache-2.0 with LLVM exception and Unicode-3.0"
        );
        assert_eq!(atoms(spdx), ["MIT", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]);
    }
}
