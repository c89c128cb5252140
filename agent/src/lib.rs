//! The agent: makes the WireGuard of one VPN host agree with what the plane has recorded.
//!
//! Owns the wiring: one thread for the kernel (`reconcile`), and beside it the poll (`source`) and
//! the reports (`report`). It must not know the plane's storage or REST API; it dials out, and
//! opens no port. Stopping it changes nothing on the host.

pub mod answer;
pub mod cache;
pub mod config;
pub mod counters;
pub mod desired;
pub mod enroll;
mod folder;
pub mod host;
pub mod plane;
pub mod reconcile;
pub mod report;
pub mod secrets;
pub mod source;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use wgctl::device::kernel::Kernel;
use wgctl::device::kernel::link::Route;
use wgctl::device::userspace::Userspace;
use wgctl::{Clock, ServerId};

use config::{Backend, Config};
use host::{Host as _, Netlink};
use plane::{Plane, Planes};
use reconcile::{Handle, Input, LinkBy, Reconciler};
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
    /// That thread is gone.
    #[error("the thread for the kernel has ended unexpectedly: its last log lines say why")]
    ThreadEnded,
}

/// Runs until `shutdown`. What the cache says is on the interface before anything is dialled; what
/// is on it when this ends stays.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let secrets = Arc::new(Secrets::open(&config.state_dir)?);
    let _lock = folder::lock(&config.state_dir)?.ok_or_else(|| Error::Locked(config.state_dir.clone()))?;
    let planes = Planes::configured(&config)?;
    let (ready, carried_out) = oneshot::channel();
    let (reconcile, thread) = start(&config, &secrets, ready).await?;
    carried_out.await.map_err(|_| Error::ThreadEnded)?;
    let inbox = reconcile.inbox.clone();
    let mut tasks = converse(
        planes,
        secrets,
        reconcile,
        server_of(&config.state_dir),
        config.report_interval,
    );
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
    let ended = tokio::task::spawn_blocking(move || thread.join()).await;
    tracing::info!("stopped; tunnels stay as they are");
    match ended {
        Ok(Ok(())) => outcome,
        _ => Err(Error::ThreadEnded),
    }
}

/// Starts all that is said to the planes, each in a task that runs until the reconciler's end.
/// `server` is whose state is here already; `every` is the seconds between reports.
pub fn converse<P: Plane>(
    planes: Planes<P>,
    secrets: Arc<Secrets>,
    reconcile: Handle,
    server: Option<ServerId>,
    every: u32,
) -> JoinSet<()> {
    let Handle {
        inbox,
        verdict,
        position,
    } = reconcile;
    let (connected, connections) = watch::channel(0);
    let server = watch::Sender::new(server);
    let reporter = Reporter {
        planes: planes.clone(),
        inbox: inbox.clone(),
        every,
        connected: connections.clone(),
        server: server.subscribe(),
    };
    let source = Source {
        planes: planes.clone(),
        secrets,
        inbox,
        position,
        server,
        connected,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(source.run());
    tasks.spawn(reporter.run());
    tasks.spawn(report::confirm(planes, verdict, connections));
    tasks
}

/// Opens the backend and starts the thread that owns it: the sockets belong to that thread.
async fn start(
    config: &Config,
    secrets: &Arc<Secrets>,
    ready: oneshot::Sender<()>,
) -> Result<(Handle, JoinHandle<()>), Error> {
    let (backend, folder, secrets) = (config.backend, config.state_dir.clone(), Arc::clone(secrets));
    let open = move || -> Result<(Handle, JoinHandle<()>), Error> {
        let host = Netlink::open()?;
        Ok(match backend {
            Backend::Kernel => reconcile::spawn(
                Reconciler::new(Kernel::open()?, host, LinkBy::Us, secrets, folder),
                Clock::default(),
                ready,
            )?,
            Backend::Userspace => reconcile::spawn(
                Reconciler::new(Userspace::new(), host, LinkBy::Others, secrets, folder),
                Clock::default(),
                ready,
            )?,
        })
    };
    tokio::task::spawn_blocking(open)
        .await
        .map_err(|_| Error::ThreadEnded)?
}

/// Whose the cached state is.
#[must_use]
pub fn server_of(folder: &Path) -> Option<ServerId> {
    cache::load(folder).ok().flatten().map(|state| state.server_id)
}

/// Hands the interface back, running: takes only our masquerading away. Gives what to tell.
pub async fn release(config: Config) -> Result<String, Error> {
    let Some(state) = cache::load(&config.state_dir)? else {
        return Ok("There is nothing to release: this agent has never set up an interface.".to_owned());
    };
    let name = state.interface.name;
    let interface = name.clone();
    let release = move || -> Result<bool, wgctl::device::Error> {
        Netlink::open()?.release(&interface)?;
        Ok(Route::open()?.link(&interface)?.is_some())
    };
    let there = tokio::task::spawn_blocking(release)
        .await
        .map_err(|_| Error::ThreadEnded)??;
    if !there {
        return Ok(format!(
            "There is no interface {name} on this host: nothing is left to release."
        ));
    }
    Ok(format!(
        "{name} runs on without the agent, with its {} peers, addresses and routes. Its masquerading rules are gone. \
         Stop the agent (`systemctl disable --now sentrazone-agent`), or it takes {name} up again.",
        state.peers.len()
    ))
}
