//! The delivery of drift reports to the plane.
//!
//! Owns the times at which a report is sent: as soon as one exists, and again after each connection, until it is
//! acknowledged. It must not compose reports: that belongs to the ledger.

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use wgctl::protocol::v1::DriftReport;

use super::plane_calls::{Plane, is_temporary};
use super::planes::Planes;
use crate::drift::DriftReceipt;
use crate::reconcile::Input;

/// Delivers every report until the reconciler ends.
pub(super) async fn deliver_drift_reports<P: Plane>(
    planes: Planes<P>,
    mut reports: watch::Receiver<Option<DriftReport>>,
    inbox: UnboundedSender<Input>,
    mut connected: watch::Receiver<u64>,
) {
    let mut backoff = planes.backoff();
    loop {
        let there = *connected.borrow_and_update() > 0;
        let report = reports.borrow_and_update().clone().filter(|_| there);
        if let (Some(report), Some(plane)) = (report, planes.current()) {
            match plane.drift(&report).await {
                Ok(()) => {
                    backoff.reset();
                    if inbox
                        .send(Input::DriftReceipt(DriftReceipt::Acknowledged(report.sequence)))
                        .is_err()
                    {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!("a drift report was not delivered: {error}");
                    if is_temporary(&error) {
                        if !backoff.sleep_unless(&mut connected).await {
                            return;
                        }
                        continue;
                    }
                }
            }
        }
        tokio::select! {
            biased;
            changed = reports.changed() => if changed.is_err() { return },
            changed = connected.changed() => {
                let told = inbox.send(Input::DriftReceipt(DriftReceipt::PlaneConnected));
                if changed.is_err() || told.is_err() { return }
            }
        }
    }
}
