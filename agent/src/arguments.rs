//! The command line of `sentrazone-agent`.
//!
//! Owns the arguments, from which the manual page is also generated. It must not execute any command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use url::Url;
use wgctl::Pin;
use wgctl::api::base_url;

use crate::config::DEFAULT_PATH;

/// Keeps the WireGuard configuration of this host in agreement with the state recorded by the plane.
#[derive(Debug, Parser)]
#[command(name = "sentrazone-agent", version)]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// The command to execute.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run (the default).
    Run,
    /// Enroll this host: check the token with the plane, adopt an existing interface if the server's record
    /// asks for it, and write the configuration.
    Enroll(EnrollArguments),
    /// Check the configuration and the files that it names, and report errors.
    Check,
    /// Release the interface: leave it running, and remove the agent's masquerading rules.
    Release,
}

/// The arguments for `enroll`.
#[derive(Debug, Args)]
pub struct EnrollArguments {
    /// URL of a plane; repeat the option to name several planes, which are tried in turn.
    #[arg(long, required = true, value_name = "URL", value_parser = base_url)]
    pub plane: Vec<Url>,
    /// File with the token that `wgctl server add` printed; `-` for standard input.
    #[arg(long)]
    pub token_file: PathBuf,
    /// File with PEM certificates to trust in addition to the system's.
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
    /// Key of the plane, as printed by `wgctl server add` or `sentrazone-plane fingerprint`. A pinned key needs no
    /// certificate authority. Repeat the option to give one key per plane.
    #[arg(long, value_name = "sha256:…", conflicts_with = "ca_file")]
    pub pin: Vec<Pin>,
    /// Allow connections without TLS to planes on other machines.
    #[arg(long)]
    pub allow_plaintext: bool,
    /// Directory for secrets and the cache [default: /var/lib/sentrazone-agent].
    #[arg(long)]
    pub state_dir: Option<PathBuf>,
    /// Adopt the interface that this wg-quick file describes; the interface need not be up.
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,
    /// Show what would be done, without changing anything.
    #[arg(long)]
    pub dry_run: bool,
}
