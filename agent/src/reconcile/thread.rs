//! The thread on which the reconciler runs: kernel calls block, so they need a separate thread.
//!
//! Owns the thread and the calls to the watchdog. It must not decide what the loop does.

use tokio::sync::oneshot;
use tokio::time::timeout;
use wgctl::Clock;
use wgctl::device::Backend;

use super::event_loop::EventLoop;
use super::input::Handle;
use super::reconciler::Reconciler;
use super::watchdog::Watchdog;
use crate::host::Host;

/// Starts the thread. The cached state is applied first, and then `ready` is notified.
pub fn spawn<B, H>(
    reconciler: Reconciler<B, H>,
    clock: Clock,
    ready: oneshot::Sender<()>,
) -> std::io::Result<(Handle, std::thread::JoinHandle<()>)>
where
    B: Backend + 'static,
    H: Host + 'static,
{
    let (mut turns, handle) = EventLoop::new(reconciler, clock);
    let timer = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = std::thread::Builder::new()
        .name("reconcile".to_owned())
        .spawn(move || {
            let mut watchdog = Watchdog::new();
            turns.begin(ready);
            watchdog.alive();
            // Wake-ups are handled outside the runtime: the handling blocks, in some cases on another runtime.
            loop {
                match timer.block_on(async { timeout(watchdog.interval(), turns.wait_for_wakeup()).await }) {
                    Ok(Some(next)) => turns.take(next),
                    Ok(None) => break,
                    // Only a keep-alive notification is due.
                    Err(_) => {}
                }
                watchdog.alive();
            }
            turns.end();
        })?;
    Ok((handle, thread))
}
