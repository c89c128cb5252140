//! Adoption: a host's existing interface, with its key and its peers, becomes the interface of a
//! recorded server.
//!
//! Owns the requests that an agent may make before its host is enrolled, and the single transaction
//! that records the interface. It must not change a record that does not await an adoption. The
//! decision itself is made in `decision`.

mod decision;

use crate::fleet::servers::revisions;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use wgctl::name::Incarnation;
use wgctl::protocol::v1::{Adopted, AdoptedPeer, Adoption, Obstacle, Peer, Recorded, Terms};
use wgctl::{PublicKey, ServerId};

use super::desired_state::{interface, wire};
use crate::fleet::peers::rules;
use crate::fleet::servers::existing::existing;
use crate::fleet::views::api_objects;
use crate::fleet::{Caller, Fleet, Refusal};
use crate::model::caller::{Action, Entry};
use crate::model::records::{Ledger, PeerRecord, ServerRecord};
use crate::store::DurableWrite;
use crate::store::{Change, Read};
use decision::{Decision, adopted_peer, decide};

/// The maximum number of peers on one interface.
const MOST_PEERS: usize = 40_000;

/// The maximum number of obstacles in a refusal. A dry run lists all of them.
const SHOWN_OBSTACLES: usize = 20;

impl Fleet {
    /// Returns the terms of the enrolment: the recorded state that this server's host will receive.
    pub async fn terms(&self, server: &ServerId) -> Result<Terms, Refusal> {
        let id = server.clone();
        let life = self.store().incarnation()?;
        self.scan_for_agent(server, move |tx: &dyn Read| {
            let scene = Scene::read(tx, &id)?;
            Ok(Terms {
                server_id: id,
                adopt: scene.server.adopt,
                public_key: scene.server.public_key,
                endpoint: scene.server.endpoint.clone(),
                recorded: Recorded {
                    incarnation: life,
                    revision: scene.ledger.revision,
                    interface: interface(&scene.server),
                    peers: wanted(&scene.peers),
                },
            })
        })
        .await
    }

    /// Returns the outcome that an adoption would have, without changing anything.
    pub async fn plan_adoption(&self, server: &ServerId, adoption: Adoption) -> Result<Adopted, Refusal> {
        Ok(match self.plan(server, adoption).await? {
            Planned::Done(adopted) | Planned::Awaited(adopted) => adopted,
        })
    }

    async fn plan(&self, server: &ServerId, adoption: Adoption) -> Result<Planned, Refusal> {
        check(&adoption)?;
        let (id, now) = (server.clone(), self.now());
        let life = self.store().incarnation()?;
        self.scan_for_agent(server, move |tx: &dyn Read| {
            let scene = Scene::read(tx, &id)?;
            Ok(match scene.before(&adoption)? {
                Before::Done(clients) => Planned::Done(scene.answer(clients, life)),
                Before::Awaited => {
                    let decision = decide(&scene.server, &scene.ledger, &scene.peers, &adoption, now);
                    Planned::Awaited(scene.after(decision).answered(life))
                }
            })
        })
        .await
    }

    /// Records an existing interface unchanged, either completely or not at all. An agent that lost the
    /// response can send the same adoption again: nothing changes, and the agent gets the recorded
    /// state again.
    pub async fn adopt(&self, caller: &Caller, server: &ServerId, adoption: Adoption) -> Result<Adopted, Refusal> {
        // An adoption that changes nothing is handled in a read transaction, so repeating it does not
        // block the writer.
        match self.plan(server, adoption.clone()).await? {
            Planned::Done(adopted) => return Ok(adopted),
            Planned::Awaited(planned) if !planned.obstacles.is_empty() => return Err(refused(&planned.obstacles)),
            Planned::Awaited(_) => {}
        }
        let (id, now) = (server.clone(), self.now());
        let life = self.store().incarnation()?;
        let turn = self.shared.relay.waiters(server).write_permit().await;
        self.change(caller, move |tx: &dyn DurableWrite| {
            let _turn = turn;
            let scene = Scene::read(tx, &id)?;
            if let Before::Done(clients) = scene.before(&adoption)? {
                return Ok(Change::none(scene.answer(clients, life)));
            }
            let decision = decide(&scene.server, &scene.ledger, &scene.peers, &adoption, now);
            if !decision.obstacles.is_empty() {
                return Err(refused(&decision.obstacles));
            }
            write(tx, scene.after(decision)).map(|after| after.done(life))
        })
        .await
    }
}

fn check(adoption: &Adoption) -> Result<(), Refusal> {
    if adoption.listen_port == Some(0) {
        return Err(Refusal::field_value(
            "listen_port",
            "0 is not a port: leave it out if none is set",
        ));
    }
    if adoption.peers.len() > MOST_PEERS {
        let detail = format!(
            "{} peers: an adopted interface can have at most {MOST_PEERS}",
            adoption.peers.len()
        );
        return Err(Refusal::field_value("peers", detail));
    }
    Ok(())
}

fn refused(obstacles: &[Obstacle]) -> Refusal {
    let shown = obstacles
        .iter()
        .take(SHOWN_OBSTACLES)
        .map(|obstacle| match &obstacle.public_key {
            Some(key) => format!("peer {key}: {}", obstacle.reason),
            None => obstacle.reason.clone(),
        });
    let mut text = shown.collect::<Vec<_>>().join("; ");
    if obstacles.len() > SHOWN_OBSTACLES {
        text.push_str(&format!(
            "; and {} more (`--dry-run` shows all)",
            obstacles.len() - SHOWN_OBSTACLES
        ));
    }
    Refusal::AdoptionRefused(text)
}

fn wanted(peers: &[PeerRecord]) -> Vec<Peer> {
    let wanted = peers.iter().filter(|peer| peer.enabled);
    wanted.cloned().map(wire).collect()
}

/// The outcome of planning an adoption.
enum Planned {
    /// The adoption has already been recorded. Contains the response to it.
    Done(Adopted),
    /// The adoption has not been recorded yet. Contains the response that it would get.
    Awaited(Adopted),
}

/// The complete record of a server.
struct Scene {
    server: ServerRecord,
    ledger: Ledger,
    peers: Vec<PeerRecord>,
}

/// The state of an adoption before the request.
enum Before {
    Awaited,
    /// The adoption has already been recorded, and the peers have become these clients.
    Done(Vec<AdoptedPeer>),
}

impl Scene {
    fn read(tx: &dyn Read, id: &ServerId) -> Result<Self, Refusal> {
        let (server, ledger) = existing(tx, id)?;
        let mut peers = Vec::new();
        tx.each_peer(id, 0, &mut |peer| {
            peers.push(peer);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Self { server, ledger, peers })
    }

    fn before(&self, adoption: &Adoption) -> Result<Before, Refusal> {
        if self.server.adopt {
            return Ok(Before::Awaited);
        }
        let not_awaited = || Refusal::AdoptionNotAwaited(self.server.id.to_string());
        if self.server.public_key != Some(adoption.public_key) {
            return Err(not_awaited());
        }
        let by_key: BTreeMap<PublicKey, &PeerRecord> = self.peers.iter().map(|peer| (peer.public_key, peer)).collect();
        let known = adoption
            .peers
            .iter()
            .map(|peer| by_key.get(&peer.public_key).map(|known| adopted_peer(known)));
        known
            .collect::<Option<Vec<_>>>()
            .map(Before::Done)
            .ok_or_else(not_awaited)
    }

    fn answer(&self, clients: Vec<AdoptedPeer>, incarnation: Incarnation) -> Adopted {
        Adopted {
            recorded: Recorded {
                incarnation,
                revision: self.ledger.revision,
                interface: interface(&self.server),
                peers: wanted(&self.peers),
            },
            clients,
            obstacles: Vec::new(),
        }
    }

    /// Returns the record as it will be once the decision has been carried out.
    fn after(self, decision: Decision) -> After {
        let Decision {
            server,
            imports,
            clients,
            obstacles,
        } = decision;
        let port_moved = server.listen_port != self.server.listen_port;
        let imported = u64::try_from(imports.len()).unwrap_or(u64::MAX);
        let mut ledger = self.ledger;
        ledger.last_place += imported;
        ledger.peers += imported;
        ledger.revision += imported + u64::from(port_moved);
        let mut peers = self.peers;
        peers.extend(imports.iter().cloned());
        After {
            before: self.ledger,
            replaced: self.server,
            scene: Self { server, ledger, peers },
            imports,
            clients,
            obstacles,
            port_moved,
        }
    }
}

/// A decision, with the record before and after it.
struct After {
    before: Ledger,
    replaced: ServerRecord,
    scene: Scene,
    imports: Vec<PeerRecord>,
    clients: Vec<AdoptedPeer>,
    obstacles: Vec<Obstacle>,
    port_moved: bool,
}

impl After {
    fn answered(self, incarnation: Incarnation) -> Adopted {
        let mut answer = self.scene.answer(self.clients, incarnation);
        answer.obstacles = self.obstacles;
        answer
    }

    fn done(self, incarnation: Incarnation) -> Change<Adopted> {
        let id = self.scene.server.id.clone();
        let imported = self
            .imports
            .iter()
            .map(|peer| Entry::new(Action::PeerImported, format!("{id}/{}", peer.name)).made(peer));
        let mut entries: Vec<Entry> = imported.collect();
        entries.push(Entry::new(Action::ServerAdopted, &id).changed(&self.replaced, &self.scene.server));
        Change::all(self.answered(incarnation), entries)
    }
}

fn write(tx: &dyn DurableWrite, after: After) -> Result<After, Refusal> {
    let server = &after.scene.server;
    let (id, pools) = (&server.id, api_objects::pools(server));
    tx.put_server(server, None)?;
    // Keys that were sealed before the host had this key cannot be trusted, and a prekey must not have
    // the id of a peer. The agent then refills the stock.
    tx.erase_prekeys(id)?;
    let mut ledger = after.before;
    for peer in &after.imports {
        for net in rules::host_allowed_ips(peer) {
            tx.claim(id, &pools, &net, &peer.id)?;
        }
        tx.put_peer(id, peer, None)?;
        ledger.last_place = peer.place;
        ledger.peers += 1;
        revisions::advance(tx, id, &mut ledger, Some(&peer.id))?;
    }
    if after.port_moved {
        revisions::advance(tx, id, &mut ledger, None)?;
    }
    Ok(after)
}
