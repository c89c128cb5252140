//! What is typed after `sentrazone-agent`.
//!
//! Owns the command's arguments, also for its manual page. It must not carry them out.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use url::Url;
use wgctl::Pin;
use wgctl::api::base_url;

use crate::config::DEFAULT_PATH;

/// Makes the WireGuard of this host agree with what the plane has recorded.
#[derive(Debug, Parser)]
#[command(name = "sentrazone-agent", version)]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run (the default).
    Run,
    /// Make this host a server's: check the token with the plane, adopt the interface where the record
    /// awaits that, write the configuration.
    Enroll(EnrollArguments),
    /// Say what is wrong with the configuration and the files that it names, and where.
    Check,
    /// Hand the interface back, running, and take our masquerading rules away.
    Release,
}

/// What enrolling is told.
#[derive(Debug, Args)]
pub struct EnrollArguments {
    /// The plane's URL; more than one are tried in turn.
    #[arg(long, required = true, value_name = "URL", value_parser = base_url)]
    pub plane: Vec<Url>,
    /// The file with the token that `wgctl server add` printed; `-` for standard input.
    #[arg(long)]
    pub token_file: PathBuf,
    /// Certificates (PEM) to trust beside the system's.
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
    /// The plane's key, as `wgctl server add` or `sentrazone-plane fingerprint` prints it: no authority
    /// is asked then. Once for each plane.
    #[arg(long, value_name = "sha256:…", conflicts_with = "ca_file")]
    pub pin: Vec<Pin>,
    /// Dial planes on other machines without TLS.
    #[arg(long)]
    pub allow_plaintext: bool,
    /// Where secrets and cache are kept [default: /var/lib/sentrazone-agent].
    #[arg(long)]
    pub state_dir: Option<PathBuf>,
    /// Adopt the interface of this wg-quick file, which need not be up.
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}
