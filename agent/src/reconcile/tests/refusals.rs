//! Tests of refusals: a refused change is reported, affects nothing else, and is applied once that is possible.

use wgctl::protocol::v1::Sealed;

use super::*;

#[test]
fn a_peer_that_the_kernel_refuses_blocks_no_other_peer_and_recovers() {
    for by_delta in [false, true] {
        let (bad, good, present) = (peer(2), peer(3), peer(4));
        let mut rig = Rig::with(std::slice::from_ref(&present));
        rig.devices.refuse(bad.public_key);
        if by_delta {
            rig.delta(&[bad.clone(), good.clone()], &[]);
        } else {
            rig.take(snapshot(&[bad.clone(), good.clone(), present.clone()]))
                .unwrap();
        }
        assert_eq!(rig.keys(), keys(&[&good, &present]));
        assert!(
            rig.failed(&bad).unwrap().contains("Invalid argument"),
            "{:?}",
            rig.failed(&bad)
        );
        assert_eq!((rig.failed(&good), rig.reconciler.verdict().revision), (None, 2));

        let another = peer(5);
        rig.delta(std::slice::from_ref(&another), &[]);
        assert!(
            rig.failed(&bad).is_some(),
            "a change to another peer does not hide the failure"
        );

        rig.devices.accept(&bad.public_key);
        rig.round();
        assert_eq!(rig.keys(), keys(&[&bad, &good, &present, &another]));
        assert!(rig.reconciler.verdict().is_clean());
    }
}

#[test]
fn many_refused_peers_in_a_row_block_no_other_peer() {
    let peers: Vec<_> = (2..62).map(peer).collect();
    let mut rig = Rig::new();
    peers
        .iter()
        .take(50)
        .for_each(|peer| rig.devices.refuse(peer.public_key));
    rig.take(snapshot(&peers)).unwrap();
    assert_eq!((rig.keys().len(), rig.reconciler.verdict().failed.len()), (10, 50));
}

#[test]
fn more_than_a_thousand_refusals_are_not_attributed_to_the_peers() {
    for (count, said_of_each) in [(1000, true), (1001, false)] {
        let peers: Vec<v1::Peer> = (0..count)
            .map(|number: u16| v1::Peer {
                allowed_ips: vec![format!("10.9.{}.{}/32", number / 256, number % 256).parse().unwrap()],
                ..peer(2)
            })
            .collect();
        let mut rig = Rig::new();
        peers.iter().for_each(|peer| rig.devices.refuse(peer.public_key));
        rig.take(snapshot(&peers)).unwrap();
        let verdict = rig.reconciler.verdict();
        let each = (verdict.failed.len() == 1000, verdict.interface_failed.is_none());
        assert_eq!(each, (said_of_each, said_of_each), "{count}");
    }
}

#[test]
fn a_refused_peer_that_is_removed_is_no_longer_reported() {
    let bad = peer(2);
    let mut rig = Rig::with(&[]);
    rig.devices.refuse(bad.public_key);
    rig.delta(std::slice::from_ref(&bad), &[]);
    assert!(rig.failed(&bad).is_some());
    rig.delta(&[], std::slice::from_ref(&bad));
    assert!(rig.reconciler.verdict().is_clean());
}

#[test]
fn a_link_of_another_kind_is_left_alone_and_reported() {
    let mut rig = Rig::new();
    rig.host.add_foreign(name());
    rig.take(snapshot(&[peer(2)])).unwrap();
    let verdict = rig.reconciler.verdict();
    assert!(
        verdict
            .interface_failed
            .as_ref()
            .unwrap()
            .contains("not a WireGuard interface")
    );
    assert_eq!((verdict.revision, rig.devices.writes(), rig.host.writes()), (0, 0, 0));
    assert_eq!(rig.reconciler.next_expiry(), None);
}

#[test]
fn an_interface_with_another_key_is_left_alone_even_by_a_delta() {
    let present = peer(2);
    let mut rig = Rig::with(std::slice::from_ref(&present));
    rig.devices.delete(&name());
    rig.devices.create(&name());
    let theirs = Plan {
        private_key: Some(PrivateKey::generate().unwrap()),
        ..Plan::default()
    };
    rig.devices.apply(&name(), &theirs).unwrap();
    let before = (rig.device(), rig.devices.writes(), rig.host.writes());
    rig.round();
    rig.delta(&[peer(3)], &[]);
    rig.delta(&[], &[present]);
    assert_eq!((rig.device(), rig.devices.writes(), rig.host.writes()), before);
    let verdict = rig.reconciler.verdict();
    assert!(verdict.interface_failed.as_ref().unwrap().contains("did not create"));
    assert_eq!(verdict.revision, 0, "no revision is applied");
}

#[test]
fn a_removal_detects_that_another_interface_has_the_name() {
    let (one, two) = (peer(2), peer(3));
    let mut rig = Rig::with(&[one.clone(), two]);
    rig.devices.delete(&name());
    rig.devices.create(&name());
    let theirs = Plan {
        private_key: Some(PrivateKey::generate().unwrap()),
        peers: vec![meddling(
            wgctl::device::plan::ChangeKind::Create,
            key(),
            &["10.8.0.9/32"],
        )],
        ..Plan::default()
    };
    rig.devices.apply(&name(), &theirs).unwrap();
    let before = rig.device();
    rig.delta(&[], &[one]);
    assert_eq!(rig.device(), before);
    assert!(rig.reconciler.verdict().interface_failed.is_some());
}

#[test]
fn an_interface_with_a_changed_key_is_recognized_by_its_peers_or_its_link() {
    let one = peer(2);
    for (peers, restarted, ours) in [
        (vec![one.clone()], true, true),
        (vec![one], false, true),
        (vec![], false, true),
        (vec![], true, false),
    ] {
        let mut rig = Rig::with(&peers);
        let theirs = Plan {
            private_key: Some(PrivateKey::generate().unwrap()),
            ..Plan::default()
        };
        rig.devices.apply(&name(), &theirs).unwrap();
        if restarted {
            rig.restart();
        }
        rig.round();
        let mended = rig.device().private_key.as_ref() == Some(rig.secrets.private_key());
        assert_eq!(mended, ours, "{} peers, restarted: {restarted}", peers.len());
        assert_eq!(rig.reconciler.verdict().is_clean(), ours);
    }
}

#[test]
fn an_interface_without_a_key_but_with_unknown_peers_is_left_alone() {
    let mut rig = Rig::new();
    rig.devices.create(&name());
    rig.meddle(vec![meddling(
        wgctl::device::plan::ChangeKind::Create,
        key(),
        &["10.8.0.9/32"],
    )]);
    let before = rig.device();
    rig.take(snapshot(&[peer(2)])).unwrap();
    assert_eq!(rig.device(), before);
}

#[test]
fn a_port_in_use_is_reported_and_does_not_affect_the_peers() {
    let (one, two) = (peer(2), peer(3));
    let mut rig = Rig::new();
    rig.devices.take_port(51820);
    rig.take(snapshot(std::slice::from_ref(&one))).unwrap();
    rig.round();
    let verdict = rig.reconciler.verdict();
    assert!(
        verdict.interface_failed.as_ref().unwrap().contains("51820"),
        "{verdict:?}"
    );
    assert_eq!((verdict.revision, rig.keys()), (1, keys(&[&one])));
    assert_eq!(rig.device().private_key.as_ref(), Some(rig.secrets.private_key()));
    rig.delta(std::slice::from_ref(&two), &[]);
    assert_eq!(rig.keys(), keys(&[&one, &two]));
    assert!(
        rig.reconciler.verdict().interface_failed.is_some(),
        "the failure is still reported"
    );

    let moved = Interface {
        listen_port: 51821,
        ..interface()
    };
    rig.set_interface(moved);
    assert_eq!(rig.device().listen_port, 51821);
    assert!(rig.reconciler.verdict().is_clean());
}

#[test]
fn addresses_that_cannot_be_set_are_reported_and_set_in_the_next_round() {
    let mut rig = Rig::new();
    rig.host.fail_repairs(1);
    let one = peer(2);
    rig.take(snapshot(std::slice::from_ref(&one))).unwrap();
    assert_eq!(rig.keys(), keys(&[&one]));
    assert!(rig.reconciler.verdict().interface_failed.is_some());
    rig.round();
    assert!(rig.reconciler.verdict().is_clean());
    assert!(rig.host.shown(&name()).is_some());
}

#[test]
fn a_peer_whose_preshared_key_cannot_be_opened_is_left_as_it_is() {
    let mut rig = Rig::new();
    let (mut one, mut never) = (rig.sealed(2), peer(3));
    rig.take(snapshot(std::slice::from_ref(&one))).unwrap();
    let before = rig.device();
    let spoilt = Some(Sealed(vec![1; 72]));
    one.preshared_key.clone_from(&spoilt);
    never.preshared_key = spoilt;
    rig.delta(&[one.clone(), never.clone()], &[]);
    rig.round();
    assert_eq!(rig.device(), before);
    for peer in [&one, &never] {
        assert!(
            rig.failed(peer).unwrap().contains("cannot be opened"),
            "{:?}",
            rig.failed(peer)
        );
    }
    // The peer's networks move to another peer; the original reason must remain.
    let heir = v1::Peer {
        allowed_ips: one.allowed_ips.clone(),
        ..peer(4)
    };
    rig.delta(std::slice::from_ref(&heir), &[]);
    rig.round();
    assert_eq!(rig.device().peers[&heir.public_key].allowed_ips.len(), 1);
    assert!(rig.failed(&one).unwrap().contains("cannot be opened"));
}

#[test]
fn a_peer_with_the_hosts_own_key_is_refused() {
    let mut rig = Rig::with(&[peer(3)]);
    let own = v1::Peer {
        public_key: rig.secrets.private_key().public_key(),
        ..peer(2)
    };
    rig.delta(std::slice::from_ref(&own), &[]);
    assert_eq!(rig.keys().len(), 1);
    assert!(rig.failed(&own).unwrap().contains("host's own"));
    rig.round();
    assert!(rig.failed(&own).unwrap().contains("host's own"));
}

#[test]
fn an_unreadable_interface_is_reported_and_sets_no_timer() {
    let mut rig = Rig::new();
    let end = rig.now.after(Duration::from_secs(1));
    let one = v1::Peer {
        expires_at: Some(end),
        ..peer(2)
    };
    rig.take(snapshot(&[one])).unwrap();
    rig.now = end;
    rig.devices.fail_reads(1);
    rig.round();
    assert!(rig.reconciler.verdict().interface_failed.is_some());
    assert_eq!(rig.reconciler.next_expiry(), None, "the next round enforces the expiry");
    rig.round();
    assert!(rig.keys().is_empty());
}

#[test]
fn a_failed_reading_does_not_withdraw_the_confirmed_revision() {
    let mut rig = Rig::with(&[peer(2)]);
    rig.devices.fail_reads(1);
    rig.round();
    let verdict = rig.reconciler.verdict();
    assert!(verdict.interface_failed.is_some());
    assert_eq!(verdict.revision, 1, "the peer is assumed to be still there");
    // A failed reading does not confirm a newer revision either.
    rig.devices.fail_reads(1);
    rig.take(snapshot(&[peer(2), peer(3)])).unwrap();
    assert_eq!(rig.reconciler.verdict().revision, 1);
    rig.round();
    assert_eq!(rig.reconciler.verdict().revision, 2);
}
