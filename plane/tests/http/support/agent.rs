//! A fake agent without a kernel: it uses the protocol over HTTP and keeps peers in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use wgctl::config::PeerConfig;
use wgctl::name::Incarnation;
use wgctl::protocol::path;
use wgctl::protocol::v1::{Ask, Change, Desired, Peer, PeerConfiguration, Prekey, Prekeys, Reply, Sealed};
use wgctl::{PeerId, PresharedKey, PrivateKey, PublicKey};

use crate::support::client::{Answer, request};
use crate::support::plane::until;

#[derive(Default)]
struct Host {
    peers: BTreeMap<PeerId, Peer>,
    revision: u64,
}

/// A running fake agent.
pub(crate) struct FakeAgent {
    host: Arc<Mutex<Host>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The host's public key.
    pub(crate) public_key: String,
}

impl FakeAgent {
    /// Starts the agent, and waits until it has the server's desired state and has filled the stock of prekeys.
    pub(crate) fn start(address: SocketAddr, token: &str) -> Self {
        Self::in_other_hands(address, token, "")
    }

    /// Starts a compromised agent: like [`FakeAgent::start`], but it appends `appendix` to each configuration.
    pub(crate) fn in_other_hands(address: SocketAddr, token: &str, appendix: &'static str) -> Self {
        let host = Arc::new(Mutex::new(Host::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let public_key = PrivateKey::generate().expect("randomness").public_key();
        let link = Link {
            address,
            token: token.to_owned(),
            public_key,
            appendix,
        };
        let public_key = public_key.to_string();
        let hello = json!({"version": 1, "agent_version": "0.0.0", "public_key": public_key});
        let welcome = link.post(path::HELLO, &hello).expect(200);
        assert_eq!(welcome["version"], 1);
        let thread = std::thread::spawn({
            let (host, stop) = (Arc::clone(&host), Arc::clone(&stop));
            move || link.run(&host, &stop)
        });
        let agent = Self {
            host,
            stop,
            thread: Some(thread),
            public_key,
        };
        until("the first desired state", || (agent.host().revision > 0).then_some(()));
        agent
    }

    fn host(&self) -> std::sync::MutexGuard<'_, Host> {
        self.host.lock().expect("the agent has not panicked")
    }

    /// Returns the peer in the state that the agent has applied.
    pub(crate) fn peer(&self, id: &str) -> Option<Peer> {
        self.host().peers.get(&id.parse().expect("an id")).cloned()
    }

    /// Stops the agent after its current poll.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.end();
    }
}

struct Link {
    address: SocketAddr,
    token: String,
    public_key: PublicKey,
    appendix: &'static str,
}

impl Link {
    fn post(&self, path: &str, body: &Value) -> Answer {
        request("POST", path).token(&self.token).json(body).send(self.address)
    }

    fn run(&self, host: &Mutex<Host>, stop: &AtomicBool) {
        let mut incarnation = None;
        while !stop.load(Ordering::Relaxed) {
            let revision = host.lock().expect("the test has not panicked").revision;
            let Some(desired) = self.poll(revision, incarnation) else {
                return;
            };
            incarnation = Some(desired.incarnation);
            self.refill(desired.prekeys_wanted);
            for request in desired.requests {
                let Ask::Configuration(wanted) = request.ask;
                let text = self.configuration(wanted).render().to_string() + self.appendix;
                let reply = serde_json::to_value(Reply::Configuration { text }).expect("a reply");
                self.post(&format!("{}/{}", path::REPLIES, request.id), &reply)
                    .expect(204);
            }
            if desired.change != Change::Unchanged {
                let confirmation = json!({"incarnation": desired.incarnation, "revision": desired.revision});
                apply(
                    &mut host.lock().expect("the test has not panicked"),
                    desired.change,
                    desired.revision,
                );
                self.post(path::APPLIED, &confirmation).expect(204);
            }
        }
    }

    /// Polls for the desired state. Returns `None` once the plane has stopped or the server has been removed.
    fn poll(&self, revision: u64, incarnation: Option<Incarnation>) -> Option<Desired> {
        let known = incarnation
            .map(|life| format!("&incarnation={life}"))
            .unwrap_or_default();
        let query = format!("{}?revision={revision}&wait=1{known}", path::DESIRED);
        let answer = request("GET", &query).token(&self.token).try_send(self.address).ok()?;
        (answer.status == 200).then(|| serde_json::from_slice(&answer.body).expect("a desired state"))
    }

    fn configuration(&self, wanted: PeerConfiguration) -> PeerConfig {
        PeerConfig {
            name: wanted.name,
            private_key: wanted.private_key.map(|sealed| PrivateKey::from_bytes(open(&sealed))),
            addresses: wanted.addresses,
            dns: wanted.dns,
            mtu: wanted.mtu,
            public_key: self.public_key,
            preshared_key: wanted
                .preshared_key
                .map(|sealed| PresharedKey::from_bytes(open(&sealed)).expect("a key")),
            allowed_ips: wanted.allowed_ips,
            endpoint: wanted.endpoint,
            persistent_keepalive: wanted.persistent_keepalive,
        }
    }

    fn refill(&self, wanted: u32) {
        if wanted == 0 {
            return;
        }
        let prekeys = (0..wanted.min(256)).map(|_| prekey()).collect();
        let body = serde_json::to_value(Prekeys { prekeys }).expect("prekeys");
        self.post(path::PREKEYS, &body).expect(204);
    }
}

pub(crate) fn prekey() -> Prekey {
    let key = PrivateKey::generate().expect("randomness");
    let preshared = PrivateKey::generate().expect("randomness");
    Prekey {
        id: PeerId::random(),
        public_key: key.public_key(),
        private_key: seal(key.as_bytes()),
        preshared_key: seal(preshared.as_bytes()),
    }
}

/// The first bytes of each key that this agent seals, in place of a random nonce.
pub(crate) const NONCE: [u8; 24] = [7; 24];

/// Returns a nonce, 32 bytes of ciphertext and a tag. Only the layout matches a real agent's: the key is not
/// encrypted.
fn seal(key: &[u8; 32]) -> Sealed {
    let hidden = key.map(|byte| byte ^ 7);
    Sealed([&NONCE[..], &hidden, &[7; 16]].concat())
}

fn open(sealed: &Sealed) -> [u8; 32] {
    let hidden: [u8; 32] = sealed.0[24..56].try_into().expect("a sealed key");
    hidden.map(|byte| byte ^ 7)
}

fn apply(host: &mut Host, change: Change, revision: u64) {
    match change {
        Change::Unchanged => {}
        Change::Snapshot { peers, .. } => host.peers = peers.into_iter().map(|peer| (peer.id, peer)).collect(),
        Change::Delta { upsert, remove, .. } => {
            for id in remove {
                host.peers.remove(&id);
            }
            host.peers.extend(upsert.into_iter().map(|peer| (peer.id, peer)));
        }
    }
    host.revision = revision;
}
