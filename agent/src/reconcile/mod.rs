//! Makes the interface agree with what should be, and says what came of it.
//!
//! Owns the desired state, the last known actual one, and the decision that an interface is ours.
//! Level-triggered: a whole round reads the interface and sends the difference; a change of a few
//! peers is planned against the last reading, so that it costs what changed, and the next round
//! sees the truth. Nothing is removed because somebody is silent. It must not wait or dial:
//! `thread` feeds it.

mod thread;
mod verdict;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use wgctl::device::plan::{ChangeKind, PeerChange, Scope, plan};
use wgctl::device::{Backend, DesiredDevice, Device, Error, Peer, Plan};
use wgctl::protocol::v1::Desired;
use wgctl::{PublicKey, ServerId, Timestamp};

use crate::cache;
use crate::counters::Counters;
use crate::desired::{Misfit, State, Touched, step};
use crate::host::{Host, Spec};
use crate::secrets::Secrets;

pub use thread::{Input, Position, Reading, Running, spawn};
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
    state: Option<State>,
    index: Index,
    opened: Opened,
    /// As last read, with what was sent since; `None` before the first reading and after an error.
    actual: Option<Device>,
    routes: BTreeSet<ipnet::IpNet>,
    verdict: Verdict,
    counters: Counters,
    next_expiry: Option<Timestamp>,
}

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// An owner of what `folder` remembers; the cached state is taken up, nothing is sent yet.
    pub fn new(backend: B, host: H, link_by: LinkBy, secrets: Arc<Secrets>, folder: PathBuf) -> Self {
        let state = cache::load(&folder).unwrap_or_else(|error| {
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
            state,
            index,
            opened: Opened::default(),
            actual: None,
            routes: BTreeSet::new(),
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

    /// Sends changes of peers. Those that are created count from zero.
    fn send(&mut self, state: &State, peers: Vec<PeerChange>) -> Result<(), Error> {
        for change in peers.iter().filter(|change| change.kind == ChangeKind::Create) {
            self.counters.peer_is_new(&change.public_key);
        }
        self.backend.apply(
            &state.interface.name,
            &Plan {
                peers,
                ..Plan::default()
            },
        )
    }

    /// Takes one answer of the plane and carries it out.
    pub fn take(&mut self, server: &ServerId, desired: Desired, now: Timestamp) -> Result<Touched, Misfit> {
        // The last dump that shows a peer before it goes is the last chance to count it.
        if removes(&desired) {
            self.read_and_count();
        }
        let touched = step(&mut self.state, server, desired)?;
        match &touched {
            Touched::Nothing => {}
            Touched::All => {
                self.reindex();
                self.round(now);
            }
            Touched::Peers(keys) => self.change(keys, now),
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
        let outcome = self.whole(&state, now);
        self.verdict.incarnation = Some(state.incarnation);
        match outcome {
            Ok(trouble) => {
                self.verdict.revision = state.revision;
                self.verdict.interface_failed = trouble;
            }
            // The interface is not ours to use: nothing of this revision is there.
            Err(error) => {
                self.actual = None;
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
        if !plan.is_empty()
            && let Err(error) = self.backend.apply(name, &plan)
        {
            trouble.push(error.to_string());
        }
        let mut refused = BTreeMap::new();
        if !changes.is_empty() {
            tracing::info!(interface = %name, peers = changes.len(), "changing the interface");
            if let Err(error) = self.send(state, changes) {
                refused = self.one_by_one(state, &desired, &error)?;
            }
        }
        trouble.extend(self.configure(state).err().map(|error| error.to_string()));
        let actual = if silent {
            actual
        } else {
            self.read(state)?.unwrap_or(actual)
        };
        failed.extend(reasons(&desired, &actual, &refused, |key| self.index.owner(key)));
        self.verdict.failed = failed;
        self.actual = Some(actual);
        self.next_expiry = state
            .peers
            .values()
            .filter_map(|peer| peer.expires_at)
            .filter(|end| *end > now)
            .min();
        Ok((!trouble.is_empty()).then(|| trouble.join("; ")))
    }

    /// A change of a few peers, planned against the last reading.
    fn change(&mut self, keys: &[PublicKey], now: Timestamp) {
        let (Some(mut actual), Some(state)) = (self.actual.take(), self.state.take()) else {
            self.reindex();
            return self.round(now);
        };
        self.index_again(&state, keys);
        let ids: Vec<_> = keys.iter().filter_map(|key| self.index.owner(key)).collect();
        let (peers, failed) = self.wanted(&state, ids.iter(), &actual, now);
        let desired = self.device(&state, peers);
        let changes = plan(&desired, &actual, &Scope::Peers(keys)).peers;
        let applied = match changes.is_empty() {
            true => Ok(()),
            false => self.send(&state, changes),
        };
        let routed = match self.index.routes() == self.routes {
            true => Ok(()),
            false => self.configure(&state),
        };
        if let Err(error) = applied.and(routed) {
            tracing::warn!("{error}: the whole interface is compared");
            self.state = Some(state);
            return self.round(now);
        }
        remember(&mut actual, &desired, keys);
        self.actual = Some(actual);
        self.verdict.revision = state.revision;
        self.verdict
            .failed
            .retain(|id, _| state.peers.contains_key(id) && !ids.contains(id));
        self.verdict.failed.extend(failed);
        let expiries = ids
            .iter()
            .filter_map(|id| state.peers.get(id)?.expires_at)
            .filter(|end| *end > now);
        self.next_expiry = expiries.chain(self.next_expiry).min();
        self.state = Some(state);
    }

    /// Brings the index up to date for keys that came, went or changed.
    fn index_again(&mut self, state: &State, keys: &[PublicKey]) {
        let before: Vec<_> = keys.iter().filter_map(|key| self.index.owner(key)).collect();
        keys.iter().for_each(|key| self.index.remove(key));
        // A key is touched because its peer was, under the id it had or the id it has.
        for id in &before {
            if let Some(peer) = state.peers.get(id) {
                self.index.insert(&state.interface, peer);
            }
        }
        let missing: BTreeSet<_> = keys.iter().filter(|key| self.index.owner(key).is_none()).collect();
        if !missing.is_empty() {
            let newcomers = state.peers.values().filter(|peer| missing.contains(&peer.public_key));
            newcomers.for_each(|peer| self.index.insert(&state.interface, peer));
        }
    }

    /// The peers that have expired by `now` leave.
    pub fn expire(&mut self, now: Timestamp) {
        self.round(now);
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

    /// The interface, made if there is none; an error if it is somebody else's.
    fn ours(&mut self, state: &State) -> Result<Device, Error> {
        let name = &state.interface.name;
        if self.link_by == LinkBy::Us && self.host.create_link(name)? {
            tracing::info!(interface = %name, "made the interface");
            self.counters.interface_is_new();
        }
        let missing = match self.link_by {
            LinkBy::Us => Error::NoInterface,
            LinkBy::Others => Error::NoUserspace,
        };
        let device = self.read(state)?.ok_or_else(|| missing(name.clone()))?;
        let unused = device.private_key.is_none() && device.peers.is_empty();
        if unused || device.private_key.as_ref() == Some(self.secrets.private_key()) {
            return Ok(device);
        }
        Err(Error::Refused {
            what: format!("using {name}"),
            message: "it is a WireGuard interface with another private key, made by somebody else, and is left alone: \
                      remove it, or give the server record another interface"
                .to_owned(),
            errno: 0,
        })
    }

    fn read(&mut self, state: &State) -> Result<Option<Device>, Error> {
        let device = self.backend.read(&state.interface.name)?;
        if let Some(device) = &device
            && device.private_key.as_ref() == Some(self.secrets.private_key())
        {
            let known = |id| state.peers.contains_key(&id);
            self.counters.observe(device, |key| self.index.owner(key), known);
        }
        Ok(device)
    }

    fn read_and_count(&mut self) {
        if let Some(state) = self.state.take() {
            match self.read(&state) {
                Ok(device) => self.actual = device.filter(|_| self.actual.is_some()),
                Err(error) => tracing::warn!("{error}"),
            }
            self.state = Some(state);
        }
    }

    /// After a refusal: reads again, and sends what is left one peer at a time, so that one bad
    /// peer does not keep the others out. Gives why which was refused.
    fn one_by_one(
        &mut self,
        state: &State,
        desired: &DesiredDevice,
        error: &Error,
    ) -> Result<BTreeMap<PublicKey, String>, Error> {
        /// So many in a row fail for a reason that is not theirs.
        const ENOUGH: usize = 16;
        tracing::warn!("{error}: trying the peers one by one");
        let actual = self.read(state)?.unwrap_or_default();
        let mut refused = BTreeMap::new();
        let mut in_a_row = 0;
        for change in plan(desired, &actual, &Scope::All).peers {
            let key = change.public_key;
            if in_a_row >= ENOUGH {
                refused.insert(key, error.to_string());
                continue;
            }
            match self.send(state, vec![change]) {
                Ok(()) => in_a_row = 0,
                Err(error) => {
                    in_a_row += 1;
                    refused.insert(key, error.to_string());
                }
            }
        }
        Ok(refused)
    }

    fn configure(&mut self, state: &State) -> Result<(), Error> {
        let interface = &state.interface;
        let routes = self.index.routes();
        let networks = interface.addresses.iter().map(|address| address.trunc());
        let spec = Spec {
            name: interface.name.clone(),
            addresses: interface.addresses.clone(),
            mtu: interface.mtu,
            routes: routes.clone(),
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
        self.routes = routes;
        Ok(())
    }

    /// Writes the state down for a boot without a plane.
    pub fn save(&self) {
        if let Some(state) = &self.state
            && let Err(error) = cache::save(&self.folder, state)
        {
            tracing::error!("the state is not cached: {error}");
        }
    }

    /// Writes the counters down.
    pub fn save_counters(&self) {
        if let Err(error) = self.counters.save(&self.folder) {
            tracing::error!("{}: the counters are not saved: {error}", self.folder.display());
        }
    }
}

/// Whether a message takes peers away.
const fn removes(desired: &Desired) -> bool {
    use wgctl::protocol::v1::Change;
    match &desired.change {
        Change::Unchanged => false,
        Change::Delta { remove, .. } => !remove.is_empty(),
        Change::Snapshot { .. } => true,
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

/// Notes in the last reading what was sent since.
fn remember(actual: &mut Device, desired: &DesiredDevice, keys: &[PublicKey]) {
    for key in keys {
        match desired.peers.get(key) {
            None => {
                actual.peers.remove(key);
            }
            Some(wanted) => {
                let peer = actual.peers.entry(*key).or_default();
                peer.preshared_key.clone_from(&wanted.preshared_key);
                peer.persistent_keepalive = wanted.persistent_keepalive;
                peer.allowed_ips.clone_from(&wanted.allowed_ips);
            }
        }
    }
}
