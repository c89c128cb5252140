//! Drift reported by agents: its record, its audit entries, and the limit on them.

use wgctl::api::{AuditRecord, ServerPatch};
use wgctl::drift::{Drift, DriftKind, DriftPolicy};
use wgctl::name::Incarnation;
use wgctl::protocol::v1::DriftReport;

use super::*;

fn drift(kind: DriftKind, peer: Option<PeerId>) -> Drift {
    Drift {
        kind,
        peer,
        public_key: None,
        count: 1,
        detail: "found\nso".to_owned(),
        seen_at: Timestamp::from_unix(1_700_000_000),
    }
}

fn message(incarnation: Incarnation, sequence: u64, repaired: Vec<Drift>) -> DriftReport {
    DriftReport {
        incarnation,
        sequence,
        repaired,
        seen: Vec::new(),
        standing: Vec::new(),
    }
}

impl Scene {
    async fn tell(&self, report: DriftReport) -> Result<(), Refusal> {
        self.fleet.drift(&self.caller(), &self.server, report).await
    }

    async fn of_drift(&self) -> Vec<AuditRecord> {
        let query = AuditQuery {
            limit: Some(1000),
            actor: Some("agent:los-angeles".to_owned()),
            ..AuditQuery::default()
        };
        self.fleet.audit(query).await.unwrap()
    }

    async fn repaired(&self) -> u64 {
        self.fleet.server(&self.server).unwrap().drift_repaired
    }
}

#[tokio::test]
async fn each_event_is_recorded_once_no_matter_how_often_it_is_sent() {
    let scene = scene().await;
    let alice = scene.create(with_key("alice")).await.unwrap();
    let stranger = PrivateKey::generate().unwrap().public_key();
    let added = Drift {
        public_key: Some(stranger),
        ..drift(DriftKind::PeerAdded, None)
    };
    let gone = drift(DriftKind::PeerRemoved, Some(PeerId::random()));
    let many = Drift {
        count: 12,
        detail: "x".repeat(1000),
        ..drift(DriftKind::PeerRemoved, None)
    };
    let removed = drift(DriftKind::PeerRemoved, Some(alice.id));
    let report = DriftReport {
        seen: vec![drift(DriftKind::MtuChanged, None)],
        standing: vec![drift(DriftKind::MtuChanged, None)],
        ..message(Incarnation::random(), 1, vec![removed, added, gone, many])
    };
    for _ in 0..3 {
        scene.tell(report.clone()).await.unwrap();
    }
    let told: Vec<_> = scene.of_drift().await.into_iter().rev().collect();
    let shown: Vec<_> = told
        .iter()
        .map(|record| {
            (
                record.action.as_str(),
                record.target.as_str(),
                record.detail.as_deref().unwrap(),
            )
        })
        .collect();
    let cut = format!("peer_removed (12): {}", "x".repeat(300));
    assert_eq!(
        shown,
        [
            ("drift_repaired", "los-angeles/alice", "peer_removed: found so"),
            (
                "drift_repaired",
                &*format!("los-angeles/{stranger}"),
                "peer_added: found so"
            ),
            ("drift_repaired", "los-angeles", "peer_removed: found so"),
            ("drift_repaired", "los-angeles", cut.as_str()),
            ("drift_seen", "los-angeles", "mtu_changed: found so"),
        ]
    );
    assert_eq!(scene.repaired().await, 15);
    let status = scene.fleet.statuses().await.unwrap().remove(0);
    assert_eq!((status.drift.len(), status.drift_repaired), (1, 15));
    assert_eq!(status.drift[0].detail, "found so");

    let cleared = message(report.incarnation, 2, Vec::new());
    scene.tell(cleared).await.unwrap();
    assert!(scene.fleet.server(&scene.server).unwrap().drift.is_empty());
    assert_eq!(
        scene.of_drift().await.len(),
        5,
        "the end of standing drift is not an event"
    );
}

#[tokio::test]
async fn an_agent_that_reports_drift_endlessly_does_not_fill_the_log() {
    let scene = scene().await;
    let life = Incarnation::random();
    for sequence in 1..=100 {
        let events = vec![drift(DriftKind::LinkDown, None); 64];
        scene.tell(message(life, sequence, events)).await.unwrap();
    }
    let records = scene.of_drift().await.len();
    assert!((128..=140).contains(&records), "{records}");
    assert_eq!(scene.repaired().await, 6400, "every event is counted");
    let too_many = message(life, 101, vec![drift(DriftKind::LinkDown, None); 65]);
    assert_eq!(scene.tell(too_many).await.unwrap_err().field(), Some("repaired"));
}

#[tokio::test]
async fn a_change_to_the_drift_policy_reaches_the_agent() {
    let scene = scene().await;
    let before = scene.poll(0).await.revision;
    let patch = |policy| ServerPatch {
        drift_policy: Some(policy),
        ..ServerPatch::default()
    };
    let shown = async |policy| {
        let changed = scene.fleet.update_server(&admin(), &scene.server, patch(policy)).await;
        changed.unwrap().drift_policy
    };
    assert_eq!(shown(DriftPolicy::Report).await, DriftPolicy::Report);
    assert_eq!(shown(DriftPolicy::Report).await, DriftPolicy::Report);
    let told = scene.poll(before).await;
    assert_eq!(
        told.revision,
        before + 1,
        "setting the same policy again is not a change"
    );
    assert!(
        matches!(&told.change, Change::Delta { interface: Some(i), .. } if i.drift == DriftPolicy::Report),
        "{:?}",
        told.change
    );
}
