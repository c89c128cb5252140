//! The thread that the reconciler runs on: kernel calls block, so they have one of their own.
//!
//! Owns the thread and the watchdog's signs of life. It must not decide what the loop does.

use tokio::sync::oneshot;
use tokio::time::timeout;
use wgctl::Clock;
use wgctl::device::Backend;

use super::event_loop::EventLoop;
use super::input::Handle;
use super::reconciler::Reconciler;
use super::watchdog::Watchdog;
use crate::host::Host;

/// Starts the thread. The cached state is carried out first, and `ready` notified after that.
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
            // Wake-ups are handled outside of the runtime: they block, some of them on a runtime of their own.
            loop {
                match timer.block_on(async { timeout(watchdog.interval(), turns.wait_for_wakeup()).await }) {
                    Ok(Some(next)) => turns.take(next),
                    Ok(None) => break,
                    // Nothing to do except a sign of life.
                    Err(_) => {}
                }
                watchdog.alive();
            }
            turns.end();
        })?;
    Ok((handle, thread))
}
