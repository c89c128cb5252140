//! The commands of `docs/install.md`, exactly as they appear in the document.
//!
//! Owns the rule for finding them: a code block that is marked with `sh` and the name of a machine (`sh plane`) is run
//! on that machine. It must not know what the commands do.

use std::path::Path;

/// One block of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The heading above the block.
    pub heading: String,
    /// The machine on which the block is run.
    pub machine: String,
    /// The commands.
    pub commands: String,
}

impl Block {
    /// Returns a copy of the block with only its first line.
    #[must_use]
    pub fn first_line(&self) -> Self {
        let line = self.commands.lines().next().unwrap_or_default();
        Self {
            commands: format!("{line}\n"),
            ..self.clone()
        }
    }
}

/// Returns all blocks that name a machine, in the document's order.
#[must_use]
pub fn blocks() -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/install.md");
    parse(&std::fs::read_to_string(path).expect("docs/install.md"))
}

fn parse(text: &str) -> Vec<Block> {
    let (mut blocks, mut heading, mut open) = (Vec::new(), String::new(), None::<Block>);
    let mut in_code = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            in_code = !in_code;
            blocks.extend(open.take());
            if let Some(machine) = language.strip_prefix("sh ").filter(|_| in_code) {
                open = Some(Block {
                    heading: heading.clone(),
                    machine: machine.to_owned(),
                    commands: String::new(),
                });
            }
        } else if let Some(block) = &mut open {
            block.commands.push_str(line);
            block.commands.push('\n');
        } else if let Some(title) = line.strip_prefix('#').filter(|_| !in_code) {
            title.trim_start_matches('#').trim().clone_into(&mut heading);
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_that_name_a_machine_are_found_under_their_headings() {
        let text = "# Top\n```sh\n# not this\n```\n## The plane\ntext\n```sh plane\none\n  two\n```\n### Later\n```sh host\nthree\n```\n";
        let block = |heading: &str, machine: &str, commands: &str| Block {
            heading: heading.to_owned(),
            machine: machine.to_owned(),
            commands: commands.to_owned(),
        };
        assert_eq!(
            parse(text),
            [
                block("The plane", "plane", "one\n  two\n"),
                block("Later", "host", "three\n")
            ]
        );
    }

    #[test]
    fn the_manual_has_commands_for_the_whole_life_cycle() {
        let blocks = blocks();
        for (heading, machine, count) in [
            ("The plane", "plane", 1),
            ("A VPN host", "plane", 2),
            ("A VPN host", "host", 1),
            ("Upgrade", "plane", 1),
            ("Upgrade", "host", 1),
            ("Backup", "plane", 1),
            ("Backup", "replacement", 1),
            ("Uninstall", "host", 2),
            ("Uninstall", "plane", 2),
        ] {
            let there = blocks
                .iter()
                .filter(|block| block.heading == heading && block.machine == machine);
            assert_eq!(there.count(), count, "{heading}, on {machine}");
        }
    }
}
