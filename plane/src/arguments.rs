//! The command line of `sentrazone-plane`.
//!
//! Owns the command's arguments, also for its manual page. It must not carry them out.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Sentrazone's control plane.
#[derive(Debug, Parser)]
#[command(name = "sentrazone-plane", version)]
pub struct Arguments {
    /// The configuration [default: /etc/sentrazone/plane.toml, where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The task to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The tasks beside running.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Validate the configuration and say what is wrong where
    Check,
    /// Print the fingerprint of the plane's certificate, for --pin
    Fingerprint,
}
