//! The setting for the faults: a plane behind its own link, VPN hosts, and devices (the witnesses) whose tunnels carry
//! traffic.
//!
//! Owns the construction of the setting, the changes that tests make, and the comparison of the kernel with the record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sentrazone_tests::device::Device;
use sentrazone_tests::lab::{Host, Lab};
use sentrazone_tests::sessions::{End, Sessions};
use sentrazone_tests::traffic::{Tally, Traffic};
use sentrazone_tests::wait;
use wgctl::PrivateKey;
use wgctl::api::{NewPeer, Peer, PeerPatch, Status};
use wgctl::client::{Error, PlaneClient};

/// The maximum wait for an agent to return. Its pauses between attempts grow to 30 s, and the machine may be slow.
const RETURN: Duration = Duration::from_secs(180);

/// The allowed IPs of peers, by public key.
type Peers = BTreeMap<String, BTreeSet<String>>;

/// A host with witnesses.
pub(crate) struct Scene {
    // Fields are dropped in this order: the host's agent before the lab's directory, which contains its log.
    pub(crate) host: Host,
    pub(crate) lab: Lab,
    pub(crate) admin: PlaneClient,
    pub(crate) witnesses: Vec<Witness>,
    sessions: Option<Sessions>,
}

/// A device whose tunnel carries traffic.
pub(crate) struct Witness {
    pub(crate) device: Device,
    pub(crate) peer: Peer,
    traffic: Traffic,
}

/// Returns a request to create a peer with its own key, which no device uses.
pub(crate) fn new_peer(name: &str) -> NewPeer {
    NewPeer {
        name: Some(name.parse().unwrap()),
        public_key: Some(PrivateKey::generate().unwrap().public_key()),
        preshared_key: Some(false),
        ..NewPeer::default()
    }
}

impl Scene {
    /// Creates a host with two witnesses that send traffic. Its agent reports every second.
    pub(crate) async fn new() -> Self {
        Self::reporting_each(1).await
    }

    /// Like [`Scene::new`], with the given report interval.
    pub(crate) async fn reporting_each(seconds: u32) -> Self {
        let mut lab = Lab::apart().await;
        lab.report_interval = seconds;
        let host = lab.host("los-angeles", &["10.8.0.0/16"]).await;
        let admin = lab.admin();
        let mut scene = Self {
            lab,
            host,
            admin,
            witnesses: Vec::new(),
            sessions: None,
        };
        scene.up_to_date().await;
        for number in 0..2 {
            let witness = scene.witness(number).await;
            scene.witnesses.push(witness);
        }
        scene.watch();
        scene
    }

    async fn witness(&self, number: u16) -> Witness {
        let name = format!("witness-{number}");
        let (peer, device) = self.connected(&self.host, &name).await;
        let (from, folder) = (&device.namespace, self.lab.folder());
        let traffic = Traffic::begin(&name, from, &self.host.namespace, "10.8.0.1", number, folder);
        Witness { device, peer, traffic }
    }

    /// Creates a peer on `host` and its device, with a working tunnel.
    pub(crate) async fn connected(&self, host: &Host, name: &str) -> (Peer, Device) {
        let new = NewPeer {
            name: Some(name.parse().unwrap()),
            ..NewPeer::default()
        };
        // An agent that is new to its plane first creates a stock of keys. On a slow machine, that takes
        // longer than the plane waits.
        let make = || self.admin.create_peer(&host.id, &new, None);
        let peer = wait::within(RETURN, "the agent has keys in stock", make, Result::is_ok)
            .await
            .unwrap();
        let open = || self.admin.peer_configuration(&host.id, peer.id);
        let configuration = wait::within(RETURN, "the agent opens the keys", open, Result::is_ok)
            .await
            .unwrap();
        let device = self.lab.device(name);
        device.connect(&configuration);
        assert!(
            device.reaches(&self.server_address(host).await),
            "{name}'s tunnel does not work"
        );
        (peer, device)
    }

    pub(crate) async fn server_address(&self, host: &Host) -> String {
        self.admin.server(&host.id).await.unwrap().addresses[0].to_string()
    }

    /// Starts watching both ends of the witnesses' sessions.
    fn watch(&mut self) {
        let ends = self.witnesses.iter().flat_map(|witness| {
            let text = std::process::Command::new("ip")
                .args([
                    "netns",
                    "exec",
                    witness.device.namespace.name(),
                    "wg",
                    "show",
                    "tun0",
                    "peers",
                ])
                .output()
                .unwrap();
            let host_key = String::from_utf8(text.stdout).unwrap().trim().parse().unwrap();
            [
                End::new(&self.host.namespace, &self.host.interface, &witness.peer.public_key),
                End::new(&witness.device.namespace, "tun0", &host_key),
            ]
        });
        self.sessions = Some(Sessions::watch(ends.collect()));
    }

    /// Ends the witnesses' traffic and returns the counts.
    pub(crate) fn end(&mut self) -> Tally {
        let mut tally = Tally::default();
        let mut devices = Vec::new();
        for witness in self.witnesses.drain(..) {
            tally = tally.and(&witness.traffic.end());
            // Kept until the sessions have been read once more.
            devices.push(witness.device);
        }
        tally.with_sessions(self.sessions.take().unwrap())
    }

    /// Creates a peer with its own key, which no device uses.
    pub(crate) async fn add(&self, name: &str) -> Result<Peer, Error> {
        self.admin.create_peer(&self.host.id, &new_peer(name), None).await
    }

    /// Sets the networks behind a peer.
    pub(crate) async fn route(&self, peer: &Peer, networks: &[&str]) -> Result<Peer, Error> {
        let patch = PeerPatch {
            server_allowed_ips: Some(networks.iter().map(|net| net.parse().unwrap()).collect()),
            ..PeerPatch::default()
        };
        self.admin.update_peer(&self.host.id, peer.id, &patch).await
    }

    /// Returns the host's status.
    pub(crate) async fn status(&self) -> Status {
        let statuses = self.admin.statuses().await.unwrap();
        statuses
            .into_iter()
            .find(|status| status.server_id == self.host.id)
            .unwrap()
    }

    /// Waits until the agent is online and has applied the record. Returns the time it took.
    pub(crate) async fn up_to_date(&self) -> Duration {
        let begin = Instant::now();
        let good = |status: &Status| status.online && status.applied_revision == Some(status.desired_revision);
        wait::within(RETURN, "the agent is online and up to date", || self.status(), good).await;
        begin.elapsed()
    }

    /// Waits until the kernel has exactly the recorded peers. Returns the time it took.
    pub(crate) async fn agrees(&self) -> Duration {
        let begin = Instant::now();
        let both = || async { (self.recorded().await, self.kernel()) };
        wait::within(RETURN, "the kernel matches the record", both, |(recorded, kernel)| {
            recorded == kernel
        })
        .await;
        begin.elapsed()
    }

    /// Returns the peers that the kernel should have according to the plane's record.
    pub(crate) async fn recorded(&self) -> Peers {
        let peers = self.admin.peers(&self.host.id).await.unwrap();
        let networks = |peer: &Peer| {
            let own = peer.addresses.iter().map(|address| format!("{address}/32"));
            own.chain(peer.server_allowed_ips.iter().map(ToString::to_string))
                .collect()
        };
        let enabled = peers.iter().filter(|peer| peer.enabled);
        enabled
            .map(|peer| (peer.public_key.to_string(), networks(peer)))
            .collect()
    }

    /// Returns the kernel's peers, according to `wg`.
    pub(crate) fn kernel(&self) -> Peers {
        let mut words = self.host.namespace.command("wg");
        let output = words
            .args(["show", &self.host.interface, "allowed-ips"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let rows = text.lines().filter_map(|line| line.split_once('\t'));
        let networks = |list: &str| {
            let known = list.split(' ').filter(|network| *network != "(none)");
            known.map(str::to_owned).collect()
        };
        rows.map(|(key, list)| (key.to_owned(), networks(list))).collect()
    }

    /// Kills the agent without warning and starts it again.
    pub(crate) fn restart_agent(&mut self) {
        self.host.agent().kill();
        self.host.start();
    }

    /// Waits until the agent's log contains `words` after its first `from` bytes. Returns the time it took.
    pub(crate) fn agent_says(&mut self, words: &str, from: usize) -> Duration {
        let begin = Instant::now();
        let agent = self.host.agent();
        let said = || agent.log()[from..].contains(words);
        wait::until_blocking(&format!("the agent logs {words:?}"), said, |said| *said);
        begin.elapsed()
    }
}
