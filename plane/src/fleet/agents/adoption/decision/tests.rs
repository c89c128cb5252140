//! Tests of the decision on an adoption, case by case.

use wgctl::PrivateKey;
use wgctl::protocol::v1::Sealed;

use super::*;

fn key() -> PublicKey {
    PrivateKey::generate().unwrap().public_key()
}

fn server() -> ServerRecord {
    let at = Timestamp::from_unix(0);
    serde_json::from_value(serde_json::json!({
        "id": "los-angeles", "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/24", "fd00:8::/64"],
        "allowed_ips": ["0.0.0.0/0"], "dns": ["10.8.0.1"], "mtu": 1380, "persistent_keepalive": 25, "interface": "wg0",
        "listen_port": 51820, "adopt": true, "token_hash": vec![0; 32], "created_at": at, "updated_at": at,
    }))
    .unwrap()
}

const LEDGER: Ledger = Ledger {
    revision: 7,
    floor: 1,
    last_place: 3,
    peers: 0,
};

fn peer(allowed_ips: &[&str]) -> FoundPeer {
    FoundPeer {
        id: PeerId::random(),
        public_key: key(),
        name: None,
        preshared_key: None,
        allowed_ips: allowed_ips.iter().map(|net| net.parse().unwrap()).collect(),
        persistent_keepalive: None,
    }
}

fn named(name: &str, allowed_ips: &[&str]) -> FoundPeer {
    FoundPeer {
        name: Some(name.parse().unwrap()),
        ..peer(allowed_ips)
    }
}

fn adoption(peers: Vec<FoundPeer>) -> Adoption {
    Adoption {
        public_key: key(),
        listen_port: Some(51999),
        peers,
    }
}

fn decided(recorded: &[PeerRecord], adoption: &Adoption) -> Decision {
    decide(&server(), &LEDGER, recorded, adoption, Timestamp::from_unix(100))
}

/// Returns the reasons why these peers cannot be imported, each with the index of its peer.
fn reasons(recorded: &[PeerRecord], peers: Vec<FoundPeer>) -> Vec<(Option<usize>, String)> {
    let adoption = adoption(peers);
    let at = |key| adoption.peers.iter().position(|peer| Some(peer.public_key) == key);
    let obstacles = decided(recorded, &adoption).obstacles.into_iter();
    obstacles
        .map(|obstacle| (at(obstacle.public_key), obstacle.reason))
        .collect()
}

#[test]
fn a_peer_keeps_its_addresses_networks_keys_and_keepalive() {
    let sealed = Sealed(vec![7; 72]);
    let one = FoundPeer {
        preshared_key: Some(sealed.clone()),
        persistent_keepalive: Some(21),
        ..named(
            "alice",
            &["fd00:8::9/128", "10.8.0.9/32", "10.8.0.10/32", "192.168.7.1/24"],
        )
    };
    let wanted = adoption(vec![one.clone()]);
    let Decision {
        server,
        imports,
        clients,
        obstacles,
    } = decided(&[], &wanted);
    assert_eq!(obstacles, []);
    let [record] = &imports[..] else {
        panic!("expected one import")
    };
    let texts = |nets: Vec<String>| nets.join(" ");
    assert_eq!(
        texts(record.addresses.iter().map(ToString::to_string).collect()),
        "10.8.0.9 fd00:8::9"
    );
    assert_eq!(
        texts(record.server_allowed_ips.iter().map(ToString::to_string).collect()),
        "10.8.0.10/32 192.168.7.0/24"
    );
    assert_eq!((record.id, record.public_key), (one.id, one.public_key));
    assert_eq!((&record.private_key, &record.preshared_key), (&None, &Some(sealed)));
    assert_eq!((record.host_keepalive, record.enabled), (Some(21), true));
    assert_eq!(
        (record.persistent_keepalive, record.mtu),
        (Some(25), Some(1380)),
        "the device's settings come from the server's defaults"
    );
    assert_eq!((record.place, record.revision), (4, 8));
    assert_eq!(clients, [adopted_peer(record)]);
    assert_eq!(
        (server.public_key, server.listen_port, server.adopt),
        (Some(wanted.public_key), 51999, false)
    );
}

#[test]
fn an_imported_peer_keeps_exactly_its_previous_allowed_ips() {
    let nets = ["10.8.0.9/32", "10.8.0.10/32", "172.16.0.0/12", "fd00:8::9/128"];
    let adoption = adoption(vec![peer(&nets)]);
    let spans: BTreeSet<IpNet> = rules::host_allowed_ips(&decided(&[], &adoption).imports[0])
        .into_iter()
        .collect();
    assert_eq!(spans, nets.iter().map(|net| net.parse().unwrap()).collect());
}

#[test]
fn an_unnamed_peer_is_named_after_its_key_and_no_name_is_used_twice() {
    let recorded = decided(&[], &adoption(vec![named("alice", &["10.8.0.2/32"])])).imports;
    let peers = vec![
        named("alice", &["10.8.0.3/32"]),
        named("bob", &["10.8.0.4/32"]),
        named("bob", &["10.8.0.5/32"]),
        peer(&["10.8.0.6/32"]),
    ];
    let wanted = adoption(peers.clone());
    let names: Vec<String> = decided(&recorded, &wanted)
        .imports
        .iter()
        .map(|peer| peer.name.to_string())
        .collect();
    let made = |at: usize| {
        let safe = peers[at].public_key.to_string()[..8]
            .replace('+', "-")
            .replace('/', "_");
        format!("peer-{safe}")
    };
    assert_eq!(names, [made(0), "bob".to_owned(), made(2), made(3)]);
}

#[test]
fn each_peer_that_cannot_be_imported_is_reported_with_the_reason() {
    for (nets, reason) in [
        (&[][..], "no address in 10.8.0.0/24 or fd00:8::/64"),
        (&["192.168.7.0/24"], "no address in"),
        (&["10.8.0.0/28"], "no address in"),
        (&["10.8.0.1/32"], "the server's own"),
        (&["10.8.0.255/32"], "broadcast"),
        (&["10.8.0.9/32", "0.0.0.0/0"], "/8 is the largest"),
        (&["10.8.0.9/32", "10.8.0.0/28"], "overlaps"),
        (&["10.8.0.9/32", "10.0.0.0/8"], "overlaps"),
        (&["10.8.0.9/32", "172.16.0.0/16", "172.16.9.0/24"], "overlaps"),
    ] {
        let told = reasons(&[], vec![peer(&["10.8.0.77/32"]), peer(nets)]);
        assert!(
            told.iter().all(|(at, _)| *at == Some(1)) && told.iter().any(|(_, words)| words.contains(reason)),
            "{nets:?}: {told:?}"
        );
    }
    let twice = peer(&["10.8.0.9/32"]);
    assert!(reasons(&[], vec![twice.clone(), twice])[0].1.contains("listed twice"));
    let mut wanted = adoption(vec![peer(&["10.8.0.9/32"])]);
    wanted.public_key = wanted.peers[0].public_key;
    assert!(decided(&[], &wanted).obstacles[0].reason.contains("own key"));
}

#[test]
fn overlapping_networks_are_refused_whether_or_not_one_peer_is_already_recorded() {
    let recorded = decided(&[], &adoption(vec![named("alice", &["10.8.0.2/32", "192.168.0.0/16"])])).imports;
    for nets in [
        ["10.8.0.3/32", "192.168.7.0/24"],
        ["10.8.0.2/32", "fd00:8::3/128"],
        ["10.8.0.3/32", "192.0.0.0/8"],
    ] {
        let told = reasons(&recorded, vec![peer(&nets)]);
        assert!(
            told.len() == 1 && told[0].0 == Some(0) && told[0].1.contains("alice"),
            "{nets:?}: {told:?}"
        );
    }
    let told = reasons(
        &[],
        vec![
            peer(&["10.8.0.2/32", "172.16.0.0/16"]),
            peer(&["10.8.0.3/32", "172.16.7.0/24"]),
        ],
    );
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_peer_that_is_already_recorded_keeps_its_record() {
    let mut recorded = decided(&[], &adoption(vec![named("alice", &["10.8.0.2/32"])])).imports;
    recorded[0].enabled = false;
    let again = FoundPeer {
        public_key: recorded[0].public_key,
        ..named("somebody", &["10.8.0.99/32"])
    };
    let decision = decided(&recorded, &adoption(vec![again, peer(&["10.8.0.99/32"])]));
    assert_eq!(decision.obstacles, []);
    assert_eq!(decision.imports.len(), 1);
    assert_eq!(decision.clients[0], adopted_peer(&recorded[0]));
}
