//! The actions of users: clients are created, changed and removed, servers are changed, and traffic is sent.
//!
//! Owns the choice of actions. Other modules check their effects.

use std::time::Duration;

use sentrazone_plane::fleet::{Fleet, Refusal};
use wgctl::api::{NewPeer, Peer, PeerPatch, ServerPatch};
use wgctl::{PrivateKey, Timestamp};

use crate::host::Host;
use crate::network::server;
use crate::record;
use crate::world::{World, admin};

impl World {
    /// Performs one action on a server if the plane is running.
    pub(crate) fn act(&mut self, number: usize) {
        let id = server(number);
        let read = self
            .plane
            .ask(move |fleet| async move { record::read(&fleet, &id).await });
        let Some((_, clients)) = read else { return };
        let done = match self.dice.below(10) {
            0..=3 => self.create(number),
            4..=5 => self.toggle(number, &clients),
            6 => self.remove(number, &clients),
            7 => self.expire(number, &clients),
            8 => self.move_network(number, &clients),
            _ => self.set_server(number),
        };
        self.note(number);
        self.network.tell();
        self.network.trace(format_args!("{number}: {done}"));
    }

    /// Requests a change. Returns the outcome as text for the trace.
    fn change<F>(&self, what: &str, change: impl FnOnce(Fleet) -> F + Send + 'static) -> String
    where
        F: Future<Output = Result<(), Refusal>>,
    {
        match self.plane.ask(change) {
            Some(Ok(())) => what.to_owned(),
            Some(Err(_)) => format!("{what}: refused"),
            None => format!("{what}: no plane"),
        }
    }

    pub(crate) fn create(&mut self, number: usize) -> String {
        self.names += 1;
        let mut new = NewPeer {
            name: Some(format!("client-{}", self.names).parse().unwrap()),
            ..NewPeer::default()
        };
        let own_key = self.dice.permille(400);
        if own_key {
            new.public_key = Some(PrivateKey::generate().unwrap().public_key());
            new.preshared_key = Some(false);
        }
        if self.dice.permille(200) {
            new.expires_at = Some(self.soon());
        }
        if self.dice.permille(300) {
            let network = format!("10.50.{}.0/24", self.names);
            new.server_allowed_ips = Some(vec![network.parse().unwrap()]);
        }
        let id = server(number);
        let what = if own_key { "create with its key" } else { "create" };
        self.change(what, |fleet| async move {
            fleet.create_peer(&admin(), &id, new, None).await.map(drop)
        })
    }

    /// Returns a time within about the next ten minutes, according to a clock that has never jumped.
    fn soon(&mut self) -> Timestamp {
        let now = self.hosts[0].true_time();
        now.after(Duration::from_secs(5) + self.dice.milliseconds(0..600_000))
    }

    fn patch(&self, number: usize, client: &Peer, patch: PeerPatch, what: &str) -> String {
        let (server, id) = (server(number), client.id);
        let what = format!("{what} {}", client.name);
        self.change(&what, move |fleet| async move {
            fleet.update_peer(&admin(), &server, &id, patch).await.map(drop)
        })
    }

    fn toggle(&mut self, number: usize, clients: &[Peer]) -> String {
        let Some(client) = self.dice.pick(clients) else {
            return String::new();
        };
        let patch = PeerPatch {
            enabled: Some(!client.enabled),
            ..PeerPatch::default()
        };
        self.patch(number, client, patch, "toggle")
    }

    fn remove(&mut self, number: usize, clients: &[Peer]) -> String {
        let Some(client) = self.dice.pick(clients) else {
            return String::new();
        };
        let (server, id) = (server(number), client.id);
        self.change(&format!("remove {}", client.name), move |fleet| async move {
            fleet.remove_peer(&admin(), &server, &id).await.map(drop)
        })
    }

    fn expire(&mut self, number: usize, clients: &[Peer]) -> String {
        let expires_at = if self.dice.permille(700) {
            Some(self.soon())
        } else {
            None
        };
        let Some(client) = self.dice.pick(clients) else {
            return String::new();
        };
        let patch = PeerPatch {
            expires_at: Some(expires_at),
            ..PeerPatch::default()
        };
        self.patch(number, client, patch, "expire")
    }

    /// Moves a network from one client to another.
    fn move_network(&mut self, number: usize, clients: &[Peer]) -> String {
        let mut with = clients.iter().filter(|client| !client.server_allowed_ips.is_empty());
        let (Some(from), Some(to)) = (with.next(), self.dice.pick(clients)) else {
            return String::new();
        };
        if from.id == to.id {
            return String::new();
        }
        let networks = |server_allowed_ips| PeerPatch {
            server_allowed_ips: Some(server_allowed_ips),
            ..PeerPatch::default()
        };
        let taken = self.patch(number, from, networks(Vec::new()), "take the network of");
        self.note(number);
        let all = [to.server_allowed_ips.clone(), from.server_allowed_ips.clone()].concat();
        let given = self.patch(number, to, networks(all), "give it to");
        format!("{taken}, {given}")
    }

    fn set_server(&mut self, number: usize) -> String {
        let patch = ServerPatch {
            listen_port: Some(51_820 + u16::try_from(self.dice.below(5)).unwrap()),
            masquerade: Some(self.dice.permille(500)),
            ..ServerPatch::default()
        };
        let id = server(number);
        self.change("set the server", |fleet| async move {
            fleet.update_server(&admin(), &id, patch).await.map(drop)
        })
    }

    /// Sends bytes through one of the host's tunnels.
    pub(crate) fn traffic(&mut self, number: usize) {
        let host = &self.hosts[number];
        let Some(device) = host.device() else { return };
        let record = host.shared.record();
        // Sorted by address, because the seed determines the addresses, whereas keys and client ids are random.
        let mut peers: Vec<_> = device
            .peers
            .iter()
            .filter_map(|(key, peer)| {
                let versions = record.since(0).filter_map(|peers| peers.get(key));
                Some((peer.allowed_ips.first().copied()?, *key, peer, versions.last()?.client))
            })
            .collect();
        peers.sort_by_key(|(address, ..)| *address);
        let Some((_, key, peer, client)) = self.dice.pick(&peers) else {
            return;
        };
        let bytes = 1 + self.dice.milliseconds(0..100_000).as_secs() * 1000 + u64::try_from(self.names).unwrap();
        let (rx, tx) = (peer.rx_bytes + bytes, peer.tx_bytes + bytes / 2);
        if host.devices.set_counters(&Host::interface(), key, rx, tx) {
            let mut ledgers = self.ledgers.lock().unwrap();
            *ledgers[number].told.entry(*client).or_default() += bytes;
            drop(ledgers);
            self.network.trace(format_args!("{number}: {bytes} bytes"));
        }
    }
}
