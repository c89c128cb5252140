//! The plane's command: configuration, logging, signals and exit codes.
//!
//! Owns what is between the operating system and `sentrazone_plane::Plane`, and nothing else.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use sd_notify::NotifyState;
use sentrazone_plane::arguments::{Arguments, Command};
use sentrazone_plane::{Config, Error, Plane};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// `EX_CONFIG` of sysexits.h; the other codes are [`Error::exit_code`]'s.
const EXIT_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(arguments.config.as_deref(), environment()) {
        Ok(config) => config,
        Err(error) => return fail(EXIT_CONFIGURATION, &error.to_string()),
    };
    if let Some(Command::Check) = arguments.command {
        let _ = writeln!(io::stdout(), "the configuration is valid");
        return ExitCode::SUCCESS;
    }
    log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(serve(&config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.exit_code(), &error.to_string()),
    }
}

async fn serve(config: &Config) -> Result<(), Error> {
    // Caught from here on: a stop that comes while we start is not lost.
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let plane = Plane::bind(config).await?;
    // Outside systemd there is nobody to notify, and that is no error.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    plane
        .serve(async {
            stop_signal(signals).await;
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
        })
        .await
}

async fn stop_signal(signals: (io::Result<Signal>, io::Result<Signal>)) {
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::warn!("signals cannot be caught: stopping will be abrupt");
        return std::future::pending().await;
    };
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!("{name}: stopping");
}

/// Variables that are not UTF-8 cannot be ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn log() {
    let filter = EnvFilter::try_from_env("SENTRAZONE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

fn fail(code: u8, message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "sentrazone-plane: {message}");
    ExitCode::from(code)
}
