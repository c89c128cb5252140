//! The manual pages and completions for the two daemons. wgctl generates its own.
//!
//! Owns combining the arguments that are defined in the code with the hand-written text in `packaging/man`:
//! files, exit codes and related pages.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::failure::Failure;

/// Writes the pages and completions into the directories of their packages.
pub(crate) fn write(folder: &Path, date: &str) -> Result<(), Failure> {
    let plane = sentrazone_plane::arguments::Arguments::command();
    let agent = sentrazone_agent::arguments::Arguments::command();
    let daemons = [
        (plane, include_str!("../man/sentrazone-plane.8")),
        (agent, include_str!("../man/sentrazone-agent.8")),
    ];
    for (command, by_hand) in daemons {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let name = command.get_name().to_owned();
        let folder = folder.join(&name);
        for (shell, file) in [
            (Shell::Bash, name.clone()),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, &name, &mut script);
            let path = folder.join(file);
            fs::write(&path, script).map_err(Failure::at(&path))?;
        }
        pages(&folder.join("man"), &command, date, by_hand)?;
    }
    Ok(())
}

/// Writes a page for the command, and one for each of its subcommands.
fn pages(folder: &Path, command: &Command, date: &str, by_hand: &str) -> Result<(), Failure> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let source = concat!("Sentrazone ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("8")
        .date(date)
        .source(source)
        .manual("Sentrazone");
    let path = folder.join(format!("{name}.8"));
    let mut page = Vec::new();
    man.render_title(&mut page).map_err(Failure::at(&path))?;
    man.render_name_section(&mut page).map_err(Failure::at(&path))?;
    man.render_synopsis_section(&mut page).map_err(Failure::at(&path))?;
    man.render_description_section(&mut page).map_err(Failure::at(&path))?;
    man.render_options_section(&mut page).map_err(Failure::at(&path))?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page).map_err(Failure::at(&path))?;
    }
    page.extend_from_slice(by_hand.as_bytes());
    fs::write(&path, page).map_err(Failure::at(&path))?;
    for inner in command.get_subcommands() {
        pages(folder, inner, date, "")?;
    }
    Ok(())
}
