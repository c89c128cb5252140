//! Confirmations: the verdict on the latest revision, sent to the plane.
//!
//! Owns when one is sent: whenever the verdict changes, after each connection, and now and then. It
//! must not judge: the verdict is the reconciler's.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::plane::{Plane, is_temporary};
use super::planes::Planes;
use crate::reconcile::Verdict;

/// The interval after which a confirmation is repeated. It corrects one that was overtaken on its way by
/// an older one.
const CONFIRM_AGAIN: Duration = Duration::from_secs(60);

/// Confirms every verdict, and the latest one again after each connection and at intervals, until the
/// reconciler ends.
pub(super) async fn deliver_confirmations<P: Plane>(
    planes: Planes<P>,
    mut verdict: watch::Receiver<Verdict>,
    mut connected: watch::Receiver<u64>,
) {
    let mut backoff = planes.backoff();
    loop {
        let message = verdict.borrow_and_update().message();
        // A plane that has not accepted the introduction may belong to another server.
        let is_ours = *connected.borrow_and_update() > 0;
        if let (true, Some(message), Some(plane)) = (is_ours, message, planes.current()) {
            if let Err(error) = plane.applied(&message).await {
                tracing::debug!("not confirmed: {error}");
                if is_temporary(&error) {
                    if !backoff.sleep_unless(&mut connected).await {
                        return;
                    }
                    continue;
                }
            } else {
                backoff.reset();
            }
        }
        tokio::select! {
            biased;
            changed = verdict.changed() => if changed.is_err() { return },
            changed = connected.changed() => if changed.is_err() { return },
            () = sleep(CONFIRM_AGAIN) => {}
        }
    }
}
