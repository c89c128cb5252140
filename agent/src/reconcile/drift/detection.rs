//! The detection of drift, as distinct from changes that have not been applied yet.
//!
//! Owns the comparison of three things: the desired state, the actual state, and the state in which the agent
//! left the interface. Roamed endpoints, handshakes and counters do not count as drift. It must not perform I/O.

use std::collections::BTreeSet;

use ipnet::IpNet;
use wgctl::device::{DesiredDevice, DesiredPeer, Device, Peer};
use wgctl::drift::DriftKind;
use wgctl::name::InterfaceName;
use wgctl::{PeerId, PublicKey};

use crate::drift::{Finding, Id, Subject};
use crate::host::{Difference, HostState, Spec};
use crate::reconcile::peers::difference::{PeerDifference, as_it_is};

/// The maximum number of networks named in a detail.
const NAMED: usize = 4;

/// The state in which the agent left the interface or its host side, if it is known.
#[derive(Debug, Default)]
pub(crate) enum Baseline<T> {
    /// Assumed to be the cached state: nothing has been read since the agent started.
    AsCached,
    /// Known to be this state.
    Known(T),
    /// Unknown: no difference counts as drift.
    #[default]
    Unknown,
}

impl<T> Baseline<T> {
    pub(crate) const fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }

    fn moved(&self, since: impl FnOnce(&T) -> bool) -> bool {
        match self {
            Self::AsCached => true,
            Self::Known(before) => since(before),
            Self::Unknown => false,
        }
    }
}

/// Returns the differences in the private key, the port and the peers. A recorded peer that is no longer desired,
/// because it has expired, does not count as a difference.
pub(crate) fn device(
    name: &InterfaceName,
    desired: &DesiredDevice,
    now: &Device,
    before: &Baseline<Device>,
    owner: impl Fn(&PublicKey) -> Option<PeerId>,
) -> Vec<Finding> {
    let mut all = settings(name, desired, now, before);
    for (key, wanted) in &desired.peers {
        let about = |kind, detail, drifted| Finding {
            peer: owner(key),
            ..found(kind, Subject::Peer(*key), detail, drifted)
        };
        let Some(there) = now.peers.get(key) else {
            let drifted = before.moved(|before| before.peers.contains_key(key));
            let detail = format!("the peer {key} is not on {name}");
            all.push(about(DriftKind::PeerRemoved, detail, drifted));
            continue;
        };
        let moved =
            |differs: fn(&Peer, &Peer) -> bool| before.moved(|b| b.peers.get(key).is_some_and(|b| differs(b, there)));
        let differs = PeerDifference::between(wanted, there);
        if differs.preshared_key || differs.persistent_keepalive {
            let drifted = moved(|before, now| {
                let moved = PeerDifference::between(&as_it_is(before), now);
                moved.preshared_key || moved.persistent_keepalive
            });
            all.push(about(
                DriftKind::PeerChanged,
                changed(key, differs, wanted, there),
                drifted,
            ));
        }
        if differs.allowed_ips {
            let drifted = moved(|before, now| before.allowed_ips != now.allowed_ips);
            let (is, should) = (list(&there.allowed_ips), list(&wanted.allowed_ips));
            let detail = format!("the allowed IPs of the peer {key} are {is} instead of {should}");
            all.push(about(DriftKind::AllowedIpsChanged, detail, drifted));
        }
    }
    let unknown = now.peers.iter();
    let unknown = unknown.filter(|(key, _)| !desired.peers.contains_key(key) && owner(key).is_none());
    all.extend(unknown.map(|(key, there)| {
        let drifted = before.moved(|before| !before.peers.contains_key(key));
        let detail = format!("{name} has the peer {key} with {}", list(&there.allowed_ips));
        found(DriftKind::PeerAdded, Subject::Peer(*key), detail, drifted)
    }));
    all
}

fn settings(name: &InterfaceName, desired: &DesiredDevice, now: &Device, before: &Baseline<Device>) -> Vec<Finding> {
    let DesiredDevice {
        private_key,
        listen_port,
        // Left as it is, because other programs mark packets.
        fwmark: _,
        // Compared individually by the caller.
        peers: _,
    } = desired;
    let mut all = Vec::new();
    if now.private_key.as_ref() != Some(private_key) {
        let drifted = before.moved(|before| before.private_key != now.private_key);
        let detail = match &now.private_key {
            Some(key) => format!(
                "{name} has a different private key; its public key is {}",
                key.public_key()
            ),
            None => format!("{name} has no private key"),
        };
        all.push(found(DriftKind::PrivateKeyChanged, Subject::Interface, detail, drifted));
    }
    if let Some(port) = listen_port.filter(|port| *port != now.listen_port) {
        let drifted = before.moved(|before| before.listen_port != now.listen_port);
        let detail = format!("{name} listens on port {} instead of {port}", now.listen_port);
        all.push(found(DriftKind::ListenPortChanged, Subject::Interface, detail, drifted));
    }
    all
}

/// Returns the differences on the host side.
pub(crate) fn host(spec: &Spec, now: &HostState, before: &Baseline<HostState>) -> Vec<Finding> {
    let differences = now.differences(spec).into_iter();
    differences
        .filter_map(|difference| {
            let Id { kind, subject } = id(&difference)?;
            let drifted = before.moved(|before| now.moved_since(before, &difference));
            Some(found(kind, subject, difference.detail(spec), drifted))
        })
        .collect()
}

/// Returns the identity of the drift that this difference on the host side represents if an external change caused
/// it.
pub(crate) fn id(difference: &Difference) -> Option<Id> {
    Some(Id {
        kind: difference.kind()?,
        subject: difference.network().map_or(Subject::Interface, Subject::Network),
    })
}

/// Returns the finding that the link has been deleted, or replaced by another link with the same name.
pub(crate) fn deleted(name: &InterfaceName) -> Finding {
    let detail = format!("the link {name} has been deleted");
    found(DriftKind::LinkDeleted, Subject::Interface, detail, true)
}

fn found(kind: DriftKind, subject: Subject, detail: String, drifted: bool) -> Finding {
    Finding {
        id: Id { kind, subject },
        peer: None,
        detail,
        drifted,
    }
}

/// Changes `desired` so that the drift in `left` is left as it is, except for the private key, which the caller
/// handles.
pub(crate) fn leave(desired: &mut DesiredDevice, now: &Device, left: &BTreeSet<Id>) {
    for id in left {
        match id.subject {
            Subject::Peer(key) => {
                match now.peers.get(&key) {
                    Some(there) => desired.peers.insert(key, as_it_is(there)),
                    None => desired.peers.remove(&key),
                };
            }
            Subject::Interface | Subject::Network(_) => leave_setting(desired, id.kind),
        }
    }
}

/// Changes `desired` so that a setting of the interface is left as it is.
fn leave_setting(desired: &mut DesiredDevice, kind: DriftKind) {
    match kind {
        DriftKind::ListenPortChanged => desired.listen_port = None,
        // The caller handles the private key; the other kinds are not set through the device.
        DriftKind::PrivateKeyChanged
        | DriftKind::PeerRemoved
        | DriftKind::PeerAdded
        | DriftKind::PeerChanged
        | DriftKind::AllowedIpsChanged
        | DriftKind::LinkDeleted
        | DriftKind::LinkDown
        | DriftKind::MtuChanged
        | DriftKind::AddressRemoved
        | DriftKind::AddressAdded
        | DriftKind::RouteRemoved
        | DriftKind::MasqueradeChanged => {}
    }
}

/// Describes the settings that differ, without disclosing a secret key.
fn changed(key: &PublicKey, differs: PeerDifference, wanted: &DesiredPeer, there: &Peer) -> String {
    let keepalive = there.persistent_keepalive;
    match (differs.preshared_key, differs.persistent_keepalive) {
        (true, false) => format!("the preshared key of the peer {key} differs from the recorded one"),
        (true, true) => format!("the preshared key and persistent keepalive ({keepalive}) of the peer {key} differ"),
        (false, _) => format!(
            "the persistent keepalive of the peer {key} is {keepalive} instead of {}",
            wanted.persistent_keepalive
        ),
    }
}

fn list(networks: &BTreeSet<IpNet>) -> String {
    let mut named: Vec<String> = networks.iter().take(NAMED).map(ToString::to_string).collect();
    match networks.len() {
        0 => return "no network".to_owned(),
        count if count > NAMED => named.push(format!("{} more", count - NAMED)),
        _ => {}
    }
    named.join(", ")
}
