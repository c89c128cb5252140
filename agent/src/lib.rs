//! The agent: makes the WireGuard of one VPN host agree with what the plane has recorded.
//!
//! Owns the wiring: one thread for the kernel (`reconcile`), and beside it the poll (`source`) and
//! the reports (`report`). It must not know the plane's storage or REST API; it dials out, and
//! opens no port but the one for its metrics, where that is wanted. Stopping it changes nothing on the host.

pub mod arguments;
pub mod cache;
#[cfg(test)]
mod captured_log;
pub mod config;
pub mod conversation;
pub mod counters;
pub mod desired;
pub mod drift;
pub mod host;
pub mod kernel_events;
pub mod metrics;
pub mod reconcile;
pub mod secrets;
pub mod setup;
mod state_dir;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch as shared};
use tokio::task::JoinSet;
use wgctl::device::kernel::Kernel;
use wgctl::device::userspace::Userspace;
use wgctl::metrics::Listening;
use wgctl::{Clock, ServerId};

use config::{Backend, Config};
use conversation::drift_reports;
use conversation::plane::{self, Plane, Planes};
use conversation::poll::Poller;
use conversation::report::{self, Reporter};
use host::Netlink;
use kernel_events::Watch;
use metrics::Metrics;
use reconcile::{Handle, Input, LinkBy, Reconciler};
use secrets::Secrets;
use setup::enroll;

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

impl Error {
    /// The exit code, of sysexits.h where a restart does not help: the unit does not try again then.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        const DATA: u8 = 65;
        const TEMPORARY: u8 = 75;
        const CONFIGURATION: u8 = 78;
        const RELEASED: u8 = 79;
        match self {
            Self::Config(_) | Self::Planes(_) => CONFIGURATION,
            Self::Secrets(secrets::Error::Corrupt(_) | secrets::Error::Missing { .. }) => DATA,
            Self::Locked(_) => TEMPORARY,
            Self::Released => RELEASED,
            _ => 1,
        }
    }
}

/// Runs until `shutdown`. What the cache says is on the interface before anything is dialled; what
/// is on it when this ends stays.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    if state_dir::is_released(&config.state_dir) {
        return Err(Error::Released);
    }
    let secrets = Arc::new(Secrets::open(&config.state_dir)?);
    let _lock = state_dir::lock(&config.state_dir)?.ok_or_else(|| Error::Locked(config.state_dir.clone()))?;
    let (ready, carried_out) = oneshot::channel();
    let (reconcile, thread) = start(&config, &secrets, ready).await?;
    carried_out.await.map_err(|_| Error::ThreadEnded)?;
    // After the cache was carried out: a token that cannot be read keeps no tunnel from a boot.
    let planes = Planes::configured(&config)?;
    let (inbox, metrics) = (reconcile.inbox.clone(), reconcile.metrics.clone());
    let mut tasks = converse(
        planes,
        secrets,
        reconcile,
        server_of(&config.state_dir),
        config.report_interval,
    );
    if let Some(address) = config.metrics_listen {
        show(address, metrics, &mut tasks).await;
    }
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

/// Shows the metrics. An address that cannot be had keeps no tunnel from its host.
async fn show(address: SocketAddr, metrics: Metrics, tasks: &mut JoinSet<()>) {
    match Listening::bind(address).await {
        Ok(listening) => {
            tracing::info!("metrics on http://{}/metrics", listening.address());
            tasks.spawn(listening.serve(move || std::future::ready(metrics.page())));
        }
        Err(error) => tracing::error!(
            "cannot listen on {address} for the metrics: {error} (metrics_listen in the configuration); all else goes on"
        ),
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
        reports,
        target: _,
        metrics,
    } = reconcile;
    let (connected, connections) = shared::channel(0);
    let server = shared::Sender::new(server);
    let reporter = Reporter {
        planes: planes.clone(),
        inbox: inbox.clone(),
        every,
        connected: connections.clone(),
        server: server.subscribe(),
        metrics: metrics.clone(),
    };
    let source = Poller {
        planes: planes.clone(),
        secrets,
        inbox: inbox.clone(),
        position,
        server,
        connected,
        metrics,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(source.run());
    tasks.spawn(reporter.run());
    tasks.spawn(report::deliver_confirmations(
        planes.clone(),
        verdict,
        connections.clone(),
    ));
    tasks.spawn(drift_reports::deliver_drift_reports(
        planes,
        reports,
        inbox,
        connections,
    ));
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
        // Before the first round: what happens after it is not missed.
        let watch = Watch::open();
        let (handle, thread) = match backend {
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
        };
        let watched = watch.and_then(|watch| watch.spawn(handle.target.clone(), handle.inbox.clone()));
        if let Err(error) = watched {
            tracing::warn!("the kernel is not listened to ({error}): drift is seen later");
        }
        Ok((handle, thread))
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
