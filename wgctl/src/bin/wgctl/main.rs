//! `wgctl`, Sentrazone's command-line program.
//!
//! Owns the command tree, the exit codes (0 success, 1 refused or failed, 2 wrong usage or wrong file) and the
//! only place where a failure is printed. It must not implement commands: each command group is a file or
//! directory in `commands`. The groups share `connection` (the plane to talk to), `terminal` (output and
//! prompts) and `argument_types`.

mod argument_types;
mod commands;
mod completion;
mod connection;
#[cfg(test)]
mod documentation;
mod failure;
mod output_file;
mod plane_refusal;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use wgctl::Clock;

use crate::commands::{audit, backup, key_generation, login, peer, server, show_interfaces, status, token, user};
use crate::connection::Options;
use crate::failure::Failure;
use crate::terminal::output::{Output, Style};

const EXIT_CODES: &str = "\
Exit codes: 0 success, 1 refused or failed, 2 wrong usage or the wrong kind of file.
With --json, every command prints its result as JSON, and a failure as JSON on stderr.";

/// Administers Sentrazone: servers, peers, people, and the WireGuard interfaces of this machine.
#[derive(Parser)]
#[command(name = "wgctl", version, propagate_version = true, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    style: Style,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Manage the people who may log in
    #[command(subcommand)]
    User(user::Command),
    /// Manage the tokens for programs
    #[command(subcommand)]
    Token(token::Command),
    /// Manage the key that signs sessions
    #[command(subcommand)]
    Key(token::KeyCommand),
    /// Manage VPN servers
    #[command(subcommand)]
    Server(server::Command),
    /// Manage the devices on a server
    #[command(subcommand)]
    Peer(peer::Command),
    /// Show which servers are online, and their traffic
    Status(status::Show),
    /// Show the round-trip times and traffic of a server over the last 72 hours
    History(status::History),
    /// Show the audit log, export it or verify it
    Audit(audit::Audit),
    /// Save a consistent backup of everything that a plane has recorded, while the plane is running
    Backup(backup::Backup),
    /// Replace everything that a plane has recorded with a backup
    Restore(backup::Restore),
    /// Log in to a plane and store the token in ~/.config/wgctl
    Login(login::Login),
    /// End the login, here and on the plane
    Logout,
    /// Generate a private key and print it
    Genkey,
    /// Read a private key from stdin and print its public key
    Pubkey,
    /// Generate a preshared key and print it
    Genpsk,
    /// Show the WireGuard interfaces of this machine
    Show(show_interfaces::Show),
    /// Print the completion script for a shell, which also completes names
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages to a directory
    #[command(hide = true)]
    Manual {
        /// The directory
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    if let Some(code) = completion::answer(Cli::command) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && std::env::args_os().any(|word| word == "--json") => {
            let words = error.render().to_string();
            let failure = Failure::Usage(words.trim_start_matches("error: ").trim_end().to_owned());
            failure.tell(true, "");
            return ExitCode::from(failure.exit_code());
        }
        Err(error) => {
            // clap prints help on stdout with code 0 and usage errors on stderr with code 2.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return if error.print().is_ok() || code == 0 {
                ExitCode::from(code)
            } else {
                ExitCode::from(2)
            };
        }
    };
    let json = cli.style.json;
    match run(cli) {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(json, "wgctl: ");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let out = Output::new(cli.style, Clock::default());
    let options = cli.options;
    match cli.command {
        Command::Genkey => key_generation::genkey(&out),
        Command::Pubkey => key_generation::pubkey(&out),
        Command::Genpsk => key_generation::genpsk(&out),
        Command::Show(show) => show.run(&out),
        Command::Completions { shell } => {
            let script = completion::script(shell);
            let script = script.map_err(|error| Failure::Local(format!("cannot write the completions: {error}")))?;
            out.bytes(&script)
        }
        Command::Manual { folder } => clap_mangen::generate_to(Cli::command(), &folder)
            .map_err(|error| Failure::Local(format!("cannot write to {}: {error}", folder.display()))),
        remote => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::Local(format!("cannot start: {error}")))?;
            runtime.block_on(call(remote, &options, &out))
        }
    }
}

/// Runs a command that talks to a plane.
async fn call(command: Command, options: &Options, out: &Output) -> Result<(), Failure> {
    match command {
        Command::Login(login) => login.run(options, out).await,
        Command::Logout => login::logout(out).await,
        Command::User(command) => command.run(&options.connect(out.now())?, out).await,
        Command::Token(command) => command.run(&options.connect(out.now())?, out).await,
        Command::Key(command) => command.run(&options.connect(out.now())?, out).await,
        Command::Server(command) => command.run(&options.connect(out.now())?, out).await,
        Command::Peer(command) => command.run(&options.connect(out.now())?, out).await,
        Command::Status(show) => show.run(&options.connect(out.now())?, out).await,
        Command::History(history) => history.run(&options.connect(out.now())?, out).await,
        Command::Audit(audit) => audit.run(options, out).await,
        Command::Backup(backup) => backup.run(&options.connect_for_copies(out.now())?, out).await,
        Command::Restore(restore) => restore.run(options, out).await,
        // These commands need no plane, and `run` executes them.
        Command::Genkey
        | Command::Pubkey
        | Command::Genpsk
        | Command::Show(_)
        | Command::Completions { .. }
        | Command::Manual { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_valid() {
        Cli::command().debug_assert();
    }
}
