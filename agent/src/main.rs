//! The agent's command line: run, enroll, check and release.
//!
//! Owns logging, signals and the printed output. It must not contain other logic, which belongs to the library.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use sentrazone_agent::arguments::{Arguments, EnrollArguments, Verb};
use sentrazone_agent::config::Config;
use sentrazone_agent::conversation::check_files;
use sentrazone_agent::setup::enroll::{Enrollment, enroll};
use sentrazone_agent::setup::release::release;
use sentrazone_agent::{Error, run};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wgctl::Clock;
use wgctl::program::log::{self, Log};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Errors in the configuration are reported by the command that uses it.
    let configured = Config::read(&arguments.config, std::env::vars()).map(|config| config.log);
    let log = log::start(configured.unwrap_or_default());
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = outcome
        .map_err(Error::System)
        .and_then(|runtime| runtime.block_on(carry_out(arguments, log)));
    match outcome {
        Ok(words) => {
            say(&words);
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Standard error may be closed.
            let _ = writeln!(std::io::stderr(), "sentrazone-agent: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn carry_out(command: Arguments, log: Log) -> Result<String, Error> {
    let load = || Config::load(&command.config, std::env::vars());
    match command.verb {
        None | Some(Verb::Run) => {
            let config = load()?;
            tokio::spawn(reload_at_hangups(
                signal(SignalKind::hangup())?,
                log,
                command.config.clone(),
            ));
            run(config, wait_for_termination()?).await.map(|()| String::new())
        }
        Some(Verb::Check) => check(&command.config, &load()?),
        Some(Verb::Release) => release(load()?).await,
        Some(Verb::Enroll(arguments)) => Ok(enroll(enrollment(arguments, command.config)).await?),
    }
}

/// Reads the files that the configuration names, but does not connect to a plane. A warning is written to standard
/// error regardless of the log filter.
fn check(path: &Path, config: &Config) -> Result<String, Error> {
    let path = path.display();
    Ok(match check_files(config)? {
        None => format!("{path} is fine"),
        Some(warning) => {
            // Standard error may be closed.
            let _ = writeln!(std::io::stderr(), "sentrazone-agent: {warning}");
            format!("{path} can be used, with a warning")
        }
    })
}

fn enrollment(arguments: EnrollArguments, config: PathBuf) -> Enrollment {
    let EnrollArguments {
        plane,
        token_file,
        ca_file,
        pin,
        allow_plaintext,
        state_dir,
        import,
        dry_run,
    } = arguments;
    Enrollment {
        planes: plane,
        token_file,
        ca_file,
        pin,
        allow_plaintext,
        config,
        state_dir,
        import,
        dry_run,
        clock: Clock::default(),
    }
}

/// Reloads the configuration on each SIGHUP (`systemctl reload`) and applies the log filter, the only setting that
/// can change while the agent runs.
async fn reload_at_hangups(mut hangups: Signal, log: Log, file: PathBuf) {
    while hangups.recv().await.is_some() {
        match Config::load(&file, std::env::vars()) {
            Ok(config) => log.configure(config.log),
            Err(error) => tracing::error!("the configuration cannot be reloaded; the current one is kept: {error}"),
        }
    }
}

/// Returns a future that waits for SIGTERM or SIGINT. The handlers are already installed when this function
/// returns.
fn wait_for_termination() -> Result<impl Future<Output = ()>, Error> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Prints the output of a command. A closed pipe is not an error.
fn say(words: &str) {
    if !words.is_empty() {
        let _ = writeln!(std::io::stdout(), "{words}");
    }
}
