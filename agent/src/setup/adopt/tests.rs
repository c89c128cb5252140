//! Tests of the enrolment decision, and of the description for the plane.

use std::path::PathBuf;

use wgctl::device::Peer;
use wgctl::name::Incarnation;
use wgctl::protocol::v1::{AdoptedPeer, Recorded};
use wgctl::{PresharedKey, Timestamp};

use super::*;
use crate::desired::tests::{interface, server};
use crate::reconcile::desired_host;
use crate::secrets::Takeover;

fn key() -> PrivateKey {
    PrivateKey::generate().unwrap()
}

fn recorded() -> Recorded {
    Recorded {
        incarnation: Incarnation::random(),
        revision: 3,
        interface: interface(),
        peers: Vec::new(),
    }
}

fn terms(adopt: bool, public_key: Option<PublicKey>) -> Terms {
    Terms {
        server_id: server(),
        adopt,
        public_key,
        endpoint: "vpn.example.com:51820".parse().unwrap(),
        recorded: recorded(),
    }
}

/// Returns an interface with this key and one peer for which every field is set.
fn device(private_key: &PrivateKey) -> Device {
    let peer = Peer {
        preshared_key: Some(PresharedKey::generate().unwrap()),
        persistent_keepalive: 21,
        allowed_ips: ["10.8.0.2/32", "192.168.7.0/24"].map(|net| net.parse().unwrap()).into(),
        endpoint: Some("192.0.2.9:7".parse().unwrap()),
        latest_handshake: Some(Timestamp::from_unix(9)),
        rx_bytes: 1000,
        tx_bytes: 100,
    };
    Device {
        private_key: Some(private_key.clone()),
        listen_port: 51999,
        fwmark: 0,
        peers: [(key().public_key(), peer)].into(),
    }
}

fn import(folder: &Path, private_key: &PrivateKey) -> Import {
    let path: PathBuf = folder.join("wg0.conf");
    let text = format!("[Interface]\nPrivateKey = {}\n", private_key.to_base64().as_str());
    std::fs::write(&path, text).unwrap();
    Import::read(&path).unwrap()
}

fn found(private_key: &PrivateKey) -> ExistingInterface {
    match course(&terms(true, None), None, Some(device(private_key)), None).unwrap() {
        EnrollmentDecision::Adopt(found) => *found,
        EnrollmentDecision::AsRecorded => panic!("expected an adoption"),
    }
}

#[test]
fn an_interface_is_adopted_only_if_the_record_awaits_its_adoption() {
    let (theirs, ours) = (key(), key().public_key());
    let there = || Some(device(&theirs));
    let refused = course(&terms(false, None), Some(&ours), there(), None)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("wgctl server set los-angeles --adopt") && refused.contains("1 peers"),
        "{refused}"
    );
    assert!(matches!(
        course(&terms(true, None), Some(&ours), there(), None),
        Ok(EnrollmentDecision::Adopt(_))
    ));
    assert_eq!(
        course(&terms(false, None), Some(&ours), None, None).unwrap(),
        EnrollmentDecision::AsRecorded
    );
    let own = theirs.public_key();
    assert_eq!(
        course(&terms(false, Some(own)), Some(&own), there(), None).unwrap(),
        EnrollmentDecision::AsRecorded
    );
    assert!(
        matches!(
            course(&terms(true, Some(own)), Some(&own), there(), None),
            Ok(EnrollmentDecision::Adopt(_))
        ),
        "peers may have been added since the release"
    );
    let keyless = Device::default();
    assert_eq!(
        course(&terms(false, None), None, Some(keyless.clone()), None).unwrap(),
        EnrollmentDecision::AsRecorded
    );
    for device in [None, Some(keyless)] {
        let refused = course(&terms(true, None), None, device, None).unwrap_err().to_string();
        assert!(
            refused.contains("--import") && refused.contains("--adopt=false"),
            "{refused}"
        );
    }
}

#[test]
fn an_adoption_whose_response_was_lost_is_sent_again() {
    let theirs = key();
    let recorded = Some(theirs.public_key());
    for own in [None, Some(key().public_key())] {
        let again = course(&terms(false, recorded), own.as_ref(), Some(device(&theirs)), None);
        assert!(matches!(again, Ok(EnrollmentDecision::Adopt(_))), "{again:?}");
    }
}

#[test]
fn a_file_describes_an_interface_that_is_not_up_and_must_match_one_that_is() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = key();
    let file = import(folder.path(), &theirs);
    let Ok(EnrollmentDecision::Adopt(found)) = course(&terms(true, None), None, None, Some(&file)) else {
        panic!("expected the file's interface")
    };
    assert!(!found.runs && found.device.peers.is_empty());
    let Ok(EnrollmentDecision::Adopt(found)) = course(&terms(true, None), None, Some(device(&theirs)), Some(&file))
    else {
        panic!("expected the running interface")
    };
    assert!(found.runs && found.device.peers.len() == 1);
    let other = course(&terms(true, None), None, Some(device(&key())), Some(&file));
    assert!(matches!(other, Err(Error::KeysDiffer { .. })), "{other:?}");
    let unasked = course(&terms(false, None), None, None, Some(&file));
    assert!(matches!(unasked, Err(Error::NotAwaited(_))), "{unasked:?}");
}

#[test]
fn the_description_contains_no_secret_and_its_sealed_keys_open_to_the_originals() {
    let folder = tempfile::tempdir().unwrap();
    let private_key = key();
    let found = found(&private_key);
    let takeover = Takeover::new(folder.path(), private_key.clone()).unwrap();
    let adoption = found.describe(takeover.secrets(), &server()).unwrap();
    let text = serde_json::to_string(&adoption).unwrap();
    let preshared = found
        .device
        .peers
        .values()
        .next()
        .unwrap()
        .preshared_key
        .clone()
        .unwrap();
    for secret in [private_key.to_base64(), preshared.to_base64()] {
        assert!(!text.contains(secret.as_str()));
    }
    let peer = &adoption.peers[0];
    let sealed = peer.preshared_key.as_ref().unwrap();
    let opened = takeover
        .secrets()
        .open_preshared_key(&server(), peer.id, sealed)
        .unwrap();
    assert_eq!(opened, preshared);
    assert_eq!(
        (adoption.listen_port, peer.persistent_keepalive),
        (Some(51999), Some(21))
    );
}

#[test]
fn the_first_run_after_an_adoption_changes_nothing_on_the_interface() {
    let folder = tempfile::tempdir().unwrap();
    let private_key = key();
    let found = found(&private_key);
    let takeover = Takeover::new(folder.path(), private_key).unwrap();
    let adoption = found.describe(takeover.secrets(), &server()).unwrap();
    let mut recorded = recorded();
    recorded.interface.listen_port = adoption.listen_port.unwrap();
    let wire = |peer: &FoundPeer| wgctl::protocol::v1::Peer {
        id: peer.id,
        public_key: peer.public_key,
        preshared_key: peer.preshared_key.clone(),
        allowed_ips: peer.allowed_ips.clone(),
        persistent_keepalive: peer.persistent_keepalive,
        expires_at: None,
    };
    recorded.peers = adoption.peers.iter().map(wire).collect();
    let wanted = desired_host(takeover.secrets(), &server(), &recorded, Timestamp::from_unix(10));
    let said = crate::setup::preview::changes(&wanted, &found.device, &BTreeMap::new());
    assert!(said.is_empty(), "{said:?}");

    let clients = adoption.peers.iter().map(|peer| AdoptedPeer {
        id: peer.id,
        public_key: peer.public_key,
        name: "alice".parse().unwrap(),
        addresses: Vec::new(),
        networks: Vec::new(),
    });
    let adopted = Adopted {
        recorded: recorded.clone(),
        clients: clients.collect(),
        obstacles: Vec::new(),
    };
    found.note(folder.path(), &server(), adopted).unwrap();
    let state = cache::load(folder.path()).unwrap().unwrap();
    assert_eq!((state.revision, state.peers.len()), (recorded.revision, 1));
    let mut counters = Counters::load(folder.path(), uptime()).unwrap().unwrap();
    let id = adoption.peers[0].id;
    counters.observe(&found.device, |_| Some(id), |_| true);
    let told = counters.batch().unwrap().peers[&id];
    assert_eq!((told.rx, told.tx), (0, 0), "earlier transfers are not counted");
    assert_eq!(told.latest_handshake_at, Some(Timestamp::from_unix(9)));
}
