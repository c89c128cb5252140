//! The agents' long poll: what a server should be, as a difference where one is known.
//!
//! Owns the choice between unchanged, delta and snapshot, and the wait. It must not push: an agent
//! asks, and gets what is recorded at that moment.

use std::ops::ControlFlow;
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;
use wgctl::ServerId;
use wgctl::address::host;
use wgctl::name::Incarnation;
use wgctl::protocol::v1::{self, Change, Desired, DesiredQuery, Interface};

use crate::fleet::peers::rules;
use crate::fleet::people::authority;
use crate::fleet::servers::existing::existing;
use crate::fleet::views::api_objects;
use crate::fleet::{Caller, Fleet, Refusal};
use crate::model::records::{PeerRecord, ServerRecord};
use crate::relay::{Line, WorkPermit};
use crate::store::{Changes, Read};

/// The longest a poll is held: proxies cut what is silent longer.
const LONGEST: Duration = Duration::from_secs(60);

/// The most prekeys that are asked for at once: as many as one message may bring.
const PREKEYS_AT_ONCE: u32 = 256;

/// The most requests that a difference names as its causes.
const CAUSES_AT_ONCE: usize = 64;

impl Fleet {
    /// The long poll: answers at once when there is news, else after `query.wait` seconds.
    pub async fn desired(
        &self,
        caller: &Caller,
        server: &ServerId,
        mut query: DesiredQuery,
    ) -> Result<Desired, Refusal> {
        self.store().read(|tx| existing(tx, server))?;
        let line = self.shared.relay.line(server);
        let now = self.now();
        self.store().read(|tx| authority::check(tx, &caller.authority, now))?;
        if line.is_first_poll() {
            // Confirmations may be lost in a crash of the plane: what is not known to be applied is
            // told again, and confirmed again.
            let applied = self.applied_revision(server)?.unwrap_or(0);
            query.revision = query.revision.min(applied);
        }
        let _poll = line.begin_poll();
        let deadline = Instant::now() + Duration::from_secs(query.wait.into()).min(LONGEST);
        loop {
            let mut news = line.agent_news();
            if line.is_cut() {
                // The token this poll came with may be dead: it learns no more, and the next one tells.
                return self.unchanged(&query);
            }
            let (here, stock, public_key) = self.store().read(|tx| {
                let (record, ledger) = existing(tx, server)?;
                let here = (tx.incarnation()?, ledger.revision);
                Ok::<_, Refusal>((here, tx.prekey_stock(server)?, record.public_key))
            })?;
            let moved = (query.incarnation, query.revision) != (Some(here.0), here.1);
            let prekeys = self.lack(&line, stock);
            let urgent = line.has_fresh_request() || (prekeys.urgent && line.may_ask_prekeys());
            let now = Instant::now();
            if moved || urgent || now >= deadline {
                if prekeys.wanted > 0 {
                    line.note_prekeys_asked();
                }
                let told = Desired {
                    public_key,
                    ..self.answer(server, &query, moved, &line, prekeys.wanted, here).await?
                };
                // Looked at after all that would be told: it was known while the token was good, then.
                return match self.is_good(caller)? {
                    true => Ok(told),
                    false => self.unchanged(&query),
                };
            }
            // What was said in an answer that got lost is said again, though nothing new happens.
            let outstanding = prekeys.urgent || line.has_requests();
            let until = if outstanding {
                deadline.min(now + line.again())
            } else {
                deadline
            };
            let _ = timeout_at(until, news.changed()).await;
        }
    }

    /// Leave to answer a poll, to be held until its answer is gone.
    pub async fn poll_place(&self, server: &ServerId) -> WorkPermit {
        self.shared.relay.line(server).place().await
    }

    /// Whether what a caller came with is good still.
    fn is_good(&self, caller: &Caller) -> Result<bool, Refusal> {
        let now = self.now();
        let checked = self.store().read(|tx| authority::check(tx, &caller.authority, now));
        match checked {
            Ok(()) => Ok(true),
            Err(Refusal::Unauthorized(_) | Refusal::SessionEnded) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Nothing new of what the agent has, of whichever life that is.
    fn unchanged(&self, query: &DesiredQuery) -> Result<Desired, Refusal> {
        let incarnation = match query.incarnation {
            Some(incarnation) => incarnation,
            None => self.store().incarnation()?,
        };
        Ok(Desired {
            version: v1::VERSION,
            incarnation,
            revision: query.revision,
            change: Change::Unchanged,
            caused_by: Vec::new(),
            requests: Vec::new(),
            prekeys_wanted: 0,
            public_key: None,
        })
    }

    fn lack(&self, line: &Line, stock: u32) -> Lack {
        let target = self.settings().prekey_stock;
        let waiting = line.wanting();
        Lack {
            wanted: (target.saturating_add(waiting))
                .saturating_sub(stock)
                .min(PREKEYS_AT_ONCE),
            urgent: stock < target.div_ceil(2) || (waiting > 0 && stock < waiting),
        }
    }

    async fn answer(
        &self,
        server: &ServerId,
        query: &DesiredQuery,
        moved: bool,
        line: &Line,
        prekeys_wanted: u32,
        here: Position,
    ) -> Result<Desired, Refusal> {
        let News {
            here: (incarnation, revision),
            change,
            caused_by,
        } = match moved {
            false => News::none(here),
            true => {
                let (id, query) = (server.clone(), query.clone());
                let look = move |tx: &dyn Read| change(tx, &id, &query);
                self.scan_for_agent(server, look).await?
            }
        };
        Ok(Desired {
            version: v1::VERSION,
            incarnation,
            revision,
            change,
            caused_by,
            requests: line.hand_out(),
            prekeys_wanted,
            public_key: None,
        })
    }
}

/// A revision, and the database's life it is of.
type Position = (Incarnation, u64);

/// What the stock of prekeys lacks.
struct Lack {
    wanted: u32,
    /// Whether to ask now, and not with the next answer.
    urgent: bool,
}

/// What is recorded now, and how an agent comes there.
struct News {
    here: Position,
    change: Change,
    caused_by: Vec<Uuid>,
}

impl News {
    const fn none(here: Position) -> Self {
        Self::of(here, Change::Unchanged)
    }

    const fn of(here: Position, change: Change) -> Self {
        Self {
            here,
            change,
            caused_by: Vec::new(),
        }
    }
}

/// From what the agent has to what is recorded now.
fn change(tx: &dyn Read, server_id: &ServerId, query: &DesiredQuery) -> Result<News, Refusal> {
    let (server, ledger) = existing(tx, server_id)?;
    let here = (tx.incarnation()?, ledger.revision);
    let known =
        query.incarnation == Some(here.0) && query.revision >= ledger.floor.max(1) && query.revision <= ledger.revision;
    if !known {
        return Ok(News::of(here, snapshot(tx, &server)?));
    }
    if query.revision == ledger.revision {
        return Ok(News::none(here));
    }
    let mut changes = tx.changes_after(server_id, query.revision)?;
    let mut caused_by = std::mem::take(&mut changes.requests);
    caused_by.drain(..caused_by.len().saturating_sub(CAUSES_AT_ONCE));
    Ok(News {
        here,
        change: delta(tx, &server, changes)?,
        caused_by,
    })
}

fn delta(tx: &dyn Read, server: &ServerRecord, changes: Changes) -> Result<Change, Refusal> {
    let (mut upsert, mut remove) = (Vec::new(), Vec::new());
    for id in changes.peers {
        match tx.peer(&server.id, &id)?.filter(|peer| peer.enabled) {
            Some(peer) => upsert.push(wire(peer)),
            None => remove.push(id),
        }
    }
    Ok(Change::Delta {
        interface: changes.interface.then(|| interface(server)),
        upsert,
        remove,
    })
}

fn snapshot(tx: &dyn Read, server: &ServerRecord) -> Result<Change, Refusal> {
    let mut peers = Vec::new();
    tx.each_peer(&server.id, 0, &mut |peer| {
        if peer.enabled {
            peers.push(wire(peer));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Change::Snapshot {
        interface: interface(server),
        peers,
    })
}

/// A peer as its agent is told of it: every enabled one, whether it has expired or not. Expiry is the
/// agent's to enforce, by its own clock: were it decided here too, a plane whose clock jumped for a
/// moment would take peers away, and nothing would bring them back.
pub(super) fn wire(peer: PeerRecord) -> v1::Peer {
    v1::Peer {
        id: peer.id,
        public_key: peer.public_key,
        allowed_ips: rules::spans(&peer),
        preshared_key: peer.preshared_key,
        persistent_keepalive: peer.host_keepalive,
        expires_at: peer.expires_at,
    }
}

pub(super) fn interface(server: &ServerRecord) -> Interface {
    let address = |pool: &crate::model::pool::Pool| {
        let own = pool.server_address();
        IpNet::new(own, pool.net().prefix_len()).unwrap_or_else(|_| host(own))
    };
    Interface {
        name: server.interface.clone(),
        listen_port: server.listen_port,
        addresses: api_objects::pools(server).iter().map(address).collect(),
        mtu: server.mtu,
        masquerade: server.masquerade,
        ping_target: server.ping_target.clone(),
        drift: server.drift_policy,
    }
}
