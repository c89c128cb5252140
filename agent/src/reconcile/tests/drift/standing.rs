//! Tests of standing drift: it remains until its record changes, and never includes changes that have not been
//! applied yet.

use wgctl::PresharedKey;
use wgctl::device::plan::ChangeKind::{Create, Remove, Update};
use wgctl::drift::DriftKind::*;

use super::*;

#[test]
fn a_peer_with_standing_drift_is_reported_until_its_record_changes() {
    for by_snapshot in [false, true] {
        let (mut rig, mut peers) = Rig::desired_host(DriftPolicy::Report);
        let gone: Vec<PeerChange> = peers
            .iter()
            .map(|peer| meddling(Remove, peer.public_key, &[]))
            .collect();
        rig.meddle(gone[..2].to_vec());
        rig.round();
        for peer in &peers[..2] {
            let said = rig.failed(peer).unwrap();
            assert!(
                said.contains("changed externally") && said.contains("is not on wg0"),
                "{said}"
            );
        }
        assert_eq!(rig.failed(&peers[2]), None);
        assert_eq!(rig.told().unwrap().standing, [PeerRemoved, PeerRemoved]);
        peers[0].allowed_ips = vec!["10.8.0.22/32".parse().unwrap()];
        if by_snapshot {
            let change = Change::Snapshot {
                interface: with_policy(DriftPolicy::Report),
                peers: peers.clone(),
            };
            rig.take(change).unwrap();
        } else {
            rig.delta(&peers[..1], &[]);
        }
        rig.round();
        assert_eq!(rig.keys(), keys(&[&peers[0], &peers[2]]));
        assert_eq!(rig.failed(&peers[0]), None);
        assert!(rig.failed(&peers[1]).is_some(), "its record has not changed");
        let left = Reported {
            standing: vec![PeerRemoved],
            ..Reported::default()
        };
        assert_eq!(rig.told(), Some(left));
    }
}

#[test]
fn a_changed_record_is_applied_even_if_the_previous_reading_failed() {
    let (mut rig, peers) = Rig::desired_host(DriftPolicy::Report);
    let newcomer = peer(9);
    rig.meddle(vec![
        meddling(Remove, peers[0].public_key, &[]),
        meddling(Create, newcomer.public_key, &["10.77.0.0/16"]),
    ]);
    rig.round();
    assert_eq!(rig.told().unwrap().standing, sorted(&[PeerRemoved, PeerAdded]));
    rig.devices.fail_reads(1);
    rig.round();
    let changed = v1::Peer {
        persistent_keepalive: Some(25),
        ..peers[0].clone()
    };
    rig.delta(&[changed, newcomer.clone()], &[]);
    assert_eq!(rig.device().peers[&peers[0].public_key].persistent_keepalive, 25);
    let networks = &rig.device().peers[&newcomer.public_key].allowed_ips;
    assert_eq!(*networks, newcomer.allowed_ips.iter().copied().collect());
    assert!(rig.reconciler.verdict().is_clean());
}

#[test]
fn a_drifted_route_is_set_when_its_peers_record_changes() {
    let (mut rig, peers) = Rig::desired_host(DriftPolicy::Report);
    rig.host.meddle(&name(), |shown| {
        shown.routes.retain(|route| !shown.our_routes.contains(route));
        shown.our_routes.clear();
    });
    rig.round();
    rig.delta(std::slice::from_ref(&peers[0]), &[]);
    rig.round();
    assert!(
        rig.shown().unwrap().our_routes.is_empty(),
        "the route belongs to another peer"
    );
    let changed = v1::Peer {
        persistent_keepalive: Some(25),
        ..peers[2].clone()
    };
    rig.delta(&[changed], &[]);
    rig.round();
    assert_eq!(rig.shown().unwrap().our_routes.len(), 1);
}

#[test]
fn a_drifted_setting_is_applied_when_its_record_changes() {
    let (mut rig, _) = Rig::desired_host(DriftPolicy::Report);
    rig.set(Plan {
        listen_port: Some(6000),
        ..Plan::default()
    });
    rig.host.meddle(&name(), |shown| shown.mtu = 1300);
    rig.round();
    rig.set_interface(Interface {
        listen_port: 51999,
        ..with_policy(DriftPolicy::Report)
    });
    assert_eq!((rig.device().listen_port, rig.shown().unwrap().mtu), (51999, 1300));
    rig.set_interface(Interface {
        listen_port: 51999,
        mtu: Some(1400),
        ..with_policy(DriftPolicy::Report)
    });
    assert_eq!(rig.shown().unwrap().mtu, 1400);
}

#[test]
fn drifted_addresses_and_masquerading_are_applied_when_the_recorded_addresses_change() {
    let (mut rig, _) = Rig::desired_host(DriftPolicy::Report);
    rig.host.meddle(&name(), |shown| {
        shown.addresses.insert("10.9.0.1/24".parse().unwrap());
        shown.masquerade = Masquerade::None;
    });
    rig.round();
    rig.set_interface(Interface {
        listen_port: 51999,
        ..with_policy(DriftPolicy::Report)
    });
    let shown = rig.shown().unwrap();
    assert_eq!(
        (shown.addresses.len(), shown.masquerade),
        (interface().addresses.len() + 1, Masquerade::None)
    );
    let addresses = vec!["10.8.0.254/24".parse().unwrap()];
    rig.set_interface(Interface {
        listen_port: 51999,
        addresses: addresses.clone(),
        ..with_policy(DriftPolicy::Report)
    });
    let shown = rig.shown().unwrap();
    assert_eq!(shown.addresses, addresses.into_iter().collect());
    assert_ne!(shown.masquerade, Masquerade::None);
}

#[test]
fn unrepairable_drift_stands_only_if_the_earlier_state_is_known() {
    for restarted in [false, true] {
        let (mut rig, peers) = Rig::desired_host(DriftPolicy::Enforce);
        let gone = peers[1].public_key;
        rig.meddle(vec![meddling(Remove, gone, &[])]);
        rig.devices.refuse(gone);
        if restarted {
            rig.restart();
        }
        rig.round();
        assert!(rig.failed(&peers[1]).is_some());
        let stands = Reported {
            seen: vec![PeerRemoved],
            standing: vec![PeerRemoved],
            ..Reported::default()
        };
        assert_eq!(rig.told(), (!restarted).then_some(stands), "restarted: {restarted}");
    }
}

#[test]
fn a_different_interface_in_the_record_is_created_and_is_not_drift() {
    for policy in [DriftPolicy::Enforce, DriftPolicy::Report] {
        let (mut rig, peers) = Rig::desired_host(policy);
        rig.set(Plan {
            listen_port: Some(6000),
            ..Plan::default()
        });
        rig.round();
        rig.told();
        let other: InterfaceName = "wg7".parse().unwrap();
        rig.set_interface(Interface {
            name: other.clone(),
            ..with_policy(policy)
        });
        let device = rig.devices.device(&other).unwrap();
        assert_eq!((device.peers.len(), device.listen_port), (peers.len(), 51820));
        assert_eq!(
            rig.host.shown(&other).unwrap().addresses.len(),
            interface().addresses.len()
        );
        assert!(
            rig.told().is_none_or(|told| told == Reported::default()),
            "no drift is standing any more"
        );
        assert!(rig.reconciler.verdict().is_clean(), "{:?}", rig.reconciler.verdict());
    }
}

#[test]
fn an_unknown_peer_is_no_longer_drift_once_it_is_recorded() {
    let (mut rig, peers) = Rig::desired_host(DriftPolicy::Report);
    let newcomer = peer(9);
    rig.meddle(vec![meddling(Create, newcomer.public_key, &["10.77.0.0/16"])]);
    rig.round();
    assert_eq!(rig.told().unwrap().standing, [PeerAdded]);
    rig.delta(std::slice::from_ref(&newcomer), &[]);
    assert_eq!(rig.told(), Some(Reported::default()), "the drift is no longer standing");
    rig.round();
    let networks = rig.device().peers[&newcomer.public_key].allowed_ips.clone();
    assert_eq!(networks, newcomer.allowed_ips.iter().copied().collect());
    assert_eq!(rig.keys().len(), peers.len() + 1);
    assert!(rig.reconciler.verdict().is_clean());
}

#[test]
fn drift_that_is_reverted_externally_no_longer_stands() {
    let (mut rig, peers) = Rig::desired_host(DriftPolicy::Report);
    rig.meddle(vec![meddling(Update, peers[1].public_key, &["10.9.9.9/32"])]);
    rig.round();
    assert_eq!(rig.told().unwrap().standing, [AllowedIpsChanged]);
    rig.meddle(vec![PeerChange {
        replace_allowed_ips: true,
        ..meddling(Update, peers[1].public_key, &["10.8.0.3/32"])
    }]);
    rig.round();
    assert_eq!(
        rig.told(),
        Some(Reported::default()),
        "no drift is standing, and none was repaired"
    );
    assert!(rig.reconciler.verdict().is_clean());
}

#[test]
fn changes_that_have_not_been_applied_yet_are_not_drift() {
    for policy in [DriftPolicy::Enforce, DriftPolicy::Report] {
        let (mut rig, peers) = Rig::desired_host(policy);
        let (bad, end) = (peer(8), rig.now.after(Duration::from_secs(60)));
        rig.devices.refuse(bad.public_key);
        rig.devices.take_port(51821);
        rig.host.fail_repairs(2);
        let guest = v1::Peer {
            expires_at: Some(end),
            ..peer(9)
        };
        rig.delta(&[bad.clone(), guest.clone()], &[]);
        rig.set_interface(Interface {
            listen_port: 51821,
            mtu: None,
            addresses: vec!["10.8.0.1/24".parse().unwrap(), "10.9.0.1/24".parse().unwrap()],
            ..with_policy(policy)
        });
        rig.round();
        rig.devices.accept(&bad.public_key);
        rig.now = end;
        rig.round();
        assert!(rig.keys().contains(&bad.public_key) && !rig.keys().contains(&guest.public_key));
        rig.delta(&[], &peers[..1]);
        rig.devices.set_counters(&name(), &peers[1].public_key, 7, 8);
        rig.devices.set_handshake(&name(), &peers[1].public_key, rig.now);
        rig.meddle(vec![PeerChange {
            endpoint: Some("192.0.2.7:5000".parse().unwrap()),
            ..meddling(Update, peers[1].public_key, &[])
        }]);
        rig.devices.fail_reads(1);
        rig.round();
        rig.round();
        assert_eq!(rig.told(), None);
    }
}

#[test]
fn an_expired_peer_is_removed_even_if_it_was_changed_externally() {
    let (mut rig, _) = Rig::desired_host(DriftPolicy::Report);
    let end = rig.now.after(Duration::from_secs(60));
    let guest = v1::Peer {
        expires_at: Some(end),
        ..peer(9)
    };
    rig.delta(std::slice::from_ref(&guest), &[]);
    rig.meddle(vec![meddling(Update, guest.public_key, &["10.9.9.9/32"])]);
    rig.round();
    assert!(rig.keys().contains(&guest.public_key) && rig.failed(&guest).is_some());
    rig.now = end;
    rig.round();
    assert!(!rig.keys().contains(&guest.public_key));
    assert!(rig.reconciler.verdict().is_clean());
}

#[test]
fn drift_that_cannot_be_repaired_stands_until_it_can_be() {
    let (mut rig, _) = Rig::desired_host(DriftPolicy::Enforce);
    rig.host.meddle(&name(), |shown| shown.up = false);
    rig.host.fail_repairs(1);
    rig.round();
    let left = Reported {
        seen: vec![LinkDown],
        standing: vec![LinkDown],
        ..Reported::default()
    };
    assert_eq!(rig.told(), Some(left));
    assert!(rig.reconciler.verdict().interface_failed.is_some());
    rig.round();
    let repaired = Reported {
        repaired: vec![LinkDown],
        ..Reported::default()
    };
    assert_eq!(rig.told(), Some(repaired));
}

#[test]
fn drift_of_a_thousand_peers_is_one_event_with_their_number() {
    let peers: Vec<_> = (0..1000u16)
        .map(|number| v1::Peer {
            allowed_ips: vec![format!("10.60.{}.{}/32", number / 256, number % 256).parse().unwrap()],
            ..peer(2)
        })
        .collect();
    let mut rig = Rig::with(&peers);
    let all = peers.iter().map(|peer| meddling(Remove, peer.public_key, &[]));
    rig.meddle(all.collect());
    rig.round();
    let report = rig.reconciler.reports().borrow().clone().unwrap();
    assert_eq!((report.repaired.len(), report.repaired[0].count), (1, 1000));
    assert_eq!(rig.keys().len(), 1000);
}

#[test]
fn no_detail_contains_a_secret() {
    let (mut rig, peers) = Rig::desired_host(DriftPolicy::Report);
    let (private, preshared) = (PrivateKey::generate().unwrap(), PresharedKey::generate().unwrap());
    let secrets = [
        private.to_base64().to_string(),
        preshared.to_base64().to_string(),
        rig.secrets.private_key().to_base64().to_string(),
    ];
    rig.set(Plan {
        private_key: Some(private),
        peers: vec![PeerChange {
            preshared_key: Some(Some(preshared)),
            ..meddling(Update, peers[0].public_key, &[])
        }],
        ..Plan::default()
    });
    rig.round();
    let report = serde_json::to_string(&*rig.reconciler.reports().borrow()).unwrap();
    assert!(report.contains("preshared key"));
    assert!(!secrets.iter().any(|secret| report.contains(secret)), "{report}");
}

#[test]
fn a_recorded_mtu_is_reset_when_it_is_removed_and_any_other_mtu_is_kept() {
    let mut rig = Rig::with(&[]);
    rig.host.meddle(&name(), |shown| shown.mtu = 1300);
    rig.round();
    assert_eq!(
        (rig.shown().unwrap().mtu, rig.told()),
        (1300, None),
        "no MTU is recorded"
    );
    rig.set_interface(with_policy(DriftPolicy::Enforce));
    assert_eq!(rig.shown().unwrap().mtu, 1380);
    rig.set_interface(interface());
    assert_eq!((rig.shown().unwrap().mtu, rig.told()), (1420, None));
}

#[test]
fn an_expired_peers_route_is_removed_and_set_again_when_the_expiry_is_postponed() {
    let mut rig = Rig::with(&[]);
    let end = rig.now.after(Duration::from_secs(60));
    let mut branch = v1::Peer {
        expires_at: Some(end),
        ..peer(9)
    };
    branch.allowed_ips.push("10.50.0.0/16".parse().unwrap());
    rig.delta(std::slice::from_ref(&branch), &[]);
    assert_eq!(rig.shown().unwrap().our_routes.len(), 1);
    rig.now = end;
    rig.round();
    assert_eq!(rig.shown().unwrap().our_routes.len(), 0);
    branch.expires_at = Some(end.after(Duration::from_secs(60)));
    rig.delta(std::slice::from_ref(&branch), &[]);
    assert_eq!((rig.shown().unwrap().our_routes.len(), rig.told()), (1, None));
}
