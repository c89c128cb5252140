//! Property tests: whatever the plane and other programs change, the interface is in exactly the desired state after
//! a round.

use proptest::prelude::*;
use wgctl::device::plan::ChangeKind;
use wgctl::drift::DriftPolicy;

use super::*;

/// The number of peers that are added and removed. Each has its own key and address, which a step may change.
const PEERS: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    Enable(usize),
    Disable(usize),
    Rekey(usize),
    SwapAddresses(usize, usize),
    Snapshot,
    Restart,
    Round,
    DeleteLink,
    FailReads,
    Refuse(usize),
    Meddle(ChangeKind, usize, u8),
    MeddleWithHost(u8),
    Policy(DriftPolicy),
}

fn steps() -> impl Strategy<Value = Step> {
    let kinds = prop_oneof![
        Just(ChangeKind::Create),
        Just(ChangeKind::Update),
        Just(ChangeKind::Remove)
    ];
    prop_oneof![
        4 => (0..PEERS).prop_map(Step::Enable),
        3 => (0..PEERS).prop_map(Step::Disable),
        2 => (0..PEERS).prop_map(Step::Rekey),
        2 => (0..PEERS, 0..PEERS).prop_map(|(one, two)| Step::SwapAddresses(one, two)),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
        1 => Just(Step::Round),
        1 => Just(Step::DeleteLink),
        1 => Just(Step::FailReads),
        1 => (0..PEERS).prop_map(Step::Refuse),
        4 => (kinds, 0..PEERS + 2, 2..10u8).prop_map(|(kind, who, net)| Step::Meddle(kind, who, net)),
        2 => (0..4u8).prop_map(Step::MeddleWithHost),
        1 => prop_oneof![Just(DriftPolicy::Enforce), Just(DriftPolicy::Report)].prop_map(Step::Policy),
    ]
}

struct World {
    rig: Rig,
    peers: Vec<v1::Peer>,
    enabled: Vec<bool>,
    refused: Vec<PublicKey>,
}

impl World {
    fn new() -> Self {
        let rig = Rig::with(&[]);
        let number = |at: usize| u8::try_from(at).unwrap() + 2;
        let peers = (0..PEERS).map(|at| match at % 2 {
            0 => rig.sealed(number(at)),
            _ => peer(number(at)),
        });
        Self {
            peers: peers.collect(),
            rig,
            enabled: vec![false; PEERS],
            refused: Vec::new(),
        }
    }

    fn wanted(&self) -> Vec<v1::Peer> {
        let all = self.peers.iter().zip(&self.enabled);
        all.filter(|(_, enabled)| **enabled)
            .map(|(peer, _)| peer.clone())
            .collect()
    }

    fn changed(&mut self, which: &[usize]) {
        let enabled = |at: &&usize| self.enabled[**at];
        let upsert: Vec<_> = which.iter().filter(enabled).map(|at| self.peers[*at].clone()).collect();
        let disabled = which.iter().filter(|at| !enabled(at));
        let remove: Vec<_> = disabled.map(|at| self.peers[*at].clone()).collect();
        self.rig.delta(&upsert, &remove);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Enable(at) | Step::Disable(at) => {
                self.enabled[at] = matches!(step, Step::Enable(_));
                self.changed(&[at]);
            }
            Step::Rekey(at) => {
                self.peers[at].public_key = key();
                self.changed(&[at]);
            }
            Step::SwapAddresses(one, two) => {
                let networks = self.peers[one].allowed_ips.clone();
                self.peers[one].allowed_ips = std::mem::replace(&mut self.peers[two].allowed_ips, networks);
                self.changed(&[one, two]);
            }
            Step::Snapshot => {
                let all = snapshot(&self.wanted());
                self.rig.take(all).unwrap();
            }
            Step::Restart => self.rig.restart(),
            Step::Round => self.rig.round(),
            Step::DeleteLink => {
                self.rig.devices.delete(&name());
            }
            Step::FailReads => self.rig.devices.fail_reads(1),
            Step::Refuse(at) => {
                self.refused.push(self.peers[at].public_key);
                self.rig.devices.refuse(self.peers[at].public_key);
            }
            Step::Meddle(kind, who, number) => self.meddle(kind, who, number),
            Step::MeddleWithHost(what) => self.rig.host.meddle(&name(), |shown| match what {
                0 => shown.up = false,
                1 => shown.addresses.clear(),
                2 => shown.mtu = 1300,
                _ => shown.addresses.extend(["10.9.0.1/24".parse::<ipnet::IpNet>().unwrap()]),
            }),
            Step::Policy(drift) => self.rig.set_interface(Interface { drift, ..interface() }),
        }
    }

    fn meddle(&mut self, kind: ChangeKind, who: usize, number: u8) {
        let whose = self.peers.get(who).map_or_else(key, |peer| peer.public_key);
        let net = format!("10.8.0.{number}/32");
        let plan = Plan {
            peers: vec![meddling(kind, whose, &[&net])],
            ..Plan::default()
        };
        // If there is no key, peers added by another program make the agent leave the interface alone (see
        // `refusals`).
        let device = self.rig.devices.device(&name());
        if device.is_none_or(|device| device.private_key.is_none()) {
            return;
        }
        // The kernel may refuse the peer.
        let _ = self.rig.devices.apply(&name(), &plan);
    }

    fn settle(&mut self) {
        self.rig.devices.fail_reads(0);
        self.refused.iter().for_each(|key| self.rig.devices.accept(key));
        // The default policy repairs the standing drift.
        self.rig.set_interface(interface());
        self.rig.round();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_a_round_the_interface_is_in_exactly_the_desired_state(steps in prop::collection::vec(steps(), 1..40)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.take(step));
        world.settle();

        let rig = &world.rig;
        let wanted = world.wanted();
        prop_assert_eq!(rig.keys(), keys(&wanted.iter().collect::<Vec<_>>()));
        for (key, there) in rig.device().peers {
            let peer = wanted.iter().find(|peer| peer.public_key == key).unwrap();
            prop_assert_eq!(there.allowed_ips, peer.allowed_ips.iter().copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(there.preshared_key.is_some(), peer.preshared_key.is_some());
        }
        prop_assert!(rig.reconciler.verdict().is_clean());
        let shown = rig.host.shown(&name()).unwrap();
        prop_assert_eq!((shown.up, shown.addresses), (true, interface().addresses.into_iter().collect()));
        prop_assert_eq!(rig.reconciler.verdict().revision, rig.revision);
        let writes = (rig.devices.writes(), rig.host.writes());
        let mut standing = Vec::new();
        while let Some(report) = world.rig.report() {
            world.rig.reconciler.take_drift_receipt(DriftReceipt::Acknowledged(report.sequence));
            standing = report.standing;
        }
        prop_assert_eq!(standing, []);
        world.rig.round();
        prop_assert_eq!((world.rig.devices.writes(), world.rig.host.writes()), writes);
    }
}
