//! The agent: makes the WireGuard of one VPN host agree with what the plane has recorded.
//!
//! Owns the wiring: one thread for the kernel (`reconcile`), and beside it the poll (`source`) and
//! the reports (`report`). It must not know the plane's storage or REST API; it dials out, and
//! opens no port. Stopping it changes nothing on the host.

pub mod adopt;
pub mod answer;
pub mod cache;
pub mod config;
pub mod counters;
pub mod desired;
pub mod enroll;
mod folder;
pub mod host;
pub mod import;
pub mod plane;
pub mod preview;
pub mod reconcile;
pub mod release;
pub mod report;
pub mod secrets;
pub mod source;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use wgctl::device::kernel::Kernel;
use wgctl::device::userspace::Userspace;

use config::{Backend, Config};
use host::Netlink;
use plane::Planes;
use reconcile::{Input, LinkBy, Reconciler, Running};
use report::Reporter;
use secrets::Secrets;
use source::Source;

/// Why the agent could not start, or a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The host's keys.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The planes to dial.
    #[error(transparent)]
    Planes(#[from] plane::SetupError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// The kernel.
    #[error(transparent)]
    Device(#[from] wgctl::device::Error),
    /// Enrolling.
    #[error(transparent)]
    Enroll(#[from] enroll::Error),
    /// The system refused a thread, a signal handler or a lock.
    #[error("{0}")]
    System(#[from] io::Error),
    /// Another agent is at it.
    #[error("another agent runs with {}: stop it first, or give this one another state_dir", .0.display())]
    Locked(PathBuf),
    /// The agent is to be stopped before this.
    #[error("the agent runs with {}: stop it first (`systemctl stop sentrazone-agent`)", .0.display())]
    StillRuns(PathBuf),
    /// The host was released.
    #[error(
        "this host was released: its interface is left as it is. `sentrazone-agent enroll` takes it up again; else stop \
         starting the agent (`systemctl disable sentrazone-agent`)"
    )]
    Released,
    /// That thread is gone.
    #[error("the thread for the kernel has ended unexpectedly: its last log lines say why")]
    ThreadEnded,
}

/// Runs until `shutdown`. What the cache says is on the interface before anything is dialled; what
/// is on it when this ends stays.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    if folder::is_released(&config.state_dir) {
        return Err(Error::Released);
    }
    let secrets = Arc::new(Secrets::open(&config.state_dir)?);
    let _lock = folder::lock(&config.state_dir)?.ok_or_else(|| Error::Locked(config.state_dir.clone()))?;
    let planes = Planes::new(&config)?;
    let (ready, carried_out) = oneshot::channel();
    let Running {
        inbox,
        verdict,
        position,
        handle,
    } = start(&config, &secrets, ready).await?;
    carried_out.await.map_err(|_| Error::ThreadEnded)?;
    let (connected, connections) = watch::channel(0);
    let server = watch::Sender::new(server_of(&config));
    let reporter = Reporter {
        planes: planes.clone(),
        inbox: inbox.clone(),
        every: config.report_interval,
        connected: connections.clone(),
        server: server.subscribe(),
    };
    let source = Source {
        planes: planes.clone(),
        secrets,
        inbox: inbox.clone(),
        position,
        server,
        connected,
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(source.run());
    tasks.spawn(reporter.run());
    tasks.spawn(report::confirm(planes, verdict, connections));
    // Nobody may be told: then the service manager does not ask.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!("running");
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        // Each runs until the thread's end.
        _ = tasks.join_next() => Err(Error::ThreadEnded),
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tasks.shutdown().await;
    // The thread may have ended already.
    let _ = inbox.send(Input::Stop);
    let ended = tokio::task::spawn_blocking(move || handle.join()).await;
    tracing::info!("stopped; tunnels stay as they are");
    match ended {
        Ok(Ok(())) => outcome,
        _ => Err(Error::ThreadEnded),
    }
}

/// Opens the backend and starts the thread that owns it: the sockets belong to that thread.
async fn start(config: &Config, secrets: &Arc<Secrets>, ready: oneshot::Sender<()>) -> Result<Running, Error> {
    let (backend, folder, secrets) = (config.backend, config.state_dir.clone(), Arc::clone(secrets));
    let open = move || -> Result<Running, Error> {
        let host = Netlink::open()?;
        Ok(match backend {
            Backend::Kernel => reconcile::spawn(
                Reconciler::new(Kernel::open()?, host, LinkBy::Us, secrets, folder),
                ready,
            )?,
            Backend::Userspace => reconcile::spawn(
                Reconciler::new(Userspace::new(), host, LinkBy::Others, secrets, folder),
                ready,
            )?,
        })
    };
    tokio::task::spawn_blocking(open)
        .await
        .map_err(|_| Error::ThreadEnded)?
}

/// Whose the cached state is.
fn server_of(config: &Config) -> Option<wgctl::ServerId> {
    cache::load(&config.state_dir)
        .ok()
        .flatten()
        .map(|state| state.server_id)
}
