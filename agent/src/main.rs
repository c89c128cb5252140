//! The agent's command line: run, enroll, check, release.
//!
//! Owns logging, signals and what is printed. Everything else is the library's.

use std::io::Write as _;
use std::path::PathBuf;
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
use wgctl::log::{self, Log};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What is wrong with the configuration is said when it is needed.
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
            // Nobody may be there to read it.
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
            tokio::spawn(follow(signal(SignalKind::hangup())?, log, command.config.clone()));
            run(config, terminated()?).await.map(|()| String::new())
        }
        Some(Verb::Check) => {
            let path = command.config.display();
            Ok(match check_files(&load()?)? {
                None => format!("{path} is fine"),
                Some(warning) => format!("{path} can be used, but: {warning}"),
            })
        }
        Some(Verb::Release) => release(load()?).await,
        Some(Verb::Enroll(arguments)) => {
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
            let config = command.config;
            let enrollment = Enrollment {
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
            };
            Ok(enroll(enrollment).await?)
        }
    }
}

/// Reads the configuration again at each SIGHUP (`systemctl reload`), for what may change meanwhile:
/// what is logged.
async fn follow(mut hangups: Signal, log: Log, file: PathBuf) {
    while hangups.recv().await.is_some() {
        match Config::load(&file, std::env::vars()) {
            Ok(config) => log.configure(config.log),
            Err(error) => tracing::error!("the configuration is not read again: {error}"),
        }
    }
}

/// Ends with SIGTERM or SIGINT.
fn terminated() -> Result<impl Future<Output = ()>, Error> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Prints what a command has to say; a reader that is gone is no failure.
fn say(words: &str) {
    if !words.is_empty() {
        let _ = writeln!(std::io::stdout(), "{words}");
    }
}
