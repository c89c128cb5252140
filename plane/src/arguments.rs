//! The command line of `sentrazone-plane`.
//!
//! Owns the arguments. The manual page is generated from them. It must not act on them.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Sentrazone's control plane.
#[derive(Debug, Parser)]
#[command(name = "sentrazone-plane", version)]
pub struct Arguments {
    /// The configuration file [default: /etc/sentrazone/plane.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The task to carry out instead of running the plane.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The tasks other than running the plane.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Validate the configuration and report the first error with its location
    Check,
    /// Print the fingerprint of the plane's certificate, for use with --pin
    Fingerprint,
}
