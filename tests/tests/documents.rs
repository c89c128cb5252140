//! References in the documents: every command, option, target, test and link that they name must exist.
//!
//! Owns as much Markdown parsing as that requires. It must not check the behaviour of a command: other tests do that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use sentrazone_tests::process::binary;
use sentrazone_tests::settings::{Example, configuration};

const PROGRAMS: [&str; 3] = ["wgctl", "sentrazone-plane", "sentrazone-agent"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns every Markdown file in the project, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let tracked = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md"])
        .current_dir(root())
        .output()
        .unwrap();
    let names = String::from_utf8(tracked.stdout).unwrap();
    let read = |name: &str| {
        let path = root().join(name);
        std::fs::read_to_string(&path).ok().map(|text| (path, text))
    };
    let found: Vec<_> = names.lines().filter_map(read).collect();
    assert!(found.len() >= 8, "only {} documents were found", found.len());
    found
}

/// Returns the lines of `sh` blocks, with continuation lines joined, and the text between backticks in prose.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    let mut joined = String::new();
    for line in text.lines() {
        if let Some(rest) = line.trim_start().strip_prefix("```") {
            block = match block {
                Some(_) => None,
                None => Some(rest.split_whitespace().next().unwrap_or_default().to_owned()),
            };
            continue;
        }
        match block.as_deref() {
            Some("sh" | "console") => {
                joined.push_str(line.trim_end_matches('\\'));
                if !line.ends_with('\\') {
                    found.push(std::mem::take(&mut joined));
                }
            }
            Some(_) => {}
            // Text that is not ASCII, such as two names with an arrow between them, is not a command.
            None => found.extend(
                line.split('`')
                    .skip(1)
                    .step_by(2)
                    .filter(|code| code.is_ascii())
                    .map(str::to_owned),
            ),
        }
    }
    found
}

/// Splits a line into simple commands and removes comments, pipes, `sudo` and variables.
fn simple(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap();
    let line = line.trim_start().trim_start_matches("$ ");
    let parts = line.split(['|', ';', '&', '(', ')', '<', '>']);
    let words = parts.map(|part| {
        let words = part
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']).to_owned());
        let skipped = |word: &String| word == "sudo" || word == "env" || (word.contains('=') && !word.starts_with('-'));
        words.skip_while(skipped).collect::<Vec<_>>()
    });
    words.filter(|words| !words.is_empty()).collect()
}

/// The output of `program path… --help` for each path, or `None` if there is no such command.
struct Help(BTreeMap<Vec<String>, Option<String>>);

impl Help {
    fn of(&mut self, path: &[String]) -> Option<&str> {
        let asked = self.0.entry(path.to_vec()).or_insert_with(|| {
            let (program, rest) = path.split_first().unwrap();
            let answer = Command::new(binary(program)).args(rest).arg("--help").output().unwrap();
            let text = String::from_utf8(answer.stdout).unwrap();
            answer.status.success().then_some(text)
        });
        asked.as_deref()
    }

    /// Returns true if the help of `path` lists `name` as a command.
    fn has_command(&mut self, path: &[String], name: &str) -> bool {
        let Some(help) = self.of(path) else { return false };
        let Some((_, commands)) = help.split_once("Commands:\n") else {
            return false;
        };
        commands
            .lines()
            .take_while(|line| line.starts_with(' '))
            .any(|line| line.split_whitespace().next() == Some(name))
    }
}

fn is_a_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !word.starts_with('-')
}

#[test]
fn every_documented_command_and_option_exists() {
    let mut help = Help(BTreeMap::new());
    let mut checked = 0;
    for (document, text) in documents() {
        for words in commands(&text).iter().flat_map(|line| simple(line)) {
            let program = words[0].rsplit('/').next().unwrap().to_owned();
            if !PROGRAMS.contains(&program.as_str()) {
                continue;
            }
            let mut path = vec![program];
            let mut options = Vec::new();
            for word in &words[1..] {
                if let Some(option) = word.strip_prefix("--").filter(|option| !option.is_empty()) {
                    let name: String = option
                        .chars()
                        .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
                        .collect();
                    options.push(name);
                } else if is_a_word(word) && help.has_command(&path, word) {
                    path.push(word.clone());
                } else if help.of(&path).is_some_and(|text| text.contains("Commands:\n"))
                    && is_a_word(word)
                    && options.is_empty()
                {
                    panic!(
                        "{}: there is no command `{} {word}`",
                        document.display(),
                        path.join(" ")
                    );
                }
            }
            let text = help
                .of(&path)
                .unwrap_or_else(|| panic!("{}: {path:?}", document.display()));
            for option in options {
                // A placeholder like `--…` is not an option.
                let known = option.is_empty()
                    || option == "help"
                    || option == "version"
                    || text.contains(&format!("--{option}"));
                assert!(
                    known,
                    "{}: `{}` has no option --{option}",
                    document.display(),
                    path.join(" ")
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} commands were found in the documents");
}

#[test]
fn every_documented_make_target_and_test_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', ' ', '.', '#']))
        .filter_map(|line| line.split_once(':').map(|(name, _)| name))
        .collect();
    for (document, text) in documents() {
        for words in commands(&text).iter().flat_map(|line| simple(line)) {
            match words[0].as_str() {
                "make" => {
                    for target in words[1..].iter().filter(|word| is_a_word(word)) {
                        assert!(
                            targets.contains(target.as_str()),
                            "{}: make {target}",
                            document.display()
                        );
                    }
                }
                "cargo" => {
                    let named = words.windows(2).filter(|pair| pair[0] == "--test").map(|pair| &pair[1]);
                    for name in named.filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
                    {
                        let places = [
                            format!("tests/tests/{name}.rs"),
                            format!("tests/tests/{name}/main.rs"),
                            format!("plane/tests/{name}/main.rs"),
                            format!("wgctl/tests/{name}/main.rs"),
                        ];
                        let there = places.iter().any(|place| root().join(place).exists());
                        assert!(there, "{}: there is no test {name}", document.display());
                    }
                }
                _ => {}
            }
        }
    }
}

/// Returns the anchor that GitHub generates for a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_has_an_existing_target() {
    for (document, text) in documents() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let linked = if path.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(path)
            };
            assert!(
                linked.exists(),
                "{} links to {path}, which does not exist",
                document.display()
            );
            if !fragment.is_empty() {
                let text = std::fs::read_to_string(&linked).unwrap();
                let there = text
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line) == fragment);
                assert!(there, "{} links to {target}: no such heading", document.display());
            }
        }
    }
}

#[test]
fn the_configuration_reference_is_generated_from_the_examples() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (plane, agent) = (read("packaging/plane.toml"), read("packaging/agent.toml"));
    let made = configuration(&[
        Example {
            program: "sentrazone-plane",
            path: "/etc/sentrazone/plane.toml",
            prefix: "SENTRAZONE_PLANE_",
            text: &plane,
        },
        Example {
            program: "sentrazone-agent",
            path: "/etc/sentrazone/agent.toml",
            prefix: "SENTRAZONE_AGENT_",
            text: &agent,
        },
    ]);
    let page = root().join("docs/configuration.md");
    if std::env::var_os("SENTRAZONE_WRITE_DOCS").is_some() {
        std::fs::write(&page, &made).unwrap();
    }
    assert!(
        std::fs::read_to_string(&page).unwrap_or_default() == made,
        "run `make docs`: docs/configuration.md does not match the examples"
    );
}
