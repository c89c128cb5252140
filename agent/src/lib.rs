//! The agent: keeps the WireGuard configuration of one VPN host in agreement with the state recorded by the
//! plane.
//!
//! Owns the wiring: one thread for the kernel (`reconcile`), and tasks that communicate with the planes
//! (`conversation`). It must not depend on the plane's storage or REST API. The agent makes outgoing connections
//! only, and opens no port except the one for its metrics, if configured. Stopping it changes nothing on the
//! host.

pub mod arguments;
pub mod cache;
#[cfg(test)]
mod captured_log;
pub mod config;
pub mod conversation;
pub mod counters;
pub mod desired;
pub mod drift;
mod error;
pub mod guard;
pub mod host;
pub mod kernel_events;
pub mod metrics;
pub mod reconcile;
pub mod secrets;
pub mod setup;
mod state_dir;

pub use error::Error;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use wgctl::Clock;
use wgctl::device::kernel::Kernel;
use wgctl::device::userspace::Userspace;
use wgctl::program::metrics::Listening;

use config::{Backend, Config};
use conversation::Planes;
use host::Netlink;
use kernel_events::Watch;
use metrics::Metrics;
use reconcile::{Handle, Input, LinkBy, Reconciler};
use secrets::Secrets;

/// Runs the agent until `shutdown` completes. The cached state is applied to the interface before any plane is
/// dialled. The interface is left as it is when this function returns.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    if state_dir::is_released(&config.state_dir) {
        return Err(Error::Released);
    }
    let secrets = Arc::new(Secrets::open(&config.state_dir)?);
    let _lock = state_dir::lock(&config.state_dir)?.ok_or_else(|| Error::Locked(config.state_dir.clone()))?;
    let (ready, carried_out) = oneshot::channel();
    let (reconcile, thread) = start(&config, &secrets, ready).await?;
    carried_out.await.map_err(|_| Error::ThreadEnded)?;
    // The token is read after the cached state has been applied: a bad token must not keep the tunnels down at boot.
    let planes = Planes::configured(&config)?;
    // Before the first response from a plane, so that the guard knows the planes' addresses when it judges it.
    let hosts = config.plane_hosts();
    let resolved = conversation::resolve_planes(&hosts).await;
    let _ = reconcile.inbox.send(Input::PlanesResolved(resolved));
    let (inbox, metrics) = (reconcile.inbox.clone(), reconcile.metrics.clone());
    let mut tasks = conversation::start(
        planes,
        secrets,
        reconcile,
        cache::server_of(&config.state_dir),
        config.report_interval,
    );
    tasks.spawn(conversation::follow_plane_addresses(hosts, inbox.clone()));
    if let Some(address) = config.metrics_listen {
        show(address, metrics, &mut tasks).await;
    }
    // This does nothing without a service manager. A failed notification must not stop the agent.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!("running");
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        // A task ends only after the thread has ended.
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

/// Serves the metrics. The agent keeps running if the address cannot be bound.
async fn show(address: SocketAddr, metrics: Metrics, tasks: &mut JoinSet<()>) {
    match Listening::bind(address).await {
        Ok(listening) => {
            tracing::info!("metrics on http://{}/metrics", listening.address());
            tasks.spawn(listening.serve(move || std::future::ready(metrics.page())));
        }
        Err(error) => tracing::error!(
            "cannot listen on {address} for the metrics: {error}: change metrics_listen in the configuration; the \
             agent runs without metrics"
        ),
    }
}

/// Opens the backend and starts the thread that owns its sockets.
async fn start(
    config: &Config,
    secrets: &Arc<Secrets>,
    ready: oneshot::Sender<()>,
) -> Result<(Handle, JoinHandle<()>), Error> {
    let (backend, folder, secrets) = (config.backend, config.state_dir.clone(), Arc::clone(secrets));
    let guard = guard::Settings {
        planes: config.plane_hosts(),
        allowed: config.allow_routes.clone(),
    };
    let open = move || -> Result<(Handle, JoinHandle<()>), Error> {
        let host = Netlink::open()?;
        // The sockets are opened before the first round, so that no later change is missed.
        let watch = Watch::open();
        let (handle, thread) = match backend {
            Backend::Kernel => reconcile::spawn(
                Reconciler::new(Kernel::open()?, host, LinkBy::Us, secrets, folder).guarded(guard),
                Clock::default(),
                ready,
            )?,
            Backend::Userspace => reconcile::spawn(
                Reconciler::new(Userspace::new(), host, LinkBy::Others, secrets, folder).guarded(guard),
                Clock::default(),
                ready,
            )?,
        };
        let watched = watch.and_then(|watch| watch.spawn(handle.target.clone(), handle.inbox.clone()));
        if let Err(error) = watched {
            tracing::warn!(
                "the kernel's notifications are unavailable ({error}): only the regular checks will detect drift"
            );
        }
        Ok((handle, thread))
    };
    tokio::task::spawn_blocking(open)
        .await
        .map_err(|_| Error::ThreadEnded)?
}
