//! The guard's judgement within a round.
//!
//! Owns when the host's network is read and judged. It must not decide what is refused: that is the guard's.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use wgctl::Timestamp;
use wgctl::device::{Backend, Error};
use wgctl::protocol::v1::Peer;

use super::reconciler::Reconciler;
use crate::desired::State;
use crate::guard::Wanted;
use crate::host::Host;

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// Reads the host's network and judges the desired host side. Returns whether the judgement changed.
    pub(super) fn judge_network(&mut self, state: &State, now: Timestamp) -> Result<bool, Error> {
        let spec = self.spec(state, now);
        let network = self.host.network(&spec.name, &self.guard.plane_addresses())?;
        // The link may not exist yet.
        let shown = self.host.read(&spec).ok();
        let (present, routed) = shown.map(|shown| (shown.addresses, shown.routes)).unwrap_or_default();
        let wanted = Wanted {
            addresses: &spec.addresses,
            routes: &spec.wanted_routes(),
            present: &present,
        };
        Ok(self.guard.judge(&network, wanted, &routed))
    }

    /// Removes a peer's networks that the guard refuses. Returns the reasons if there were any.
    pub(super) fn remove_refused(&self, peer: &Peer, allowed_ips: &mut BTreeSet<IpNet>) -> Option<String> {
        let judgement = self.guard.judgement();
        allowed_ips.retain(|network| !judgement.networks.contains_key(network));
        let networks: Vec<IpNet> = peer
            .allowed_ips
            .iter()
            .map(|net| wgctl::address::normal(*net))
            .collect();
        judgement.refusal(networks.iter())
    }

    /// Returns the reasons why the guard refuses addresses of the interface; `None` if it refuses none.
    pub(super) fn refused_addresses(&self) -> Option<String> {
        let reasons: Vec<&str> = self.guard.judgement().addresses.values().map(String::as_str).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Notes the addresses of the planes, and compares everything if they changed.
    pub fn note_planes(&mut self, resolved: std::collections::BTreeMap<String, BTreeSet<IpAddr>>, now: Timestamp) {
        if self.guard.note_planes(resolved) {
            self.round(now);
        }
    }

    /// Notes that a plane has been reached at this address.
    pub fn note_plane_reached(&mut self, address: IpAddr) {
        self.guard.note_reached(address);
    }
}
