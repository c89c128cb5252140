//! The drift events since the last report, limited in number.
//!
//! Owns the limits: a report holds a limited number of events, and the buffer a limited number of each kind.
//! Further events are only counted. It must not perform I/O.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wgctl::drift::{Drift, DriftKind};

/// The maximum number of events in one report, as defined by the protocol.
pub(super) const AT_MOST: usize = 64;
/// The maximum length of a detail in characters, as defined by the protocol.
const DETAIL: usize = 300;

/// Events by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventBuffer(BTreeMap<DriftKind, KindBuffer>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KindBuffer {
    /// The first events, oldest first.
    first: Vec<Drift>,
    /// The number of further events.
    more: u64,
}

impl KindBuffer {
    const fn entries(&self) -> usize {
        match self.more {
            0 => self.first.len(),
            _ => 1,
        }
    }

    fn fold(&mut self) {
        let rest = self.first.drain(1..).map(|drift| drift.count).sum::<u64>();
        self.more = self.more.saturating_add(rest);
    }

    fn into_events(mut self) -> Vec<Drift> {
        if self.more > 0 {
            self.fold();
            if let Some(first) = self.first.first_mut() {
                first.detail = cut(&format!("{}; and {} more", first.detail, self.more));
                first.count = first.count.saturating_add(self.more);
                (first.peer, first.public_key) = (None, None);
            }
        }
        self.first
    }
}

impl EventBuffer {
    pub(super) fn add(&mut self, drift: Drift) {
        let buffer = self.0.entry(drift.kind).or_default();
        if buffer.first.len() < AT_MOST {
            buffer.first.push(drift);
        } else {
            buffer.more = buffer.more.saturating_add(drift.count);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Converts the buffer into at most [`AT_MOST`] events. If there are more, the events of the most frequent kinds
    /// are merged into one event per kind.
    pub(super) fn into_events(mut self) -> Vec<Drift> {
        while self.0.values().map(KindBuffer::entries).sum::<usize>() > AT_MOST {
            let Some(largest) = self.0.values_mut().max_by_key(|buffer| buffer.entries()) else {
                break;
            };
            largest.fold();
        }
        self.0.into_values().flat_map(KindBuffer::into_events).collect()
    }
}

/// Truncates a detail to the length that the protocol allows.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use wgctl::{PeerId, Timestamp};

    use super::*;

    fn event(kind: DriftKind) -> Drift {
        Drift {
            kind,
            peer: Some(PeerId::random()),
            public_key: None,
            count: 1,
            detail: cut(&"x".repeat(400)),
            seen_at: Timestamp::from_unix(1_800_000_000),
        }
    }

    fn gathered(counts: &[(DriftKind, u64)]) -> Vec<Drift> {
        let mut gathering = EventBuffer::default();
        for (kind, count) in counts {
            (0..*count).for_each(|_| gathering.add(event(*kind)));
        }
        gathering.into_events()
    }

    #[test]
    fn a_few_events_are_reported_individually() {
        let events = gathered(&[(DriftKind::PeerRemoved, 60), (DriftKind::LinkDown, 4)]);
        assert_eq!(events.len(), 64);
        assert!(events.iter().all(|event| event.count == 1 && event.peer.is_some()));
    }

    #[test]
    fn many_events_are_merged_by_kind_and_none_is_lost() {
        let cases: [&[(DriftKind, u64)]; 3] = [
            &[(DriftKind::PeerRemoved, 65)],
            &[(DriftKind::PeerRemoved, 50_000), (DriftKind::LinkDown, 3)],
            &DriftKind::ALL.map(|kind| (kind, 100)),
        ];
        for counts in cases {
            let events = gathered(counts);
            assert!(events.len() <= AT_MOST, "{}", events.len());
            for (kind, count) in counts {
                let buffer = events.iter().filter(|event| event.kind == *kind);
                assert_eq!(buffer.map(|event| event.count).sum::<u64>(), *count, "{kind}");
            }
            for event in events {
                assert!(event.detail.chars().count() <= DETAIL);
                assert_eq!(event.count == 1, event.peer.is_some());
            }
        }
    }

    #[test]
    fn only_the_kind_with_many_events_is_merged() {
        let events = gathered(&[(DriftKind::PeerRemoved, 1000), (DriftKind::LinkDown, 3)]);
        assert_eq!(events.len(), 4);
    }
}
