//! Tests of the completeness of `docs/wgctl.md`.
//!
//! Owns the checks that every failure code is listed there, that every command has an example, and that every example
//! is a valid command.

use clap::{Command, CommandFactory as _, Parser as _};

use crate::{Cli, completion};

const DOCUMENT: &str = include_str!("../../../../docs/wgctl.md");

/// Returns the words of each wgctl call in the document's code blocks, without the shell's redirections
/// and pipes.
fn examples() -> Vec<Vec<String>> {
    let blocks = DOCUMENT.split("```").skip(1).step_by(2);
    // In a console block, all lines without a prompt are output.
    let typed = blocks.flat_map(|block| match block.strip_prefix("console\n") {
        Some(console) => console
            .lines()
            .filter_map(|line| line.strip_prefix("$ "))
            .collect::<Vec<_>>(),
        None => block.lines().collect(),
    });
    let calls = typed.flat_map(|line| {
        let begins = line.match_indices("wgctl ").filter(|(at, _)| {
            let before = line.get(..*at).unwrap_or_default();
            before.is_empty() || before.ends_with(['(', ' '])
        });
        begins.map(|(at, _)| line.get(at..).unwrap_or_default())
    });
    let calls = calls.map(|call| {
        let ends = ["|", ">", "<", "#", ")", "2>"]
            .iter()
            .filter_map(|end| call.find(&format!(" {end}")));
        let end = ends.chain(call.find(')')).min().unwrap_or(call.len());
        completion::words(call.get(..end).unwrap_or_default().trim_end())
    });
    calls.collect()
}

/// Collects the paths of all commands that can be run by themselves.
fn commands(command: &Command, path: &[&str], found: &mut Vec<String>) {
    if !command.is_subcommand_required_set() && !command.is_arg_required_else_help_set() {
        found.push(path.join(" "));
    }
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        commands(subcommand, &[path, &[subcommand.get_name()]].concat(), found);
    }
}

#[test]
fn every_failure_code_is_in_the_document() {
    let source = include_str!("failure.rs");
    let arms = source.lines().filter_map(|line| line.trim().strip_suffix("\","));
    let codes: Vec<_> = arms
        .filter_map(|arm| arm.split_once("=> \""))
        .map(|(_, code)| code)
        .collect();
    assert!(codes.len() >= 6, "{codes:?}");
    for code in codes.into_iter().chain(["not_found"]) {
        assert!(
            DOCUMENT.contains(&format!("| `{code}` |")),
            "docs/wgctl.md does not list {code}"
        );
    }
}

#[test]
fn every_command_has_an_example_and_every_example_is_valid() {
    let examples = examples();
    assert!(examples.len() > 40, "{examples:?}");
    for example in &examples {
        let parsed = Cli::try_parse_from(example);
        assert!(parsed.is_ok(), "{example:?}: {}", parsed.err().unwrap());
    }
    let mut all = Vec::new();
    commands(&Cli::command(), &[], &mut all);
    assert!(all.len() > 25, "{all:?}");
    for command in all {
        let words: Vec<_> = command.split(' ').collect();
        let shown = examples
            .iter()
            .any(|example| example.get(1..=words.len()).is_some_and(|begin| begin == words));
        assert!(shown, "docs/wgctl.md has no example of `wgctl {command}`: add one");
    }
}
