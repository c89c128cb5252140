//! Tests of the step from one revision to the next, and example states that other tests use.

use wgctl::PrivateKey;

use super::*;

/// Returns a peer with the address 10.8.0.`number` and a new key.
pub(crate) fn peer(number: u8) -> Peer {
    Peer {
        id: PeerId::random(),
        public_key: PrivateKey::generate().unwrap().public_key(),
        preshared_key: None,
        allowed_ips: vec![format!("10.8.0.{number}/32").parse().unwrap()],
        persistent_keepalive: None,
        expires_at: None,
    }
}

pub(crate) fn interface() -> Interface {
    Interface {
        name: "wg0".parse().unwrap(),
        listen_port: 51820,
        addresses: vec!["10.8.0.1/24".parse().unwrap()],
        mtu: None,
        masquerade: false,
        ping_target: None,
        drift: wgctl::drift::DriftPolicy::default(),
    }
}

pub(crate) fn server() -> ServerId {
    "los-angeles".parse().unwrap()
}

pub(crate) fn answer(incarnation: Incarnation, revision: u64, change: Change) -> Desired {
    Desired {
        version: 1,
        incarnation,
        revision,
        change,
        caused_by: Vec::new(),
        requests: Vec::new(),
        prekeys_wanted: 0,
        public_key: None,
    }
}

pub(crate) fn snapshot(peers: &[Peer]) -> Change {
    Change::Snapshot {
        interface: interface(),
        peers: peers.to_vec(),
    }
}

fn step(state: &mut Option<State>, server_id: &ServerId, desired: Desired) -> Result<ChangeScope, StepError> {
    super::step(state, server_id, desired, Base::Here)
}

fn change(upsert: &[Peer], remove: &[PeerId]) -> Change {
    Change::Delta {
        interface: None,
        upsert: upsert.to_vec(),
        remove: remove.to_vec(),
    }
}

#[test]
fn a_snapshot_replaces_the_state_and_a_delta_returns_the_peers_it_changes() {
    let (life, mut state) = (Incarnation::random(), None);
    let (one, two) = (peer(2), peer(3));
    let all = snapshot(&[one.clone(), two.clone()]);
    assert_eq!(step(&mut state, &server(), answer(life, 4, all)), Ok(ChangeScope::All));
    let mut rekeyed = two.clone();
    rekeyed.public_key = PrivateKey::generate().unwrap().public_key();
    let touched = step(
        &mut state,
        &server(),
        answer(life, 6, change(&[rekeyed.clone()], &[one.id])),
    )
    .unwrap();
    assert_eq!(
        touched,
        ChangeScope::Peers {
            ids: BTreeSet::from([one.id, two.id]),
            keys: vec![one.public_key, rekeyed.public_key, two.public_key]
        }
    );
    let state = state.unwrap();
    assert_eq!(
        (state.revision, state.peers.into_values().collect::<Vec<_>>()),
        (6, vec![rekeyed])
    );
}

#[test]
fn a_delta_without_its_base_state_is_refused() {
    let (life, mut state) = (Incarnation::random(), None);
    assert_eq!(
        step(&mut state, &server(), answer(life, 4, change(&[], &[]))),
        Err(StepError::NoBase)
    );
    step(&mut state, &server(), answer(life, 4, snapshot(&[peer(2)]))).unwrap();
    let another = Incarnation::random();
    assert_eq!(
        step(&mut state, &server(), answer(another, 9, change(&[], &[]))),
        Err(StepError::NoBase)
    );
    assert_eq!(
        step(&mut state, &server(), answer(another, 1, Change::Unchanged)),
        Err(StepError::NoBase)
    );
    assert_eq!(state.unwrap().peers.len(), 1, "no peer was lost");
}

#[test]
fn an_older_revision_never_replaces_a_newer_one() {
    let (life, mut state) = (Incarnation::random(), None);
    step(&mut state, &server(), answer(life, 4, snapshot(&[peer(2)]))).unwrap();
    for late in [snapshot(&[]), change(&[], &[]), Change::Unchanged] {
        let refused = step(&mut state, &server(), answer(life, 3, late));
        assert_eq!(refused, Err(StepError::Older { theirs: 3, ours: 4 }));
    }
    assert_eq!(state.as_ref().unwrap().peers.len(), 1);
    let restored = answer(Incarnation::random(), 1, snapshot(&[]));
    assert_eq!(
        step(&mut state, &server(), restored),
        Ok(ChangeScope::All),
        "revisions of another incarnation are not compared"
    );
}

#[test]
fn an_older_snapshot_replaces_a_newer_state_if_the_full_state_was_requested() {
    let (life, mut state) = (Incarnation::random(), None);
    step(&mut state, &server(), answer(life, 4, snapshot(&[peer(2)]))).unwrap();
    let taken = super::step(&mut state, &server(), answer(life, 1, snapshot(&[])), Base::Nothing);
    assert_eq!((taken, state.unwrap().revision), (Ok(ChangeScope::All), 1));
}

#[test]
fn only_networks_outside_the_interfaces_own_are_routed() {
    let mut routed_peer = peer(2);
    routed_peer.allowed_ips.push("10.50.0.7/16".parse().unwrap());
    let routes: Vec<_> = routed(&interface(), &routed_peer).collect();
    assert_eq!(routes, ["10.50.0.0/16".parse::<IpNet>().unwrap()]);
}
