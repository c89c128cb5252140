//! The goal for each peer at a given time: to be on the interface with certain settings, or not to be on it.
//!
//! Owns the expiry, the decryption of preshared keys (once each), and the reasons why a peer cannot be set up. It
//! must not communicate with the kernel.

use std::collections::BTreeMap;

use wgctl::device::DesiredPeer;
use wgctl::protocol::v1::{Peer, Sealed};
use wgctl::{PeerId, PresharedKey, ServerId, Timestamp, address};

use crate::secrets::Secrets;

/// The goal for a peer at a given time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeerGoal {
    /// The peer is on the interface with these settings.
    Present(DesiredPeer),
    /// The peer has expired and is not on the interface.
    Expired,
    /// The goal is unknown for this reason: the peer on the interface, if any, is left as it is.
    Unknown(String),
}

/// Decrypted preshared keys, cached so that the cost of a change depends only on the changed peers.
#[derive(Default)]
pub(crate) struct PresharedKeyCache(BTreeMap<PeerId, (Sealed, PresharedKey)>);

impl PresharedKeyCache {
    /// Returns the goal for `peer` at `now`.
    pub(crate) fn wanted(&mut self, secrets: &Secrets, server: &ServerId, peer: &Peer, now: Timestamp) -> PeerGoal {
        let Peer {
            id,
            public_key,
            preshared_key,
            allowed_ips,
            persistent_keepalive,
            expires_at,
        } = peer;
        if expires_at.is_some_and(|end| end <= now) {
            return PeerGoal::Expired;
        }
        if *public_key == secrets.private_key().public_key() {
            return PeerGoal::Unknown("its public key is the host's own: give the device another key".to_owned());
        }
        let preshared_key = match preshared_key {
            None => None,
            Some(sealed) => match self.open(secrets, server, *id, sealed) {
                Ok(key) => Some(key),
                Err(error) => return PeerGoal::Unknown(error.to_string()),
            },
        };
        let allowed_ips = allowed_ips.iter().map(|net| address::normal(*net)).collect();
        PeerGoal::Present(DesiredPeer {
            preshared_key,
            persistent_keepalive: persistent_keepalive.unwrap_or(0),
            allowed_ips,
            endpoint: None,
        })
    }

    fn open(
        &mut self,
        secrets: &Secrets,
        server: &ServerId,
        peer: PeerId,
        sealed: &Sealed,
    ) -> Result<PresharedKey, crate::secrets::Error> {
        if let Some((_, key)) = self.0.get(&peer).filter(|(opened, _)| opened == sealed) {
            return Ok(key.clone());
        }
        let key = secrets.open_preshared_key(server, peer, sealed)?;
        self.0.insert(peer, (sealed.clone(), key.clone()));
        Ok(key)
    }

    /// Removes the key of a removed peer.
    pub(super) fn forget(&mut self, id: &PeerId) {
        self.0.remove(id);
    }

    /// Removes the keys of removed peers.
    pub(crate) fn keep(&mut self, known: impl Fn(&PeerId) -> bool) {
        self.0.retain(|id, _| known(id));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::desired::tests::{peer, server};

    #[test]
    fn the_cached_key_of_a_removed_peer_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(folder.path()).unwrap();
        let mut opened = PresharedKeyCache::default();
        let now = Timestamp::from_unix(0);
        let ids = [2, 3, 4].map(|number| {
            let prekey = secrets.prekey(&server()).unwrap();
            let peer = Peer {
                id: prekey.id,
                public_key: prekey.public_key,
                preshared_key: Some(prekey.preshared_key),
                ..peer(number)
            };
            let wanted = opened.wanted(&secrets, &server(), &peer, now);
            assert!(matches!(wanted, PeerGoal::Present(peer) if peer.preshared_key.is_some()));
            peer.id
        });
        let known = |opened: &PresharedKeyCache| opened.0.keys().copied().collect::<BTreeSet<_>>();
        assert_eq!(known(&opened), ids.into());
        opened.forget(&ids[0]);
        assert_eq!(known(&opened), [ids[1], ids[2]].into());
        opened.keep(|id| *id == ids[2]);
        assert_eq!(known(&opened), [ids[2]].into());
    }
}
