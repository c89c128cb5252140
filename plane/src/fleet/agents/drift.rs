//! Drift: changes made to a server's interface by something other than its agent, as reported by the
//! agent.
//!
//! Owns the record of drift, its audit entries, and the limit on them for each agent. Each message is
//! counted once, even if it is sent several times. It must not decide whether drift is repaired: the
//! agent decides that, according to the server's policy.

use wgctl::drift::Drift;
use wgctl::protocol::v1::DriftReport;
use wgctl::{ServerId, Timestamp};

use super::failure_reason::reason_line;
use crate::fleet::servers::existing::existing;
use crate::fleet::{Caller, Fleet, Refusal};
use crate::model::caller::{Action, Entry};
use crate::model::records::Confirmation;
use crate::store::Change;
use crate::store::Durability;
use crate::store::{DurableWrite, LossyWrite, Read};

/// The maximum number of events in each list of a message.
const EVENTS_AT_ONCE: usize = 64;

/// A drift event, with its action in the audit log.
struct Event {
    action: Action,
    drift: Drift,
}

/// A message whose lists have been checked against the limit.
#[derive(Clone)]
struct CheckedReport {
    report: DriftReport,
    now: Timestamp,
    /// The maximum number of audit records that the message may cause.
    allowed: usize,
}

impl Fleet {
    /// Records external changes to an agent's interface.
    pub async fn drift(&self, caller: &Caller, server: &ServerId, report: DriftReport) -> Result<(), Refusal> {
        let lists = [
            ("repaired", &report.repaired),
            ("seen", &report.seen),
            ("standing", &report.standing),
        ];
        for (field, list) in lists {
            if list.len() > EVENTS_AT_ONCE {
                let detail = format!("{} events: send at most {EVENTS_AT_ONCE} at a time", list.len());
                return Err(Refusal::field_value(field, detail));
            }
        }
        let state = self.store().read(|tx| {
            existing(tx, server)?;
            Ok::<_, Refusal>(tx.confirmation(server)?)
        })?;
        if is_counted(&state, &report) {
            return Ok(());
        }
        let events = report.repaired.len() + report.seen.len();
        let waiting = usize::from(state.drift_left_out > 0);
        let checked = CheckedReport {
            allowed: self.shared.limits.drift_records.take(server, events + waiting),
            now: self.now(),
            report,
        };
        if checked.allowed > 0 && self.audited(caller, server, checked.clone()).await? {
            return Ok(());
        }
        let (id, checked) = (server.clone(), CheckedReport { allowed: 0, ..checked });
        let record = move |tx: &dyn LossyWrite| keep(tx, &id, checked).map(drop);
        self.record_of_agent(caller, server, Durability::Lazy, record).await
    }

    /// Records a message with its audit entries. Returns false if there were no entries, because the
    /// same message has been recorded in the meantime.
    async fn audited(&self, caller: &Caller, server: &ServerId, checked: CheckedReport) -> Result<bool, Refusal> {
        let id = server.clone();
        self.change_of_agent(caller, server, move |tx: &dyn DurableWrite| {
            let entries = keep(tx, &id, checked)?;
            Ok(Change::all(!entries.is_empty(), entries))
        })
        .await
    }
}

/// Returns whether this message has already been counted.
fn is_counted(state: &Confirmation, report: &DriftReport) -> bool {
    state
        .drift_counted
        .is_some_and(|(incarnation, last)| incarnation == report.incarnation && report.sequence <= last)
}

/// Writes the drift in a message and returns the audit entries. If audit entries are allowed but there
/// are none, nothing is written.
fn keep(tx: &dyn LossyWrite, id: &ServerId, checked: CheckedReport) -> Result<Vec<Entry>, Refusal> {
    existing(tx, id)?;
    let mut state = tx.confirmation(id)?;
    let CheckedReport { report, now, allowed } = checked;
    if is_counted(&state, &report) {
        return Ok(Vec::new());
    }
    let repaired = report.repaired.iter().map(|drift| drift.count.max(1));
    state.drift_repaired = repaired.fold(state.drift_repaired, u64::saturating_add);
    state.drift_counted = Some((report.incarnation, report.sequence));
    state.drift = report.standing.into_iter().map(|drift| cleaned(drift, now)).collect();

    let event = |action| move |drift| Event { action, drift };
    let repaired = report.repaired.into_iter().map(event(Action::DriftRepaired));
    let events = repaired.chain(report.seen.into_iter().map(event(Action::DriftSeen)));
    let (told_one_by_one, left_out) = share(events.collect(), state.drift_left_out, allowed);
    let mut entries = Vec::new();
    for event in told_one_by_one {
        entries.push(entry(tx, id, event, now)?);
    }
    state.drift_left_out = left_out;
    if left_out > 0 && allowed > 0 {
        let detail = format!("{left_out} more, too many in a short time to record individually");
        entries.push(Entry::new(Action::DriftSeen, id).with_detail(detail));
        state.drift_left_out = 0;
    }
    if allowed > 0 && entries.is_empty() {
        return Ok(entries);
    }
    tx.put_confirmation(id, &state)?;
    Ok(entries)
}

/// Returns the events that get audit records of their own, and the number of events left out,
/// including those left out earlier. If the events do not all fit, the last allowed record is reserved
/// for the rest.
fn share(mut events: Vec<Event>, left_out: u64, allowed: usize) -> (Vec<Event>, u64) {
    if left_out == 0 && events.len() <= allowed {
        return (events, 0);
    }
    let own = allowed.saturating_sub(1).min(events.len());
    let rest = events.split_off(own).len();
    (events, left_out.saturating_add(u64::try_from(rest).unwrap_or(u64::MAX)))
}

fn entry(tx: &dyn Read, server: &ServerId, event: Event, now: Timestamp) -> Result<Entry, Refusal> {
    let drift = cleaned(event.drift, now);
    let peer = match &drift.peer {
        Some(id) => tx.peer(server, id)?,
        None => None,
    };
    let target = match (peer, drift.public_key) {
        (Some(peer), _) => format!("{server}/{}", peer.name),
        (None, Some(key)) => format!("{server}/{key}"),
        (None, None) => server.to_string(),
    };
    let count = if drift.count > 1 {
        format!(" ({})", drift.count)
    } else {
        String::new()
    };
    let detail = format!("{}{count}: {}", drift.kind, drift.detail);
    Ok(Entry::new(event.action, target).with_detail(detail))
}

/// Returns the drift with its text shortened to one line of limited length, and with a time that is not
/// in the future.
fn cleaned(drift: Drift, now: Timestamp) -> Drift {
    Drift {
        count: drift.count.max(1),
        detail: reason_line(&drift.detail),
        seen_at: drift.seen_at.min(now),
        ..drift
    }
}

#[cfg(test)]
mod tests {
    use wgctl::drift::DriftKind;

    use super::*;

    fn events(count: usize) -> Vec<Event> {
        let drift = Drift {
            kind: DriftKind::LinkDown,
            peer: None,
            public_key: None,
            count: 1,
            detail: String::new(),
            seen_at: Timestamp::default(),
        };
        let event = |_| Event {
            action: Action::DriftSeen,
            drift: drift.clone(),
        };
        (0..count).map(event).collect()
    }

    #[test]
    fn events_that_do_not_fit_are_counted_in_the_last_allowed_record() {
        let shared = |count, left_out, allowed| {
            let (own, left_out) = share(events(count), left_out, allowed);
            (own.len(), left_out)
        };
        assert_eq!(shared(5, 0, 5), (5, 0));
        assert_eq!(shared(5, 0, 3), (2, 3));
        assert_eq!(shared(5, 10, 6), (5, 10), "the sixth is for the ten left out earlier");
        assert_eq!(shared(5, 10, 1), (0, 15));
        assert_eq!(shared(5, 10, 0), (0, 15));
        assert_eq!(shared(0, 10, 1), (0, 10));
    }
}
