//! Tests of the reports: they are numbered, sent again unchanged, and never counted twice.

use wgctl::PrivateKey;

use super::*;

fn found(kind: DriftKind) -> Finding {
    Finding {
        id: Id {
            kind,
            subject: Subject::Peer(PrivateKey::generate().unwrap().public_key()),
        },
        peer: Some(PeerId::random()),
        detail: kind.to_string(),
        drifted: true,
    }
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_800_000_000)
}

#[test]
fn a_report_is_sent_again_unchanged_until_it_is_acknowledged() {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.report(), None, "nothing to report");
    ledger.add_repaired(found(DriftKind::PeerRemoved), now());
    let first = ledger.report().unwrap();
    assert_eq!((first.sequence, first.repaired.len(), first.seen.len()), (1, 1, 0));
    ledger.add_repaired(found(DriftKind::PeerAdded), now());
    assert_eq!(ledger.report().as_ref(), Some(&first));
    ledger.acknowledge(7);
    assert_eq!(
        ledger.report().as_ref(),
        Some(&first),
        "the number belongs to another report"
    );
    ledger.acknowledge(1);
    let second = ledger.report().unwrap();
    assert_eq!((second.sequence, second.repaired.len()), (2, 1));
    assert_eq!(second.repaired[0].kind, DriftKind::PeerAdded);
    ledger.acknowledge(2);
    assert_eq!(ledger.report(), None);
}

#[test]
fn standing_drift_is_counted_once_and_reported_on_changes_and_to_every_new_plane() {
    let mut ledger = Ledger::default();
    let (one, two) = (found(DriftKind::PeerRemoved), found(DriftKind::PeerChanged));
    ledger.add_standing(one.clone(), now());
    ledger.add_standing(one.clone(), now().after(std::time::Duration::from_secs(9)));
    let report = ledger.report().unwrap();
    assert_eq!((report.seen.len(), report.standing.len()), (1, 1));
    assert_eq!(report.standing[0].seen_at, now(), "the time at which it was first seen");
    ledger.acknowledge(1);
    assert_eq!(ledger.report(), None, "the standing drift has not changed");

    ledger.add_standing(two.clone(), now());
    ledger.retain_only(Side::Device, &BTreeSet::from([two.id]));
    let report = ledger.report().unwrap();
    assert_eq!(
        report.standing.iter().map(|drift| drift.kind).collect::<Vec<_>>(),
        [two.id.kind]
    );
    ledger.acknowledge(2);

    ledger.tell_again();
    let report = ledger.report().unwrap();
    assert_eq!(
        (report.sequence, report.seen.len(), report.standing.len()),
        (3, 0, 1),
        "reported again, but not counted again"
    );
    ledger.acknowledge(3);
    ledger.retain_only(Side::Host, &BTreeSet::new());
    assert_eq!(
        ledger.report(),
        None,
        "a comparison of the host side does not affect peers"
    );
    ledger.add_repaired(two, now().after(std::time::Duration::from_secs(9)));
    let report = ledger.report().unwrap();
    assert!(report.standing.is_empty());
    assert_eq!(report.repaired[0].seen_at, now());
}

#[test]
fn a_restart_repeats_the_report_in_flight_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::load(folder.path()).unwrap();
    let one = found(DriftKind::PeerRemoved);
    ledger.add_standing(one.clone(), now());
    ledger.add_repaired(found(DriftKind::LinkDown), now());
    let under_way = ledger.report();
    ledger.save(folder.path()).unwrap();

    let mut restarted = Ledger::load(folder.path()).unwrap();
    assert_eq!(restarted, ledger);
    restarted.add_standing(one, now());
    assert_eq!(restarted.report(), under_way);
    restarted.acknowledge(1);
    restarted.save(folder.path()).unwrap();
    let mut restarted = Ledger::load(folder.path()).unwrap();
    assert_eq!(restarted.report(), None, "everything has been reported");
    restarted.add_repaired(found(DriftKind::LinkDown), now());
    assert_eq!(restarted.report().unwrap().sequence, 2);
}

#[test]
fn a_file_that_cannot_be_parsed_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(NAME), "{\"incarnation\"").unwrap();
    assert!(Ledger::load(folder.path()).is_err());
}
