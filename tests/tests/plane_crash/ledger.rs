//! A ledger of requested and acknowledged changes, compared with the plane's state.
//!
//! Owns the writers' work (they create, disable, enable and sometimes delete one peer after another) and the
//! comparison with the peers and the audit log. It must not stop or start anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use wgctl::api::{AuditRecord, NewPeer, Peer};
use wgctl::client::{AuditQuery, Error, PlaneClient};
use wgctl::{PeerId, PrivateKey, ServerId};

/// A change to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Disable,
    Enable,
    Delete,
}

impl Act {
    fn audited(self) -> &'static str {
        match self {
            Self::Create => "wg_client_created",
            Self::Disable => "wg_client_disabled",
            Self::Enable => "wg_client_enabled",
            Self::Delete => "wg_client_deleted",
        }
    }
}

/// The changes to one peer, as far as its writer knows.
#[derive(Debug)]
pub(crate) struct Life {
    new: NewPeer,
    id: Option<PeerId>,
    acknowledged: Vec<Act>,
    /// A requested change whose outcome is unknown: there was no response, or an error.
    pub(crate) unsure: Option<Act>,
}

impl Life {
    fn new(name: &str) -> Self {
        Self {
            new: NewPeer {
                name: Some(name.parse().unwrap()),
                public_key: Some(PrivateKey::generate().unwrap().public_key()),
                preshared_key: Some(false),
                ..NewPeer::default()
            },
            id: None,
            acknowledged: Vec::new(),
            unsure: None,
        }
    }

    fn name(&self) -> &str {
        self.new.name.as_ref().unwrap().as_str()
    }

    /// Checks that the peer has had the same id in every response.
    fn is_the_one(&mut self, id: PeerId) {
        let known = *self.id.get_or_insert(id);
        assert_eq!(known, id, "{}", self.name());
    }

    async fn create(&self, client: &PlaneClient, server: &ServerId) -> Result<Peer, Error> {
        let key = format!("{server}-{}", self.name());
        client.create_peer(server, &self.new, Some(&key)).await
    }

    async fn act(&mut self, client: &PlaneClient, server: &ServerId, act: Act) -> Result<(), Error> {
        self.unsure = Some(act);
        match (act, self.id) {
            (Act::Create, _) => self.id = Some(self.create(client, server).await?.id),
            (Act::Delete, Some(id)) => client.remove_peer(server, id).await?,
            (Act::Enable | Act::Disable, Some(id)) => {
                client.set_peer_enabled(server, id, act == Act::Enable).await?;
            }
            (_, None) => unreachable!("a peer is created first"),
        }
        self.unsure = None;
        self.acknowledged.push(act);
        Ok(())
    }
}

/// Requests changes until a request fails. Returns the changes and the error.
pub(crate) async fn write(
    client: PlaneClient,
    server: ServerId,
    writer: usize,
    acknowledged: &AtomicUsize,
) -> (Vec<Life>, Error) {
    let mut lives = Vec::new();
    loop {
        let mut life = Life::new(&format!("w{writer}-{}", lives.len()));
        let acts = [Act::Create, Act::Disable, Act::Enable, Act::Delete];
        let kept = if lives.len() % 3 == 0 { 4 } else { 3 };
        for act in &acts[..kept] {
            if let Err(error) = life.act(&client, &server, *act).await {
                lives.push(life);
                return (lives, error);
            }
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        lives.push(life);
    }
}

/// Returns the audit records since the registration of `server`, oldest first.
pub(crate) async fn records_since(client: &PlaneClient, server: &ServerId) -> Vec<AuditRecord> {
    let mut all: Vec<AuditRecord> = Vec::new();
    let registered = |record: &AuditRecord| record.action == "server_created" && record.target == server.as_str();
    while !all.iter().any(registered) {
        let query = AuditQuery {
            limit: Some(1000),
            offset: Some(all.len() as u64),
            ..AuditQuery::default()
        };
        let page = client.audit(&query).await.unwrap();
        assert!(!page.is_empty(), "there is no record of the registration of {server}");
        all.extend(page);
    }
    all.reverse();
    all
}

/// The counts of a comparison.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) acknowledged: usize,
    pub(crate) whole: usize,
    pub(crate) absent: usize,
}

/// Compares a server's peers and records with the writers' changes, and determines the outcomes that are unknown.
pub(crate) async fn verify(client: &PlaneClient, server: &ServerId, lives: &mut [Life]) -> Count {
    let records = records_since(client, server).await;
    verify_with(client, server, lives, &records).await
}

/// Like [`verify`], with records that have already been read.
pub(crate) async fn verify_with(
    client: &PlaneClient,
    server: &ServerId,
    lives: &mut [Life],
    records: &[AuditRecord],
) -> Count {
    let mut told: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for record in records {
        if record.target.split('/').next() == Some(server.as_str()) {
            told.entry(&record.target).or_default().push(record.action.clone());
        }
    }
    assert_eq!(told.remove(server.as_str()), Some(vec!["server_created".to_owned()]));
    let peers = client.peers(server).await.unwrap();
    let mut found: BTreeMap<String, &Peer> = BTreeMap::new();
    for peer in &peers {
        assert!(
            found.insert(peer.name.to_string(), peer).is_none(),
            "two peers with the same name"
        );
    }
    let mut count = Count::default();
    for life in lives {
        let actions = told
            .remove(format!("{server}/{}", life.name()).as_str())
            .unwrap_or_default();
        let promised: Vec<String> = life.acknowledged.iter().map(|act| act.audited().to_owned()).collect();
        count.acknowledged += promised.len();
        let rest = actions.strip_prefix(promised.as_slice());
        let rest = rest.unwrap_or_else(|| panic!("lost: {life:?}, the audit log has {actions:?}"));
        match (rest, life.unsure.take()) {
            ([], None) => {}
            ([], Some(_)) => count.absent += 1,
            ([action], Some(act)) if action == act.audited() => {
                count.whole += 1;
                life.acknowledged.push(act);
            }
            (rest, unsure) => panic!("{}: {rest:?}, but only {unsure:?} is possible", life.name()),
        }
        compare(life, found.remove(life.name()));
    }
    assert!(told.is_empty(), "no writer requested {told:?}");
    assert!(found.is_empty(), "no writer requested {:?}", found.keys());
    count
}

/// Checks that a peer is exactly in the state that results from its changes.
fn compare(life: &mut Life, found: Option<&Peer>) {
    let expected = match life.acknowledged.last() {
        None | Some(Act::Delete) => None,
        Some(act) => Some(*act != Act::Disable),
    };
    assert_eq!(found.map(|peer| peer.enabled), expected, "{life:?}");
    if let Some(peer) = found {
        assert_eq!(Some(peer.public_key), life.new.public_key, "{life:?}");
        assert_eq!(peer.addresses.len(), 2, "{life:?}");
        life.is_the_one(peer.id);
    }
}

/// Sends every create request again. The plane must repeat its first response, or create the peer if it does not
/// exist. Returns the number of requests.
pub(crate) async fn create_again(client: &PlaneClient, server: &ServerId, lives: &mut [Life]) -> usize {
    for life in lives.iter_mut() {
        let again = life.create(client, server).await.unwrap();
        life.is_the_one(again.id);
        if life.acknowledged.is_empty() {
            life.acknowledged.push(Act::Create);
        }
    }
    lives.len()
}
