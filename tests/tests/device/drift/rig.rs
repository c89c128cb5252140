//! A host in a namespace: the agent's reconciler on the real kernel, and the host's state as independent
//! tools show it. No plane is needed, because this module creates the desired state.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sentrazone_agent::desired::Base;
use sentrazone_agent::host::{Difference, Host, HostState, Netlink, Spec};
use sentrazone_agent::reconcile::{LinkBy, Reconciler};
use sentrazone_agent::secrets::Secrets;
use sentrazone_tests::device::Device;
use sentrazone_tests::interface_state;
use sentrazone_tests::netns::Netns;
use wgctl::device::kernel::Kernel;
use wgctl::device::{Backend, Error, Plan};
use wgctl::drift::DriftPolicy;
use wgctl::name::{Incarnation, InterfaceName};
use wgctl::protocol::v1::{Change, Desired, DriftReport, Interface, Peer};
use wgctl::{PeerId, PrivateKey, Timestamp};

/// A wrapper that counts the writes made through it.
pub(super) struct Counting<T> {
    inner: T,
    writes: Arc<AtomicU32>,
}

impl<T> Counting<T> {
    fn count(&self, wrote: bool) {
        self.writes.fetch_add(u32::from(wrote), Ordering::Relaxed);
    }
}

impl Backend for Counting<Kernel> {
    fn read(&mut self, interface: &InterfaceName) -> Result<Option<wgctl::device::Device>, Error> {
        self.inner.read(interface)
    }

    fn apply(&mut self, interface: &InterfaceName, plan: &Plan) -> Result<(), Error> {
        self.count(!plan.is_empty());
        self.inner.apply(interface, plan)
    }
}

impl Host for Counting<Netlink> {
    fn index(&mut self, name: &InterfaceName) -> Result<Option<u32>, Error> {
        self.inner.index(name)
    }

    fn create_link(&mut self, name: &InterfaceName) -> Result<bool, Error> {
        let made = self.inner.create_link(name)?;
        self.count(made);
        Ok(made)
    }

    fn delete_link(&mut self, name: &InterfaceName) -> Result<(), Error> {
        self.count(true);
        self.inner.delete_link(name)
    }

    fn read(&mut self, spec: &Spec) -> Result<HostState, Error> {
        self.inner.read(spec)
    }

    fn network(
        &mut self,
        name: &InterfaceName,
        addresses: &[std::net::IpAddr],
    ) -> Result<sentrazone_agent::guard::Network, Error> {
        self.inner.network(name, addresses)
    }

    fn repair(&mut self, spec: &Spec, differences: &BTreeSet<Difference>) -> Result<u32, Error> {
        self.count(true);
        self.inner.repair(spec, differences)
    }

    fn release(&mut self, name: &InterfaceName) -> Result<(), Error> {
        self.count(true);
        self.inner.release(name)
    }
}

/// Returns a new public key that is not recorded.
pub(super) fn stranger() -> String {
    PrivateKey::generate().unwrap().public_key().to_string()
}

pub(super) struct Rig {
    pub(super) namespace: Netns,
    pub(super) reconciler: Reconciler<Counting<Kernel>, Counting<Netlink>>,
    folder: tempfile::TempDir,
    secrets: Arc<Secrets>,
    writes: Arc<AtomicU32>,
    life: Incarnation,
    revision: u64,
    peers: Vec<Peer>,
    device_key: PrivateKey,
}

impl Rig {
    /// Creates an interface with everything that can drift, in its desired state.
    pub(super) fn new(policy: DriftPolicy) -> Self {
        let namespace = Netns::new();
        namespace.enter();
        let folder = tempfile::tempdir().unwrap();
        let secrets = Arc::new(Secrets::open(folder.path()).unwrap());
        let writes = Arc::new(AtomicU32::new(0));
        let counting = || Arc::clone(&writes);
        let kernel = Counting {
            inner: Kernel::open().unwrap(),
            writes: counting(),
        };
        let host = Counting {
            inner: Netlink::open().unwrap(),
            writes: counting(),
        };
        let state = folder.path().to_owned();
        let device_key = PrivateKey::generate().unwrap();
        let sealed = secrets.prekey(&"los-angeles".parse().unwrap()).unwrap();
        let first = Peer {
            id: sealed.id,
            public_key: sealed.public_key,
            preshared_key: Some(sealed.preshared_key),
            ..recorded(&PrivateKey::generate().unwrap(), &["10.8.0.2/32"])
        };
        let peers = vec![
            first,
            recorded(&PrivateKey::generate().unwrap(), &["10.8.0.3/32"]),
            recorded(&device_key, &["10.8.0.9/32", "10.50.0.0/16"]),
        ];
        let mut rig = Self {
            reconciler: Reconciler::new(kernel, host, LinkBy::Us, Arc::clone(&secrets), state),
            namespace,
            folder,
            secrets,
            writes,
            life: Incarnation::random(),
            revision: 0,
            peers,
            device_key,
        };
        rig.set_policy(policy);
        assert!(rig.reconciler.verdict().is_clean(), "{:?}", rig.reconciler.verdict());
        assert_eq!(rig.report(), None);
        rig
    }

    /// Sends the whole desired state again, with this policy.
    pub(super) fn set_policy(&mut self, drift: DriftPolicy) {
        self.revision += 1;
        let interface = Interface {
            name: "wg0".parse().unwrap(),
            listen_port: 51820,
            addresses: vec!["10.8.0.1/24".parse().unwrap(), "fd00:8::1/64".parse().unwrap()],
            mtu: Some(1380),
            masquerade: true,
            ping_target: None,
            drift,
        };
        let desired = Desired {
            version: 1,
            incarnation: self.life,
            revision: self.revision,
            change: Change::Snapshot {
                interface,
                peers: self.peers.clone(),
            },
            caused_by: Vec::new(),
            requests: Vec::new(),
            prekeys_wanted: 0,
            public_key: None,
        };
        let server = "los-angeles".parse().unwrap();
        self.reconciler
            .take(&server, desired, Base::Here, Timestamp::now())
            .unwrap();
    }

    pub(super) fn round(&mut self) {
        self.reconciler.round(Timestamp::now());
    }

    pub(super) fn report(&self) -> Option<DriftReport> {
        self.reconciler.reports().borrow().clone()
    }

    pub(super) fn writes(&self) -> u32 {
        self.writes.load(Ordering::Relaxed)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn state(&self) -> Vec<String> {
        interface_state::interface(&self.namespace, "wg0")
    }

    pub(super) fn key(&self, at: usize) -> String {
        self.peers[at].public_key.to_string()
    }

    /// Writes a new key to a file for `wg set`. Returns its path.
    pub(super) fn secret_file(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, PrivateKey::generate().unwrap().to_base64().as_str()).unwrap();
        path.display().to_string()
    }

    pub(super) fn wg(&self, words: &[&str]) {
        self.namespace.exec(&[&["wg", "set", "wg0"], words].concat());
    }

    pub(super) fn ip(&self, words: &[&str]) {
        self.namespace.exec(&[&["ip"], words].concat());
    }

    pub(super) fn nft(&self, words: &[&str]) {
        self.namespace.exec(&[&["nft"], words].concat());
    }

    /// Creates a device at the other end of a veth pair, with its tunnel up.
    pub(super) fn connected_device(&self) -> Device {
        let elsewhere = Netns::named("device");
        let name = elsewhere.name();
        self.ip(&[
            "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", name,
        ]);
        for (namespace, address) in [(&self.namespace, "192.0.2.1/24"), (&elsewhere, "192.0.2.2/24")] {
            namespace.exec(&["ip", "address", "add", address, "dev", "eth0"]);
            namespace.exec(&["ip", "link", "set", "eth0", "up"]);
        }
        let device = Device::new(elsewhere, self.folder.path().join("device.conf"));
        device.connect(&self.device_configuration());
        device
    }

    pub(super) fn device_configuration(&self) -> String {
        format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.8.0.9/32\n\n[Peer]\nPublicKey = {}\n\
             Endpoint = 192.0.2.1:51820\nAllowedIPs = 10.8.0.1/32\n",
            self.device_key.to_base64().as_str(),
            self.secrets.private_key().public_key()
        )
    }

    /// Returns the device's endpoint and latest handshake, which are lost together with its session.
    pub(super) fn session(&self) -> (String, String) {
        let dump = self.namespace.exec(&["wg", "show", "wg0", "dump"]);
        let key = self.key(2);
        let line = dump.lines().find(|line| line.starts_with(&key)).unwrap();
        let columns: Vec<&str> = line.split('\t').collect();
        (columns[2].to_owned(), columns[4].to_owned())
    }
}

fn recorded(key: &PrivateKey, networks: &[&str]) -> Peer {
    Peer {
        id: PeerId::random(),
        public_key: key.public_key(),
        preshared_key: None,
        allowed_ips: networks.iter().map(|net| net.parse().unwrap()).collect(),
        persistent_keepalive: None,
        expires_at: None,
    }
}
