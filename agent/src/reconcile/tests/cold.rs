//! A start without a plane: a cache that lost its tail takes nobody away.

use wgctl::device::plan::ChangeKind::Create;

use super::*;

/// An answer of the plane, given the peer that the cache does not know.
type Answer = fn(&v1::Peer) -> Change;

impl Rig {
    /// An agent that is started over an interface with a peer that its cache does not know.
    fn cold(known: &[v1::Peer], newer: &v1::Peer) -> Self {
        let mut rig = Self::with(known);
        let networks: Vec<String> = newer.allowed_ips.iter().map(ToString::to_string).collect();
        let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
        rig.meddle(vec![meddling(Create, newer.public_key, &networks)]);
        rig.restart();
        rig.round();
        rig
    }
}

#[test]
fn before_the_plane_answers_nobody_is_removed_and_the_rest_is_mended() {
    let end = Rig::new().now.after(Duration::from_secs(60));
    let (one, newer) = (peer(2), peer(9));
    let guest = v1::Peer {
        expires_at: Some(end),
        ..peer(3)
    };
    let mut rig = Rig::cold(&[one.clone(), guest.clone()], &newer);
    rig.meddle(vec![meddling(
        wgctl::device::plan::ChangeKind::Remove,
        one.public_key,
        &[],
    )]);
    rig.round();
    rig.round();
    assert_eq!(rig.keys(), keys(&[&one, &guest, &newer]));
    assert!(rig.reconciler.verdict().is_clean());
    rig.now = end;
    rig.round();
    assert_eq!(
        rig.keys(),
        keys(&[&one, &newer]),
        "an end is enforced by the agent's own clock"
    );
}

#[test]
fn the_first_answer_completes_the_round_whatever_it_is() {
    let (one, newer) = (peer(2), peer(9));
    let nothing = |_: &v1::Peer| Change::Unchanged;
    let recorded = |newer: &v1::Peer| Change::Delta {
        interface: None,
        upsert: vec![newer.clone()],
        remove: Vec::new(),
    };
    let everything = |_: &v1::Peer| snapshot(&[]);
    let cases: [(Answer, Vec<&v1::Peer>); 3] = [
        (nothing, vec![&one]),
        (recorded, vec![&one, &newer]),
        (everything, vec![]),
    ];
    for (change, left) in cases {
        let mut rig = Rig::cold(std::slice::from_ref(&one), &newer);
        assert_eq!(rig.keys(), keys(&[&one, &newer]));
        rig.take(change(&newer)).unwrap();
        assert_eq!(rig.keys(), keys(&left));
    }
}

#[test]
fn an_answer_that_is_not_taken_completes_nothing() {
    let newer = peer(9);
    let mut rig = Rig::cold(&[], &newer);
    let late = answer(Incarnation::random(), 1, Change::Unchanged);
    let now = rig.now;
    assert!(rig.reconciler.take(&server(), late, Base::Here, now).is_err());
    rig.round();
    assert_eq!(rig.keys(), keys(&[&newer]));
}
