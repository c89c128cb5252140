//! Comparison of the in-memory model with the kernel: the same changes must lead to the same state in both.

use proptest::prelude::*;
use wgctl::PresharedKey;
use wgctl::device::memory::Memory;
use wgctl::device::plan::{ChangeKind, PeerChange};

use super::*;

/// Generates changes, sensible or not, to existing or missing peers, with addresses that other peers may have.
fn change() -> impl Strategy<Value = PeerChange> {
    let kind = prop_oneof![
        3 => Just(ChangeKind::Create),
        3 => Just(ChangeKind::Update),
        1 => Just(ChangeKind::Remove),
    ];
    let preshared = prop_oneof![
        Just(None),
        Just(Some(None)),
        (1u8..3).prop_map(|n| Some(Some(PresharedKey::from_bytes([n; 32]).unwrap()))),
    ];
    let keepalive = proptest::option::of(0u16..3);
    let endpoint = proptest::option::of((1u16..3).prop_map(|port| ([192, 0, 2, 1], port).into()));
    let addresses = proptest::collection::vec((0u32..8).prop_map(address), 0..4);
    (0u32..6, kind, preshared, keepalive, endpoint, any::<bool>(), addresses).prop_map(
        |(n, kind, preshared_key, persistent_keepalive, endpoint, replace_allowed_ips, allowed_ips)| PeerChange {
            public_key: if n == 0 { own_key().public_key() } else { key(n) },
            kind,
            preshared_key,
            persistent_keepalive,
            endpoint,
            replace_allowed_ips,
            allowed_ips,
        },
    )
}

fn own_key() -> PrivateKey {
    PrivateKey::from_bytes([8; 32])
}

#[test]
fn the_in_memory_model_behaves_like_the_kernel() {
    let mut lab = Lab::with_interface();
    let name = lab.name.clone();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let lab = std::cell::RefCell::new(&mut lab);
    let plans = proptest::collection::vec(change(), 1..12);
    let compared = runner.run(&plans, |peers| {
        let mut lab = lab.borrow_mut();
        lab.kernel.flush(&name).unwrap();
        let mut memory = Memory::new();
        memory.create(&name);
        let plan = Plan {
            private_key: Some(own_key()),
            peers,
            ..Plan::default()
        };
        lab.kernel.apply(&name, &plan).unwrap();
        memory.apply(&name, &plan).unwrap();
        prop_assert_eq!(Some(lab.read()), memory.device(&name));
        Ok(())
    });
    compared.unwrap();
}
