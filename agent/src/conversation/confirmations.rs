//! Confirmations: the verdict on the latest revision, sent to the plane.
//!
//! Owns the times at which a confirmation is sent: whenever the verdict changes, after each connection, and
//! periodically. It must not decide the verdict: that belongs to the reconciler.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::plane_calls::{Plane, is_temporary};
use super::planes::Planes;
use crate::reconcile::Verdict;

/// The interval at which the latest confirmation is repeated. This corrects the plane's record if an older
/// confirmation arrived after a newer one.
const CONFIRM_AGAIN: Duration = Duration::from_secs(60);

/// Sends the verdict whenever it changes, and again after each connection and at intervals, until the reconciler
/// ends.
pub(super) async fn deliver_confirmations<P: Plane>(
    planes: Planes<P>,
    mut verdict: watch::Receiver<Verdict>,
    mut connected: watch::Receiver<u64>,
) {
    let mut backoff = planes.backoff();
    loop {
        let message = verdict.borrow_and_update().message();
        // A plane that has not accepted the introduction may have a different server's record.
        let is_ours = *connected.borrow_and_update() > 0;
        if let (true, Some(message), Some(plane)) = (is_ours, message, planes.current()) {
            if let Err(error) = plane.applied(&message).await {
                tracing::debug!("the confirmation was not delivered: {error}");
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
