//! The agent's command line: run, enroll, check, release.
//!
//! Owns arguments, logging, signals and exit codes. Everything else is the library's.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sentrazone_agent::config::{Config, DEFAULT_PATH};
use sentrazone_agent::enroll::{Enrollment, enroll};
use sentrazone_agent::release::release;
use sentrazone_agent::{Error, run};
use tokio::signal::unix::{Signal, SignalKind, signal};
use url::Url;
use wgctl::Pin;
use wgctl::log::{self, Log};

/// `EX_CONFIG` (sysexits.h).
const BAD_CONFIGURATION: u8 = 78;
/// The host was released; the unit does not try again.
const RELEASED: u8 = 79;

/// Makes the WireGuard of this host agree with what the plane has recorded.
#[derive(Parser)]
#[command(version)]
struct Command {
    /// The configuration file.
    #[arg(long, global = true, default_value = DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Run (the default).
    Run,
    /// Make this host a server's: check the token with the plane, adopt the interface where the record
    /// awaits that, write the configuration.
    Enroll(EnrollArguments),
    /// Say what is wrong with the configuration, and where.
    Check,
    /// Hand the interface back, running, and take our masquerading rules away.
    Release,
}

#[derive(Args)]
struct EnrollArguments {
    /// The plane's URL; more than one are tried in turn.
    #[arg(long, required = true)]
    plane: Vec<Url>,
    /// The file with the token that `wgctl server add` printed; `-` for standard input.
    #[arg(long)]
    token_file: PathBuf,
    /// Certificates (PEM) to trust beside the system's.
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// The plane's key, as `wgctl server add` or `sentrazone-plane fingerprint` prints it: no authority
    /// is asked then. Once for each plane.
    #[arg(long, value_name = "sha256:…", conflicts_with = "ca_file")]
    pin: Vec<Pin>,
    /// Dial planes on other machines without TLS.
    #[arg(long)]
    allow_plaintext: bool,
    /// Where secrets and cache are kept [default: /var/lib/sentrazone-agent].
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Adopt the interface of this wg-quick file, which need not be up.
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    let command = Command::parse();
    // What is wrong with the configuration is said when it is needed.
    let configured = Config::read(&command.config, std::env::vars()).map(|config| config.log);
    let log = log::start(configured.unwrap_or_default());
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = outcome
        .map_err(Error::System)
        .and_then(|runtime| runtime.block_on(carry_out(command, log)));
    match outcome {
        Ok(words) => {
            say(&words);
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "sentrazone-agent: {error}");
            ExitCode::from(match error {
                Error::Config(_) => BAD_CONFIGURATION,
                Error::Released => RELEASED,
                _ => 1,
            })
        }
    }
}

async fn carry_out(command: Command, log: Log) -> Result<String, Error> {
    let load = || Config::load(&command.config, std::env::vars());
    match command.verb {
        None | Some(Verb::Run) => {
            let config = load()?;
            tokio::spawn(follow(signal(SignalKind::hangup())?, log, command.config.clone()));
            run(config, terminated()?).await.map(|()| String::new())
        }
        Some(Verb::Check) => load()
            .map(|_| format!("{} is fine", command.config.display()))
            .map_err(Error::from),
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
