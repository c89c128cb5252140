//! Tests that the reconciler's metrics show its work and its findings.

use wgctl::device::plan::ChangeKind;
use wgctl::drift::DriftPolicy;

use super::*;

/// Returns the value of a series, which must exist.
#[track_caller]
fn shown(rig: &Rig, series: &str) -> f64 {
    let page = rig.reconciler.metrics().page().unwrap();
    let wanted = format!("sentrazone_agent_{series} ");
    let mut values = page.lines().filter_map(|line| line.strip_prefix(&wanted));
    let value = values.next().unwrap_or_else(|| panic!("no {series} in {page}"));
    value.parse().unwrap()
}

#[test]
fn changes_and_their_outcomes_are_counted() {
    let mut rig = Rig::with(&[peer(2), peer(3)]);
    let all = shown(&rig, "reconciles_total{scope=\"all\"}");
    assert!(all >= 1.0 && shown(&rig, "kernel_writes_total") >= 4.0);
    rig.delta(&[peer(4)], &[]);
    assert_eq!(shown(&rig, "reconciles_total{scope=\"peers\"}"), 1.0);
    assert_eq!(
        shown(&rig, "reconciles_total{scope=\"all\"}"),
        all,
        "the change must not cause a full round"
    );
    for series in ["desired_revision", "applied_revision"] {
        assert_eq!(shown(&rig, series), 2.0);
    }
    assert_eq!(
        (shown(&rig, "kernel_errors_total"), shown(&rig, "failing_peers")),
        (0.0, 0.0)
    );
    assert_eq!(shown(&rig, "cache_writes_total{outcome=\"ok\"}"), 2.0);
    rig.round();
    assert_eq!(shown(&rig, "peers"), 3.0);
}

#[test]
fn drift_is_counted_once_under_its_kind() {
    let peers = [peer(2), peer(3)];
    let mut rig = Rig::with(&peers);
    let take_away = |rig: &mut Rig| {
        rig.meddle(vec![meddling(ChangeKind::Remove, peers[0].public_key, &[])]);
        rig.round();
    };
    take_away(&mut rig);
    let counts = |rig: &Rig| {
        let of = |what: &str| shown(rig, &format!("drift_{what}_total{{kind=\"peer_removed\"}}"));
        (of("found"), of("repaired"), shown(rig, "drift_standing"))
    };
    assert_eq!(counts(&rig), (1.0, 1.0, 0.0));
    rig.set_interface(Interface {
        drift: DriftPolicy::Report,
        ..interface()
    });
    take_away(&mut rig);
    rig.round();
    assert_eq!(counts(&rig), (2.0, 1.0, 1.0), "standing drift is counted only once");
    assert!(shown(&rig, "kernel_errors_total") >= 1.0 && shown(&rig, "failing_peers") >= 1.0);
    rig.set_interface(interface());
    rig.round();
    assert_eq!(counts(&rig), (2.0, 2.0, 0.0));
}
