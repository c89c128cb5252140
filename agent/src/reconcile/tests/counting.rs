//! Tests that every byte is counted once, whatever happens to the peers, the interface and the agent.

use super::*;

impl Rig {
    fn traffic(&self, peer: &v1::Peer, rx: u64, tx: u64) {
        assert!(self.devices.set_counters(&name(), &peer.public_key, rx, tx));
    }

    /// Returns the bytes that the plane would add now for this peer.
    fn counted(&mut self, peer: &v1::Peer) -> (u64, u64) {
        let batch = self.reconciler.counters().batch();
        if let Some(batch) = &batch {
            self.reconciler.counters().acknowledge(batch.sequence);
        }
        let counted = batch.and_then(|batch| batch.peers.get(&peer.id).copied());
        counted.map_or((0, 0), |peer| (peer.rx, peer.tx))
    }
}

#[test]
fn a_removed_peers_last_bytes_are_counted_and_a_returning_peer_starts_at_zero() {
    let one = peer(2);
    let mut rig = Rig::with(std::slice::from_ref(&one));
    rig.traffic(&one, 100, 10);
    rig.delta(&[], std::slice::from_ref(&one));
    assert_eq!(rig.counted(&one), (100, 10));
    rig.delta(std::slice::from_ref(&one), &[]);
    rig.traffic(&one, 300, 30);
    rig.round();
    assert_eq!(rig.counted(&one), (300, 30));
}

#[test]
fn a_rekeyed_peer_loses_no_bytes() {
    let mut one = peer(2);
    let mut rig = Rig::with(std::slice::from_ref(&one));
    rig.traffic(&one, 100, 10);
    one.public_key = key();
    rig.delta(std::slice::from_ref(&one), &[]);
    rig.traffic(&one, 5, 6);
    rig.round();
    assert_eq!(rig.counted(&one), (105, 16));
}

#[test]
fn nothing_is_counted_twice_after_a_restart_and_a_new_interface_starts_at_zero() {
    let one = peer(2);
    let mut rig = Rig::with(std::slice::from_ref(&one));
    rig.traffic(&one, 100, 10);
    rig.round();
    assert_eq!(rig.counted(&one), (100, 10));
    rig.restart();
    rig.traffic(&one, 120, 12);
    rig.round();
    assert_eq!(rig.counted(&one), (20, 2));
    rig.devices.delete(&name());
    rig.restart();
    rig.round();
    rig.traffic(&one, 500, 50);
    rig.round();
    assert_eq!(rig.counted(&one), (500, 50));
}

#[test]
fn a_key_that_moves_to_another_peer_is_not_counted_twice() {
    let one = peer(2);
    let mut rig = Rig::with(std::slice::from_ref(&one));
    rig.traffic(&one, 100, 10);
    rig.round();
    assert_eq!(rig.counted(&one), (100, 10));
    let heir = v1::Peer {
        id: wgctl::PeerId::random(),
        ..one.clone()
    };
    rig.delta(std::slice::from_ref(&heir), &[one]);
    rig.traffic(&heir, 130, 13);
    rig.round();
    assert_eq!(rig.counted(&heir), (30, 3));
}

#[test]
fn a_peer_that_expires_immediately_is_counted_before_it_is_removed() {
    let mut one = peer(2);
    let mut rig = Rig::with(std::slice::from_ref(&one));
    rig.traffic(&one, 100, 10);
    one.expires_at = Some(rig.now);
    rig.delta(std::slice::from_ref(&one), &[]);
    assert!(rig.keys().is_empty());
    assert_eq!(rig.counted(&one), (100, 10));
}

#[test]
fn a_removed_peer_is_counted_even_if_the_previous_reading_failed() {
    let one = peer(2);
    let mut rig = Rig::with(std::slice::from_ref(&one));
    rig.traffic(&one, 100, 10);
    rig.devices.fail_reads(1);
    rig.round();
    rig.delta(&[], std::slice::from_ref(&one));
    assert_eq!(rig.counted(&one), (100, 10));
    rig.delta(std::slice::from_ref(&one), &[]);
    rig.traffic(&one, 7, 8);
    rig.devices.fail_reads(1);
    rig.delta(&[], std::slice::from_ref(&one));
    assert_eq!(rig.counted(&one), (7, 8), "even though the last reading itself failed");
}

#[test]
fn a_host_with_lost_counters_starts_at_the_kernels_values_and_a_new_host_at_zero() {
    let one = peer(2);
    let counted_after = |lost: bool| {
        let mut rig = Rig::with(std::slice::from_ref(&one));
        rig.traffic(&one, 100, 10);
        rig.reconciler.save_counters();
        std::fs::remove_file(rig.folder.path().join("counters.json")).unwrap();
        if !lost {
            std::fs::remove_file(rig.folder.path().join("desired.cache")).unwrap();
        }
        rig.reconciler = reconciler(&rig.devices, &rig.host, &rig.secrets, &rig.folder);
        rig.take(snapshot(std::slice::from_ref(&one))).unwrap();
        rig.traffic(&one, 130, 13);
        rig.round();
        rig.counted(&one)
    };
    assert_eq!(
        counted_after(true),
        (30, 3),
        "counting twice is worse than not counting"
    );
    assert_eq!(counted_after(false), (130, 13));
}

#[test]
fn a_link_that_replaces_the_agents_own_is_counted_from_zero() {
    let one = peer(2);
    let mut rig = Rig::with(std::slice::from_ref(&one));
    rig.traffic(&one, 100, 10);
    rig.round();
    assert_eq!(rig.counted(&one), (100, 10));
    rig.devices.delete(&name());
    rig.devices.create(&name());
    let same = Plan {
        private_key: Some(rig.secrets.private_key().clone()),
        peers: vec![meddling(
            wgctl::device::plan::ChangeKind::Create,
            one.public_key,
            &["10.8.0.2/32"],
        )],
        ..Plan::default()
    };
    rig.devices.apply(&name(), &same).unwrap();
    rig.traffic(&one, 500, 50);
    rig.round();
    assert_eq!(rig.counted(&one), (500, 50));
}

#[test]
fn last_bytes_are_read_only_if_the_interface_has_at_most_4096_peers() {
    for (others, counted) in [(4095, (100, 10)), (4096, (0, 0))] {
        let one = peer(2);
        let mut rig = Rig::with(std::slice::from_ref(&one));
        let key = |number: u16| {
            let mut bytes = [1; 32];
            bytes[..2].copy_from_slice(&number.to_le_bytes());
            PublicKey::from_bytes(bytes).unwrap()
        };
        // These peers exist only in the last reading.
        let actual = rig.reconciler.actual.as_mut().unwrap();
        actual
            .peers
            .extend((0..others).map(|number| (key(number), Peer::default())));
        rig.traffic(&one, 100, 10);
        rig.delta(&[], std::slice::from_ref(&one));
        assert_eq!(rig.counted(&one), counted, "with {others} other peers");
    }
}
