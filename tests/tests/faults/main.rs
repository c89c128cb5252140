//! Faults on a real kernel with live traffic. Programs are stopped, killed or cut off, and interfaces
//! are changed externally. Tunnels that a fault does not concern must lose no ping and no session.
//!
//! Each test prints a line of figures (`sentrazone_tests::figures`). The tests need root and a kernel with
//! WireGuard, in a machine whose clock may be set. Run `make faults` for the full counts, or
//! `SENTRAZONE_GUEST=always cargo kernel-test --test faults` for the short form.

mod apart;
mod cache;
mod clock;
mod drift;
mod edited;
mod flapping;
mod frozen;
mod killed;
mod lossy;
mod scene;
mod upgraded;

use tokio::sync::{Mutex, MutexGuard};

/// Waits until no other fault is running, because all faults share the machine's processors and clock.
async fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}
