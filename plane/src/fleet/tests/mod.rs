//! Tests of the fleet's rules with a real store. The tests take the part of the agents.

mod agents;
mod audit;
mod authority;
mod backfill;
mod backup;
mod causes;
mod drift;
mod networks;
mod peers;
mod people;
mod prekeys;
mod tokens;
mod turns;

use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;
use wgctl::api::{NewPeer, NewServer, Peer, TokenRotation};
use wgctl::audit::Signer;
use wgctl::protocol::v1::{Applied, Change, Desired, DesiredQuery, Hello, Prekey, Prekeys, Sealed};
use wgctl::{PeerId, PrivateKey};

use super::people::api_tokens::token_hash;
use super::*;

pub(super) struct Scene {
    pub(super) fleet: Fleet,
    pub(super) server: ServerId,
    pub(super) token: String,
    pub(super) _folder: TempDir,
}

pub(super) fn admin() -> Caller {
    Caller::standing(Actor::Local("root".to_owned()), None)
}

pub(super) fn new_server(pool: &[&str]) -> NewServer {
    let json = serde_json::json!({
        "id": "los-angeles", "endpoint": "vpn.example.com:51820", "address_pool": pool
    });
    serde_json::from_value(json).unwrap()
}

pub(super) fn named(name: &str) -> NewPeer {
    NewPeer {
        name: Some(name.parse().unwrap()),
        ..NewPeer::default()
    }
}

/// Returns a peer that brings its own key and needs no agent.
pub(super) fn with_key(name: &str) -> NewPeer {
    NewPeer {
        public_key: Some(PrivateKey::generate().unwrap().public_key()),
        preshared_key: Some(false),
        ..named(name)
    }
}

pub(super) fn signer(seed: u8) -> Signer {
    Signer::from_seed(&[seed; 32]).unwrap()
}

pub(super) async fn scene_with(pool: &[&str], settings: Settings) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plane.redb"), 16 << 20).unwrap();
    let fleet = Fleet::new(store.signed_by(signer(5)), settings);
    let created = fleet.create_server(&admin(), new_server(pool), None).await.unwrap();
    Scene {
        fleet,
        server: created.server.id,
        token: created.agent_token,
        _folder: folder,
    }
}

/// Returns settings for tests with a running agent, which may be slow on a busy machine.
pub(super) fn patient() -> Settings {
    Settings {
        apply_timeout: Duration::from_secs(60),
        ..Settings::default()
    }
}

/// Returns a scene for tests that take the agent's part themselves: nothing is confirmed unless the
/// test confirms it.
pub(super) async fn scene() -> Scene {
    let settings = Settings {
        apply_timeout: Duration::from_millis(20),
        ..Settings::default()
    };
    scene_with(&["10.8.0.0/24"], settings).await
}

pub(super) fn prekeys(count: usize) -> Prekeys {
    let prekey = || {
        let key = PrivateKey::generate().unwrap();
        Prekey {
            id: PeerId::random(),
            public_key: key.public_key(),
            private_key: Sealed([&key.as_bytes()[..], &[1; 40]].concat()),
            preshared_key: Sealed(vec![2; 72]),
        }
    };
    Prekeys {
        prekeys: (0..count).map(|_| prekey()).collect(),
    }
}

impl Scene {
    /// Returns the agent as a caller whose token is not checked.
    fn standing(&self) -> Caller {
        Caller::standing(Actor::Agent(self.server.clone()), None)
    }

    pub(super) async fn stock(&self, count: usize) {
        self.fleet
            .prekeys(&self.standing(), &self.server, prekeys(count))
            .await
            .unwrap();
    }

    pub(super) async fn create(&self, new: NewPeer) -> Result<Peer, Refusal> {
        self.fleet.create_peer(&admin(), &self.server, new, None).await
    }

    /// Returns the server whose agent has this token.
    pub(super) async fn whose(&self, token: &str) -> Option<ServerId> {
        let agent = self.fleet.agent_by_token(token, None, None).unwrap();
        agent.map(|(server, _)| server)
    }

    /// Returns the agent as a caller that has its token.
    pub(super) fn caller(&self) -> Caller {
        Caller {
            authority: Authority::Agent {
                server: self.server.clone(),
                token_hash: token_hash(&self.token),
            },
            ..Caller::standing(Actor::Agent(self.server.clone()), None)
        }
    }

    pub(super) async fn hello(&self, hello: Hello) {
        self.fleet.hello(&self.caller(), &self.server, hello).await.unwrap();
    }

    /// Returns the response to a poll that does not wait.
    pub(super) async fn poll(&self, revision: u64) -> Desired {
        let query = DesiredQuery {
            revision,
            incarnation: Some(self.fleet.store().incarnation().unwrap()),
            wait: 0,
        };
        self.fleet.desired(&self.standing(), &self.server, query).await.unwrap()
    }

    pub(super) async fn apply(&self, revision: u64) {
        let applied = Applied {
            incarnation: self.fleet.store().incarnation().unwrap(),
            revision,
            failed: Vec::new(),
            interface_failed: None,
        };
        self.fleet.applied(&self.caller(), &self.server, applied).await.unwrap();
    }

    /// Runs an agent that applies every change and keeps the stock filled, until the returned value is
    /// dropped.
    pub(super) fn agent(&self) -> Agent {
        let (fleet, server, me) = (self.fleet.clone(), self.server.clone(), self.caller());
        let incarnation = fleet.store().incarnation().unwrap();
        Agent(tokio::spawn(async move {
            let mut revision = 0;
            loop {
                let query = DesiredQuery {
                    revision,
                    incarnation: Some(incarnation),
                    wait: 25,
                };
                let desired = fleet.desired(&me, &server, query).await.unwrap();
                let wanted = usize::try_from(desired.prekeys_wanted).unwrap();
                if wanted > 0 {
                    fleet.prekeys(&me, &server, prekeys(wanted)).await.unwrap();
                }
                revision = desired.revision;
                let applied = Applied {
                    incarnation,
                    revision,
                    failed: Vec::new(),
                    interface_failed: None,
                };
                if desired.change != Change::Unchanged {
                    fleet.applied(&me, &server, applied).await.unwrap();
                }
            }
        }))
    }

    pub(super) async fn actions(&self) -> Vec<String> {
        let records = self.fleet.audit(AuditQuery::default()).await.unwrap();
        records.into_iter().map(|record| record.action).collect()
    }
}

pub(super) struct Agent(tokio::task::JoinHandle<()>);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A vault whose contents a test can read.
pub(super) struct TransparentVault(pub(super) AtomicU8);

impl Vault for TransparentVault {
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(plain.iter().map(|byte| byte ^ 0x55).collect())
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        Ok(sealed.iter().map(|byte| byte ^ 0x55).collect())
    }
}

pub(super) fn once(body: u8) -> Idempotency {
    Idempotency {
        scope: [7; 32],
        body: [body; 32],
        vault: Arc::new(TransparentVault(AtomicU8::new(0))),
    }
}
