//! Makes the interface agree with what should be, and says what came of it.
//!
//! Owns the desired state, the last known actual one, and the decision that an interface is ours.
//! Level-triggered: a whole round reads the interface and sends the difference; a change of a few
//! peers is planned against the last reading, so that it costs what changed, and the next round
//! sees the truth. Nothing is removed because somebody is silent. It must not wait or dial:
//! `thread` feeds it.

mod change;
mod interface;
mod send;
mod thread;
mod verdict;
mod wanted;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use wgctl::device::plan::{Scope, plan};
use wgctl::device::{Backend, DesiredDevice, Device, Error, Peer, Plan};
use wgctl::protocol::v1::Desired;
use wgctl::{PublicKey, ServerId, Timestamp};

use crate::cache::Cache;
use crate::counters::Counters;
use crate::desired::{Base, Delta, Misfit, State, Touched, step};
use crate::host::{Host, Spec};
use crate::secrets::Secrets;

pub use thread::{Handle, Input, Loop, Position, Reading, spawn};
pub use verdict::Verdict;
use verdict::reasons;
use wanted::{Index, Opened, Wanted};

/// Who makes the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkBy {
    /// We do.
    Us,
    /// A userspace process that others start.
    Others,
}

/// The owner of one interface.
pub struct Reconciler<B, H> {
    backend: B,
    host: H,
    link_by: LinkBy,
    secrets: Arc<Secrets>,
    folder: PathBuf,
    cache: Cache,
    state: Option<State>,
    index: Index,
    opened: Opened,
    /// As last read, with what was sent since; `None` before the first reading and after an error.
    actual: Option<Device>,
    verdict: Verdict,
    counters: Counters,
    next_expiry: Option<Timestamp>,
}

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// An owner of what `folder` remembers; the cached state is taken up, nothing is sent yet.
    pub fn new(backend: B, host: H, link_by: LinkBy, secrets: Arc<Secrets>, folder: PathBuf) -> Self {
        let (cache, cached) = Cache::open(&folder);
        let state = cached.unwrap_or_else(|error| {
            tracing::error!("{error}");
            None
        });
        let counters = Counters::load(&folder).unwrap_or_else(|error| {
            tracing::error!(
                "{}: counters.json cannot be read ({error}): counting begins anew",
                folder.display()
            );
            Counters::default()
        });
        let index = state.as_ref().map_or_else(Index::default, |state| {
            Index::new(&state.interface, state.peers.values())
        });
        let verdict = Verdict::of(state.as_ref());
        Self {
            backend,
            host,
            link_by,
            secrets,
            folder,
            cache,
            state,
            index,
            opened: Opened::default(),
            actual: None,
            verdict,
            counters,
            next_expiry: None,
        }
    }

    /// What should be, as far as it is known.
    pub const fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// What came of it.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// When the next peer expires.
    pub const fn next_expiry(&self) -> Option<Timestamp> {
        self.next_expiry
    }

    /// What the plane should count.
    pub const fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Takes one answer of the plane and carries it out. It is written down first: what is confirmed
    /// must be there after a power cut with nobody to ask.
    pub fn take(&mut self, server: &ServerId, desired: Desired, base: Base, now: Timestamp) -> Result<Touched, Misfit> {
        self.count_before(&desired);
        let delta = Delta::of(&desired);
        let touched = step(&mut self.state, server, desired, base)?;
        if touched != Touched::Nothing {
            self.write_down(delta.as_ref());
        }
        match &touched {
            Touched::Nothing => {}
            Touched::All => {
                self.reindex();
                self.round(now);
            }
            Touched::Peers { ids, keys } => self.change(ids, keys, now),
        }
        Ok(touched)
    }

    fn reindex(&mut self) {
        if let Some(state) = &self.state {
            self.index = Index::new(&state.interface, state.peers.values());
            self.opened.keep(|id| state.peers.contains_key(id));
        }
    }

    /// A whole round: the interface is read and made as it should be.
    pub fn round(&mut self, now: Timestamp) {
        let Some(state) = self.state.take() else { return };
        self.verdict.begin(&state);
        match self.whole(&state, now) {
            Ok(trouble) => {
                self.verdict.revision = state.revision;
                self.verdict.interface_failed = trouble;
            }
            Err(error) => {
                self.actual = None;
                // Gone, or not ours to use: nothing of any revision is there. A conversation that
                // failed says nothing about what is there.
                if !matches!(error, Error::Io { .. } | Error::Protocol { .. }) {
                    self.verdict.revision = 0;
                }
                self.next_expiry = None;
                self.verdict.interface_failed = Some(error.to_string());
            }
        }
        self.state = Some(state);
    }

    /// Gives what of the interface's own settings failed; peers are there all the same.
    fn whole(&mut self, state: &State, now: Timestamp) -> Result<Option<String>, Error> {
        let name = &state.interface.name;
        let actual = self.ours(state)?;
        let (peers, mut failed) = self.wanted(state, state.peers.keys(), &actual, now);
        let desired = self.device(state, peers);
        let mut trouble = Vec::new();
        let mut plan = plan(&desired, &actual, &Scope::All);
        let changes = std::mem::take(&mut plan.peers);
        let silent = plan.is_empty() && changes.is_empty();
        // The key alone and first: it is what makes the interface ours, and a port that is in use
        // ends a message before its key is taken.
        let key = Plan {
            private_key: plan.private_key.take(),
            ..Plan::default()
        };
        for plan in [key, plan].iter().filter(|plan| !plan.is_empty()) {
            trouble.extend(self.backend.apply(name, plan).err().map(|error| error.to_string()));
        }
        let mut refused = BTreeMap::new();
        if !changes.is_empty() {
            if self.verdict.is_clean() {
                tracing::info!(interface = %name, peers = changes.len(), "changing peers");
            }
            if let Err(error) = self.send(state, changes) {
                refused = self.one_by_one(state, &desired, error)?;
            }
        }
        trouble.extend(self.configure(state).err().map(|error| error.to_string()));
        let actual = if silent { actual } else { self.present(state)? };
        // What was known to be impossible keeps its reason.
        let mut differing = reasons(&desired, &actual, &refused, |key| self.index.owner(key));
        differing.append(&mut failed);
        self.verdict.failed = differing;
        self.actual = Some(actual);
        self.next_expiry = state
            .peers
            .values()
            .filter_map(|peer| peer.expires_at)
            .filter(|end| *end > now)
            .min();
        Ok((!trouble.is_empty()).then(|| trouble.join("; ")))
    }

    /// What these peers should be, and which of them cannot be.
    fn wanted<'a>(
        &mut self,
        state: &State,
        ids: impl Iterator<Item = &'a wgctl::PeerId>,
        actual: &Device,
        now: Timestamp,
    ) -> (
        BTreeMap<PublicKey, wgctl::device::DesiredPeer>,
        BTreeMap<wgctl::PeerId, String>,
    ) {
        let (mut peers, mut failed) = (BTreeMap::new(), BTreeMap::new());
        for peer in ids.filter_map(|id| state.peers.get(id)) {
            match self.opened.wanted(&self.secrets, &state.server_id, peer, now) {
                Wanted::Present(wanted) => {
                    peers.insert(peer.public_key, wanted);
                }
                Wanted::Expired => {}
                Wanted::Unknown(reason) => {
                    failed.insert(peer.id, reason);
                    peers.extend(
                        actual
                            .peers
                            .get(&peer.public_key)
                            .map(|there| (peer.public_key, as_it_is(there))),
                    );
                }
            }
        }
        (peers, failed)
    }

    fn device(&self, state: &State, peers: BTreeMap<PublicKey, wgctl::device::DesiredPeer>) -> DesiredDevice {
        DesiredDevice {
            private_key: self.secrets.private_key().clone(),
            listen_port: Some(state.interface.listen_port),
            fwmark: None,
            peers,
        }
    }

    fn configure(&mut self, state: &State) -> Result<(), Error> {
        let interface = &state.interface;
        let networks = interface.addresses.iter().map(|address| address.trunc());
        let spec = Spec {
            name: interface.name.clone(),
            addresses: interface.addresses.clone(),
            mtu: interface.mtu,
            routes: self.index.routes(),
            masquerade: if interface.masquerade {
                networks.collect()
            } else {
                Vec::new()
            },
        };
        let writes = self.host.configure(&spec)?;
        if writes > 0 {
            tracing::info!(interface = %interface.name, writes, "configured addresses, routes and masquerading");
        }
        Ok(())
    }

    /// Writes down what led to the state. A disk that refuses keeps nothing from the kernel: a client
    /// that was cut off must be cut off.
    fn write_down(&mut self, delta: Option<&Delta>) {
        let Some(state) = &self.state else { return };
        if let Err(error) = self.cache.write(state, delta) {
            tracing::error!("the state is not cached, a boot without a plane would not have it: {error}");
        }
    }

    /// Whether the cache is older than the state: the disk refused it.
    pub const fn cache_is_behind(&self) -> bool {
        self.cache.is_behind()
    }

    /// Tries the cache again, whole.
    pub fn save(&mut self) {
        self.write_down(None);
    }

    /// Writes the counters down.
    pub fn save_counters(&self) {
        if let Err(error) = self.counters.save(&self.folder) {
            tracing::error!("{}: the counters are not saved: {error}", self.folder.display());
        }
    }
}

/// What is there, as something to want.
fn as_it_is(peer: &Peer) -> wgctl::device::DesiredPeer {
    wgctl::device::DesiredPeer {
        preshared_key: peer.preshared_key.clone(),
        persistent_keepalive: peer.persistent_keepalive,
        allowed_ips: peer.allowed_ips.clone(),
        endpoint: None,
    }
}

#[cfg(test)]
mod tests;
