//! Every test that the security document names must exist.

use std::collections::BTreeSet;
use std::path::Path;

fn sources(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, names);
        } else if path.extension().is_some_and(|end| end == "rs") {
            names.extend(tests(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Returns the names of the tests in a source file that are not ignored.
fn tests(text: &str) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_test = false;
        } else if let Some((before, name)) = line.split_once("fn ")
            && !before.contains("//")
        {
            let name = name.split(['(', '<']).next().unwrap_or_default();
            found.extend(is_test.then(|| name.to_owned()));
            is_test = false;
        }
    }
    found
}

#[test]
fn ignored_and_commented_out_tests_do_not_count() {
    let text = "#[test]\nfn one() {}\n#[test]\n#[ignore]\nfn two() {}\nfn three() {}\n\
                //#[test]\n//fn four() {}\n#[tokio::test(start_paused = true)]\nasync fn five() {}\n";
    assert_eq!(tests(text), ["one", "five"]);
}

#[test]
fn every_test_that_the_security_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut there = BTreeSet::new();
    for folder in ["wgctl", "plane", "agent", "tests"] {
        sources(&root.join(folder), &mut there);
    }
    let document = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    // Test names are sentences. No other text between backticks in the document is a sentence.
    let is_a_sentence = |word: &&str| {
        word.matches('_').count() >= 3
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let named: BTreeSet<String> = document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(is_a_sentence)
        .map(str::to_owned)
        .collect();
    assert!(named.len() > 20, "{named:?}");
    let missing: Vec<_> = named.difference(&there).collect();
    assert!(
        missing.is_empty(),
        "docs/security.md names tests that do not exist: {missing:?}"
    );
}
