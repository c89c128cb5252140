//! The `sentrazone-plane` program: configuration, logging, signals and exit codes.
//!
//! Owns everything between the operating system and `sentrazone_plane::Plane`. It must not contain anything else.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use sd_notify::NotifyState;
use sentrazone_plane::arguments::{Arguments, Command};
use sentrazone_plane::{Config, Error, Plane, TlsError, tls};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wgctl::program::log::{self, Log};

/// `EX_CONFIG` from sysexits.h. [`Error::exit_code`] defines the codes for other errors.
const EXIT_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(arguments.config.as_deref(), environment()) {
        Ok(config) => config,
        Err(error) => return fail(EXIT_CONFIGURATION, &error.to_string()),
    };
    match arguments.command {
        None => {}
        Some(Command::Check) => return say(tls::check(&config).map(|()| "the configuration is valid")),
        Some(Command::Fingerprint) => return say(tls::fingerprint(&config)),
    }
    let log = log::start(config.log.clone());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(serve(&config, log, arguments.config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.exit_code(), &error.to_string()),
    }
}

async fn serve(config: &Config, log: Log, file: Option<PathBuf>) -> Result<(), Error> {
    // The handlers are installed first, so that a signal that arrives during startup is not lost.
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    // From here on, SIGHUP no longer terminates the process.
    tokio::spawn(follow(signal(SignalKind::hangup()), log, file));
    let plane = Plane::bind(config).await?;
    // Without systemd there is no service manager to notify, which is not an error.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    plane
        .serve(async {
            stop_signal(signals).await;
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
        })
        .await
}

/// Reloads the configuration on each SIGHUP (`systemctl reload`) and applies the log filter, the only setting that
/// can change while the plane runs.
async fn follow(hangups: io::Result<Signal>, log: Log, file: Option<PathBuf>) {
    let Ok(mut hangups) = hangups else { return };
    while hangups.recv().await.is_some() {
        match Config::load(file.as_deref(), environment()) {
            Ok(config) => log.configure(config.log),
            Err(error) => tracing::error!("the configuration cannot be reloaded; the current one is kept: {error}"),
        }
    }
}

async fn stop_signal(signals: (io::Result<Signal>, io::Result<Signal>)) {
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::warn!("cannot catch SIGTERM and SIGINT: the plane will stop abruptly");
        return std::future::pending().await;
    };
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!("{name}: stopping");
}

/// Returns the environment variables. Those whose name or value is not valid UTF-8 are left out.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn say(answer: Result<impl Display, TlsError>) -> ExitCode {
    match answer {
        Ok(words) => {
            let _ = writeln!(io::stdout(), "{words}");
            ExitCode::SUCCESS
        }
        Err(error @ TlsError::NotYet(_)) => fail(1, &error.to_string()),
        Err(error) => fail(EXIT_CONFIGURATION, &error.to_string()),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "sentrazone-plane: {message}");
    ExitCode::from(code)
}
