//! The agents' long poll: the desired state of a server, as a delta if the agent's revision is known.
//!
//! Owns the choice between no change, a delta and a snapshot, and the wait for a change. It must not
//! push state to agents: an agent polls, and gets the state that is recorded at that moment.

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
use crate::relay::{Waiters, WorkPermit};
use crate::store::{Changes, Read};

/// The longest time for which a poll waits. Proxies close connections that are idle for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The maximum number of prekeys that are requested at once, which is also the maximum in one message.
const PREKEYS_AT_ONCE: u32 = 256;

/// The maximum number of requests that a delta names as its causes.
const CAUSES_AT_ONCE: usize = 64;

impl Fleet {
    /// Responds to a poll as soon as there is news, or after `query.wait` seconds (at most 60).
    pub async fn desired(
        &self,
        caller: &Caller,
        server: &ServerId,
        mut query: DesiredQuery,
    ) -> Result<Desired, Refusal> {
        let recorded = self
            .store()
            .read(|tx| Ok::<_, Refusal>(existing(tx, server)?.1.revision))?;
        let waiters = self.shared.relay.waiters(server);
        let now = self.now();
        self.store().read(|tx| authority::check(tx, &caller.authority, now))?;
        if waiters.is_first_poll() {
            if query.revision > recorded {
                // An older copy of the database file has replaced the one that the agent knows. Its revisions up to
                // the recorded one may differ too, so its position is unknown.
                query.incarnation = None;
            }
            // Confirmations may be lost if the plane crashes. Revisions that are not known to have been
            // applied are therefore sent and confirmed again.
            let applied = self.applied_revision(server)?.unwrap_or(0);
            query.revision = query.revision.min(applied);
        }
        let _poll = waiters.begin_poll();
        let deadline = Instant::now() + Duration::from_secs(query.wait.into()).min(LONGEST_WAIT);
        loop {
            let mut news = waiters.agent_news();
            if waiters.is_cut() {
                // The token of this poll may no longer be valid. The poll therefore reports no change;
                // if the token is invalid, the next poll is refused.
                return self.unchanged(&query);
            }
            let (here, stock, public_key) = self.store().read(|tx| {
                let (record, ledger) = existing(tx, server)?;
                let here = (tx.incarnation()?, ledger.revision);
                Ok::<_, Refusal>((here, tx.prekey_stock(server)?, record.public_key))
            })?;
            let moved = (query.incarnation, query.revision) != (Some(here.0), here.1);
            let prekeys = self.prekey_demand(&waiters, stock);
            let urgent = waiters.has_fresh_request() || (prekeys.urgent && waiters.may_ask_prekeys());
            let now = Instant::now();
            if moved || urgent || now >= deadline {
                if prekeys.wanted > 0 {
                    waiters.note_prekeys_asked();
                }
                let answer = Desired {
                    public_key,
                    ..self
                        .answer(server, &query, moved, &waiters, prekeys.wanted, here)
                        .await?
                };
                // The token is checked after the response has been assembled, so everything in the
                // response was read while the token was valid.
                return match self.is_good(caller)? {
                    true => Ok(answer),
                    false => self.unchanged(&query),
                };
            }
            // If a response is lost, the requests in it are sent again, even if there is no other news.
            let outstanding = prekeys.urgent || waiters.has_requests();
            let until = if outstanding {
                deadline.min(now + waiters.resend_after())
            } else {
                deadline
            };
            let _ = timeout_at(until, news.changed()).await;
        }
    }

    /// Waits for a permit to respond to a poll. Hold the permit until the response has been sent.
    pub async fn poll_permit(&self, server: &ServerId) -> WorkPermit {
        self.shared.relay.waiters(server).poll_permit().await
    }

    /// Returns whether the caller's credential is still valid.
    fn is_good(&self, caller: &Caller) -> Result<bool, Refusal> {
        let now = self.now();
        let checked = self.store().read(|tx| authority::check(tx, &caller.authority, now));
        match checked {
            Ok(()) => Ok(true),
            Err(Refusal::Unauthorized(_) | Refusal::SessionEnded) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Returns a response without changes, with the revision and incarnation that the agent already has.
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

    fn prekey_demand(&self, waiters: &Waiters, stock: u32) -> PrekeyDemand {
        let target = self.settings().prekey_stock;
        let waiting = waiters.wanting();
        PrekeyDemand {
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
        waiters: &Waiters,
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
            requests: waiters.hand_out(),
            prekeys_wanted,
            public_key: None,
        })
    }
}

/// An incarnation of the database, and a revision in it.
type Position = (Incarnation, u64);

/// The prekeys that are missing from the stock.
struct PrekeyDemand {
    wanted: u32,
    /// True if the prekeys are requested immediately instead of with the next response.
    urgent: bool,
}

/// The recorded position, and the change that brings the agent to it.
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

/// Returns the change from the agent's revision to the recorded one.
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

/// Converts a peer to its form in the protocol. Agents get every enabled peer, whether or not it has
/// expired, and enforce expiry according to their own clocks. If the plane also enforced expiry, a brief
/// jump of its clock would remove peers, and nothing would restore them.
pub(super) fn wire(peer: PeerRecord) -> v1::Peer {
    v1::Peer {
        id: peer.id,
        public_key: peer.public_key,
        allowed_ips: rules::host_allowed_ips(&peer),
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
