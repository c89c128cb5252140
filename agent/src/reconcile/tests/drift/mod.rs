//! Tests of drift: distinguished from changes that have not been applied yet, and repaired or left according to
//! the policy.

mod standing;

use wgctl::PresharedKey;
use wgctl::device::plan::ChangeKind::{Create, Remove, Update};
use wgctl::drift::DriftKind::{self, *};
use wgctl::drift::{Drift, DriftPolicy};

use super::*;
use crate::host::{HostState, Masquerade};

/// An external change, and the kinds of drift that must be reported for it.
struct ExternalChange {
    kinds: &'static [DriftKind],
    act: fn(&mut Rig, &[v1::Peer]),
}

const MEDDLINGS: &[ExternalChange] = &[
    ExternalChange {
        kinds: &[PeerRemoved],
        act: |rig, peers| rig.meddle(vec![meddling(Remove, peers[0].public_key, &[])]),
    },
    ExternalChange {
        kinds: &[PeerAdded],
        act: |rig, _| rig.meddle(vec![meddling(Create, key(), &["10.77.0.0/16"])]),
    },
    ExternalChange {
        kinds: &[PeerChanged],
        act: |rig, peers| {
            rig.meddle(vec![PeerChange {
                preshared_key: Some(Some(PresharedKey::generate().unwrap())),
                ..meddling(Update, peers[0].public_key, &[])
            }]);
        },
    },
    ExternalChange {
        kinds: &[PeerChanged],
        act: |rig, peers| {
            rig.meddle(vec![PeerChange {
                persistent_keepalive: Some(25),
                ..meddling(Update, peers[0].public_key, &[])
            }]);
        },
    },
    ExternalChange {
        kinds: &[AllowedIpsChanged],
        act: |rig, peers| rig.meddle(vec![meddling(Update, peers[0].public_key, &["10.9.9.9/32"])]),
    },
    ExternalChange {
        kinds: &[AllowedIpsChanged, AllowedIpsChanged],
        act: |rig, peers| rig.meddle(vec![meddling(Update, peers[1].public_key, &["10.8.0.2/32"])]),
    },
    ExternalChange {
        kinds: &[PeerAdded, AllowedIpsChanged],
        act: |rig, _| rig.meddle(vec![meddling(Create, key(), &["10.8.0.2/32"])]),
    },
    ExternalChange {
        kinds: &[PrivateKeyChanged],
        act: |rig, _| {
            rig.set(Plan {
                private_key: Some(PrivateKey::generate().unwrap()),
                ..Plan::default()
            });
        },
    },
    ExternalChange {
        kinds: &[ListenPortChanged],
        act: |rig, _| {
            rig.set(Plan {
                listen_port: Some(6000),
                ..Plan::default()
            });
        },
    },
    ExternalChange {
        kinds: &[LinkDeleted],
        act: |rig, _| assert!(rig.devices.delete(&name())),
    },
    ExternalChange {
        kinds: &[LinkDown],
        act: |rig, _| rig.host.meddle(&name(), |shown| shown.up = false),
    },
    ExternalChange {
        kinds: &[MtuChanged],
        act: |rig, _| rig.host.meddle(&name(), |shown| shown.mtu = 1300),
    },
    ExternalChange {
        kinds: &[AddressRemoved],
        act: |rig, _| rig.host.meddle(&name(), |shown| shown.addresses.clear()),
    },
    ExternalChange {
        kinds: &[AddressAdded],
        act: |rig, _| {
            rig.host.meddle(&name(), |shown| {
                shown.addresses.insert("10.9.0.1/24".parse().unwrap());
            });
        },
    },
    ExternalChange {
        kinds: &[RouteRemoved],
        act: |rig, _| {
            rig.host.meddle(&name(), |shown| {
                shown.routes.retain(|route| !shown.our_routes.contains(route));
                shown.our_routes.clear();
            });
        },
    },
    ExternalChange {
        kinds: &[MasqueradeChanged],
        act: |rig, _| rig.host.meddle(&name(), |shown| shown.masquerade = Masquerade::None),
    },
];

/// The kinds of drift in the reports to the plane.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reported {
    repaired: Vec<DriftKind>,
    seen: Vec<DriftKind>,
    standing: Vec<DriftKind>,
}

fn kinds(drifts: &[Drift]) -> Vec<DriftKind> {
    let mut kinds: Vec<DriftKind> = drifts.iter().map(|drift| drift.kind).collect();
    kinds.sort_unstable();
    kinds
}

impl Rig {
    /// Creates a rig whose interface has everything that can drift.
    fn desired_host(policy: DriftPolicy) -> (Self, Vec<v1::Peer>) {
        let mut rig = Self::new();
        let mut peers = vec![rig.sealed(2), peer(3), peer(4)];
        peers[2].allowed_ips.push("10.50.0.0/16".parse().unwrap());
        let change = Change::Snapshot {
            interface: with_policy(policy),
            peers: peers.clone(),
        };
        rig.take(change).unwrap();
        assert_eq!(rig.told(), None, "creating an interface is not drift");
        (rig, peers)
    }

    fn set(&mut self, plan: Plan) {
        self.devices.apply(&name(), &plan).unwrap();
    }

    /// Returns the kinds of drift in all reports so far, and acknowledges the reports.
    fn told(&mut self) -> Option<Reported> {
        let mut all = None;
        while let Some(report) = self.report() {
            self.reconciler
                .take_drift_receipt(DriftReceipt::Acknowledged(report.sequence));
            let told: &mut Reported = all.get_or_insert_default();
            told.repaired.extend(kinds(&report.repaired));
            told.seen.extend(kinds(&report.seen));
            told.standing = kinds(&report.standing);
        }
        for kinds in all.iter_mut().flat_map(|told| [&mut told.repaired, &mut told.seen]) {
            kinds.sort_unstable();
        }
        all
    }

    /// Returns the report that is to be sent now.
    pub(super) fn report(&self) -> Option<v1::DriftReport> {
        self.reconciler.reports().borrow().clone()
    }

    fn shown(&self) -> Option<HostState> {
        self.host.shown(&name())
    }

    fn writes(&self) -> (u64, u32) {
        (self.devices.writes(), self.host.writes())
    }
}

fn with_policy(drift: DriftPolicy) -> Interface {
    Interface {
        mtu: Some(1380),
        masquerade: true,
        drift,
        ..interface()
    }
}

fn sorted(kinds: &[DriftKind]) -> Vec<DriftKind> {
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable();
    kinds
}

#[test]
fn external_changes_are_repaired_at_once_and_reported_once() {
    for ExternalChange { kinds, act } in MEDDLINGS {
        let (mut rig, peers) = Rig::desired_host(DriftPolicy::Enforce);
        let bystander = &peers[2];
        rig.devices.set_counters(&name(), &bystander.public_key, 7, 8);
        rig.round();
        let (device, shown) = (rig.device(), rig.shown().unwrap());
        act(&mut rig, &peers);
        rig.round();
        let repaired = Reported {
            repaired: sorted(kinds),
            ..Reported::default()
        };
        assert_eq!(rig.told(), Some(repaired));
        assert!(rig.reconciler.verdict().is_clean(), "{kinds:?}");
        let now = rig.shown().unwrap();
        if *kinds == [LinkDeleted] {
            assert_eq!(rig.device().peers.len(), device.peers.len());
            assert_eq!(
                HostState {
                    index: shown.index,
                    ..now
                },
                shown
            );
        } else {
            assert_eq!(
                (rig.device(), now),
                (device, shown),
                "{kinds:?}: everything else is unchanged"
            );
        }
        let writes = rig.writes();
        rig.round();
        assert_eq!((rig.writes(), rig.told()), (writes, None), "{kinds:?}");
    }
}

#[test]
fn a_report_is_published_once() {
    let (mut rig, peers) = Rig::desired_host(DriftPolicy::Enforce);
    let mut reports = rig.reconciler.reports();
    rig.meddle(vec![meddling(Remove, peers[0].public_key, &[])]);
    rig.round();
    assert!(reports.has_changed().unwrap());
    let report = reports.borrow_and_update().clone();
    assert!(report.is_some());
    rig.round();
    assert!(!reports.has_changed().unwrap(), "the report has already been published");
    rig.reconciler
        .take_drift_receipt(DriftReceipt::Acknowledged(report.unwrap().sequence));
    assert!(reports.has_changed().unwrap() && reports.borrow().is_none());
}

#[test]
fn a_replaced_link_counts_as_one_drift_event_but_as_none_after_a_restart() {
    for restarted in [false, true] {
        let (mut rig, peers) = Rig::desired_host(DriftPolicy::Enforce);
        rig.devices.delete(&name());
        rig.devices.create(&name());
        if restarted {
            rig.restart();
        }
        rig.round();
        assert_eq!(rig.keys().len(), peers.len());
        let replaced = Reported {
            repaired: vec![LinkDeleted],
            ..Reported::default()
        };
        assert_eq!(rig.told(), (!restarted).then_some(replaced), "restarted: {restarted}");
    }
}

#[test]
fn the_report_names_the_peer_settings_that_were_changed() {
    let psk = || Some(Some(PresharedKey::generate().unwrap()));
    for (preshared_key, persistent_keepalive, said) in [
        (
            psk(),
            None,
            "the preshared key of the peer KEY differs from the recorded one",
        ),
        (
            None,
            Some(9),
            "the persistent keepalive of the peer KEY is 9 instead of 0",
        ),
        (
            psk(),
            Some(9),
            "the preshared key and persistent keepalive (9) of the peer KEY differ",
        ),
    ] {
        let (mut rig, peers) = Rig::desired_host(DriftPolicy::Enforce);
        let key = peers[0].public_key;
        rig.meddle(vec![PeerChange {
            preshared_key,
            persistent_keepalive,
            ..meddling(Update, key, &[])
        }]);
        rig.round();
        let report = rig.report().unwrap();
        assert_eq!(report.repaired[0].detail, said.replace("KEY", &key.to_string()));
    }
}

#[test]
fn a_few_networks_are_named_and_the_rest_are_counted() {
    let networks = [
        "10.71.0.0/16",
        "10.72.0.0/16",
        "10.73.0.0/16",
        "10.74.0.0/16",
        "10.75.0.0/16",
    ];
    for (count, said) in [
        (0, "no network"),
        (1, "10.71.0.0/16"),
        (4, "10.71.0.0/16, 10.72.0.0/16, 10.73.0.0/16, 10.74.0.0/16"),
        (5, "10.71.0.0/16, 10.72.0.0/16, 10.73.0.0/16, 10.74.0.0/16, 1 more"),
    ] {
        let (mut rig, _) = Rig::desired_host(DriftPolicy::Enforce);
        let theirs = key();
        rig.meddle(vec![meddling(Create, theirs, &networks[..count])]);
        rig.round();
        let report = rig.report().unwrap();
        assert_eq!(
            report.repaired[0].detail,
            format!("{} has the peer {theirs} with {said}", name())
        );
    }
}

#[test]
fn a_private_key_that_is_left_in_place_does_not_block_a_change_of_the_port() {
    let (mut rig, _) = Rig::desired_host(DriftPolicy::Report);
    rig.set(Plan {
        private_key: Some(PrivateKey::generate().unwrap()),
        ..Plan::default()
    });
    rig.round();
    let theirs = rig.device().private_key;
    rig.set_interface(Interface {
        listen_port: 51_900,
        ..with_policy(DriftPolicy::Report)
    });
    assert_eq!((rig.device().private_key, rig.device().listen_port), (theirs, 51_900));
}

#[test]
fn an_expired_peer_that_is_added_back_is_removed_and_is_not_drift() {
    let mut rig = Rig::new();
    let (mut ending, stays) = (peer(2), peer(3));
    ending.expires_at = Some(rig.now.after(Duration::from_secs(1)));
    rig.take(snapshot(&[ending.clone(), stays.clone()])).unwrap();
    rig.now = rig.now.after(Duration::from_secs(1));
    rig.round();
    rig.meddle(vec![meddling(Create, ending.public_key, &["10.77.0.0/16"])]);
    rig.round();
    assert_eq!(rig.keys(), keys(&[&stays]));
    assert_eq!(rig.told(), None);
}

#[test]
fn the_report_policy_leaves_drift_in_place_and_the_enforce_policy_repairs_it() {
    for ExternalChange { kinds, act } in MEDDLINGS {
        let (mut rig, peers) = Rig::desired_host(DriftPolicy::Report);
        act(&mut rig, &peers);
        let meddled = (rig.devices.device(&name()), rig.shown(), rig.writes());
        for _ in 0..3 {
            rig.round();
        }
        let now = (rig.devices.device(&name()), rig.shown(), rig.writes());
        assert_eq!(now, meddled, "{kinds:?}");
        let left = Reported {
            seen: sorted(kinds),
            standing: sorted(kinds),
            ..Reported::default()
        };
        assert_eq!(rig.told(), Some(left), "each is reported once");

        let newcomer = peer(9);
        rig.delta(std::slice::from_ref(&newcomer), &[]);
        rig.round();
        if *kinds == [LinkDeleted] {
            let said = rig.reconciler.verdict().interface_failed.clone().unwrap();
            assert!(said.contains("deleted externally"), "{said}");
            assert_eq!(rig.devices.device(&name()), None);
        } else {
            assert!(rig.keys().contains(&newcomer.public_key), "{kinds:?}");
            assert_eq!(rig.told(), None);
        }

        rig.set_interface(with_policy(DriftPolicy::Enforce));
        let repaired = Reported {
            repaired: sorted(kinds),
            ..Reported::default()
        };
        assert_eq!(rig.told(), Some(repaired));
        let all: Vec<&v1::Peer> = peers.iter().chain([&newcomer]).collect();
        assert_eq!(rig.keys(), keys(&all), "{kinds:?}");
        for peer in all {
            let networks = &rig.device().peers[&peer.public_key].allowed_ips;
            assert_eq!(*networks, peer.allowed_ips.iter().copied().collect());
        }
        assert!(rig.reconciler.verdict().is_clean());
        let writes = rig.writes();
        rig.round();
        assert_eq!((rig.writes(), rig.told()), (writes, None), "{kinds:?}");
    }
}

#[test]
fn a_restarted_agent_leaves_standing_drift_in_place_and_counts_it_once() {
    for ExternalChange { kinds, act } in MEDDLINGS.iter().filter(|meddling| meddling.kinds != [LinkDeleted]) {
        let (mut rig, peers) = Rig::desired_host(DriftPolicy::Report);
        act(&mut rig, &peers);
        rig.round();
        assert_eq!(rig.told().unwrap().seen, sorted(kinds));
        let meddled = (rig.device(), rig.shown());
        rig.restart();
        rig.round();
        let unchanged = answer(rig.life, rig.revision, Change::Unchanged);
        let now = rig.now;
        rig.reconciler.take(&server(), unchanged, Base::Here, now).unwrap();
        assert_eq!((rig.device(), rig.shown(), rig.told()), (meddled.0, meddled.1, None));
        rig.reconciler.take_drift_receipt(DriftReceipt::PlaneConnected);
        let standing = Reported {
            standing: sorted(kinds),
            ..Reported::default()
        };
        assert_eq!(
            rig.told(),
            Some(standing),
            "a newly connected plane receives the standing drift"
        );
    }
}

#[test]
fn changes_while_the_agent_was_stopped_are_drift_unless_it_creates_the_link() {
    for ExternalChange { kinds, act } in MEDDLINGS {
        let (mut rig, peers) = Rig::desired_host(DriftPolicy::Enforce);
        let device = rig.device();
        act(&mut rig, &peers);
        rig.restart();
        rig.round();
        let unchanged = answer(rig.life, rig.revision, Change::Unchanged);
        let now = rig.now;
        rig.reconciler.take(&server(), unchanged, Base::Here, now).unwrap();
        assert_eq!(rig.device(), device);
        let told = rig.told().map(|told| told.repaired);
        if *kinds == [LinkDeleted] {
            assert_eq!(told, None, "a reboot cannot be distinguished from a deletion");
        } else {
            assert_eq!(told, Some(sorted(kinds)));
        }
    }
}
