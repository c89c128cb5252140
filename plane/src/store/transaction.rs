//! The interface that business rules are written against: the reads and writes of a transaction.
//!
//! Owns the traits for each entity and three traits that combine them: [`Read`] reads, [`LossyWrite`] also writes data
//! that may be lost in a crash, and [`DurableWrite`] also writes data that must not be lost. It must not know how rows
//! are stored. The three combined traits are object-safe, so that a rule does not depend on an engine: `fn rule(tx:
//! &dyn DurableWrite)`. They are synchronous, because a rule runs inside a transaction and must not wait.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;

use ipnet::IpNet;
use uuid::Uuid;
use wgctl::api::{AuditLine, AuditRecord, Checkpoint, Head, PeerCounters, Pruned};
use wgctl::audit::Signer;
use wgctl::name::{Email, Incarnation, TokenId, TokenName, UserId};
use wgctl::protocol::v1::{Failure, Prekey};
use wgctl::{PeerId, PeerName, PublicKey, ServerId, Timestamp};

use super::error::StoreError;
use crate::model::pool::{Pool, Run};
use crate::model::records::{
    Answer, Confirmation, Ledger, Measurement, PeerRecord, PeerState, Penalty, ServerRecord, ServerState, TokenRecord,
    UserRecord,
};

/// All read operations.
pub(crate) trait Read:
    ReadAgents
    + ReadAnswers
    + ReadAudit
    + ReadChanges
    + ReadEverything
    + ReadHistory
    + ReadPeers
    + ReadPenalties
    + ReadPrekeys
    + ReadServers
    + ReadSpans
    + ReadTokens
    + ReadUsers
{
}

impl<
    T: ReadAgents
        + ReadAnswers
        + ReadAudit
        + ReadChanges
        + ReadEverything
        + ReadHistory
        + ReadPeers
        + ReadPenalties
        + ReadPrekeys
        + ReadServers
        + ReadSpans
        + ReadTokens
        + ReadUsers,
> Read for T
{
}

/// All read operations, and the write operations whose data may be lost in a crash.
pub(crate) trait LossyWrite:
    Read
    + LossyWriteAgents
    + LossyWriteAnswers
    + LossyWriteAudit
    + LossyWriteHistory
    + LossyWritePenalties
    + LossyWritePrekeys
    + LossyWriteTokens
{
}

impl<
    T: Read
        + LossyWriteAgents
        + LossyWriteAnswers
        + LossyWriteAudit
        + LossyWriteHistory
        + LossyWritePenalties
        + LossyWritePrekeys
        + LossyWriteTokens,
> LossyWrite for T
{
}

/// All read and write operations. The writes are on disk before they are acknowledged.
pub(crate) trait DurableWrite:
    LossyWrite
    + WriteAnswers
    + WriteAudit
    + WriteEverything
    + WritePeers
    + WritePenalties
    + WriteRevisions
    + WriteServers
    + WriteSpans
    + WriteTokens
    + WriteUsers
{
}

impl<
    T: LossyWrite
        + WriteAnswers
        + WriteAudit
        + WriteEverything
        + WritePeers
        + WritePenalties
        + WriteRevisions
        + WriteServers
        + WriteSpans
        + WriteTokens
        + WriteUsers,
> DurableWrite for T
{
}

/// Read access to servers.
pub(crate) trait ReadServers {
    fn server(&self, id: &ServerId) -> Result<Option<ServerRecord>, StoreError>;
    /// Returns all servers, ordered by id.
    fn servers(&self) -> Result<Vec<ServerRecord>, StoreError>;
    /// Returns all servers with their states, ordered by id. Reads each table once, regardless of the number of
    /// servers.
    fn servers_with_state(&self) -> Result<Vec<ServerState>, StoreError>;
    fn ledger(&self, id: &ServerId) -> Result<Option<Ledger>, StoreError>;
    fn server_by_token(&self, hash: &[u8; 32]) -> Result<Option<ServerId>, StoreError>;
    /// Returns the last revision of a removed server with this id, if there was one.
    fn retired_revision(&self, id: &ServerId) -> Result<Option<u64>, StoreError>;
}

/// Write access to servers.
pub(crate) trait WriteServers: ReadServers {
    /// Writes a server record. `dead_token` is the hash of a token that is no longer valid.
    fn put_server(&self, server: &ServerRecord, dead_token: Option<&[u8; 32]>) -> Result<(), StoreError>;
    fn put_ledger(&self, id: &ServerId, ledger: &Ledger) -> Result<(), StoreError>;
    /// Removes a server and all of its rows except its history. `revision` is recorded as its id's last revision.
    fn erase_server(&self, server: &ServerRecord, revision: u64) -> Result<(), StoreError>;
}

/// Read access to the agents' reports.
pub(crate) trait ReadAgents {
    /// Returns the last confirmation from a server's agent, or the default if there has been none.
    fn confirmation(&self, server: &ServerId) -> Result<Confirmation, StoreError>;
    /// Returns the last measurement from a server's agent, or the default if there has been none.
    fn measurement(&self, server: &ServerId) -> Result<Measurement, StoreError>;
    fn counters(&self, server: &ServerId, peer: &PeerId) -> Result<PeerCounters, StoreError>;
    /// Returns the kernel's reason for refusing a peer, if the kernel refused it.
    fn failure(&self, server: &ServerId, peer: &PeerId) -> Result<Option<String>, StoreError>;
}

/// Write access to the agents' reports.
pub(crate) trait LossyWriteAgents: ReadAgents {
    fn put_confirmation(&self, server: &ServerId, confirmation: &Confirmation) -> Result<(), StoreError>;
    fn put_measurement(&self, server: &ServerId, measurement: &Measurement) -> Result<(), StoreError>;
    fn put_counters(&self, server: &ServerId, peers: &BTreeMap<PeerId, PeerCounters>) -> Result<(), StoreError>;
    /// Replaces all failures recorded for a server.
    fn put_failures(&self, server: &ServerId, failures: &[Failure]) -> Result<(), StoreError>;
}

/// Read access to peers.
pub(crate) trait ReadPeers {
    fn peer(&self, server: &ServerId, id: &PeerId) -> Result<Option<PeerRecord>, StoreError>;
    fn peer_named(&self, server: &ServerId, name: &PeerName) -> Result<Option<PeerId>, StoreError>;
    fn peer_with_key(&self, server: &ServerId, key: &PublicKey) -> Result<Option<PeerId>, StoreError>;
    /// Returns `peers`, each with its counters and its failure. Reads each table once if `peers` contains a large
    /// part of the server's peers.
    fn peers_with_counters(&self, server: &ServerId, peers: Vec<PeerRecord>) -> Result<Vec<PeerState>, StoreError>;
    /// Returns the counters of the given peers, in the same order.
    fn counters_of(&self, server: &ServerId, peers: &[PeerId]) -> Result<Vec<PeerCounters>, StoreError>;
    /// Passes to `see` each peer whose place in the order of creation is greater than `after`, until `see` breaks.
    fn each_peer(
        &self,
        server: &ServerId,
        after: u64,
        see: &mut dyn FnMut(PeerRecord) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError>;
}

/// Write access to peers.
pub(crate) trait WritePeers: ReadPeers {
    /// Writes a peer record; `old` is its previous version, if there is one.
    fn put_peer(&self, server: &ServerId, peer: &PeerRecord, old: Option<&PeerRecord>) -> Result<(), StoreError>;
    /// Removes a peer together with its counters and its failure.
    fn erase_peer(&self, server: &ServerId, peer: &PeerRecord) -> Result<(), StoreError>;
}

/// Read access to the addresses in use and the free addresses.
pub(crate) trait ReadSpans {
    /// Returns an owner, other than `except`, of an address within `net`, if there is one.
    fn owner_within(
        &self,
        server: &ServerId,
        net: &IpNet,
        except: Option<&PeerId>,
    ) -> Result<Option<PeerId>, StoreError>;
    /// Returns the first run of free addresses in a pool.
    fn first_free(&self, server: &ServerId, pool: &Pool) -> Result<Option<Run>, StoreError>;
}

/// Write access to the addresses in use and the free addresses.
pub(crate) trait WriteSpans: ReadSpans {
    /// Sets up a pool for a new server: reserves the server's own address, and makes all assignable addresses free.
    fn open_pool(&self, server: &ServerId, pool: &Pool) -> Result<(), StoreError>;
    /// Assigns `net` to `owner`. None of its addresses may be in use.
    fn claim(&self, server: &ServerId, pools: &[Pool], net: &IpNet, owner: &PeerId) -> Result<(), StoreError>;
    /// Makes `net` free again.
    fn release(&self, server: &ServerId, pools: &[Pool], net: &IpNet) -> Result<(), StoreError>;
}

/// Read access to the changes to a server's desired state.
pub(crate) trait ReadChanges {
    /// Returns the changes made after `revision`.
    fn changes_after(&self, server: &ServerId, revision: u64) -> Result<Changes, StoreError>;
}

/// Write access to the changes to a server's desired state.
pub(crate) trait WriteRevisions: ReadChanges {
    /// Records the subject of the change at `revision`: a peer, or the interface if `peer` is `None`.
    fn put_change(&self, server: &ServerId, revision: u64, peer: Option<&PeerId>) -> Result<(), StoreError>;
    /// Removes the record of the change at `revision`.
    fn erase_change(&self, server: &ServerId, revision: u64) -> Result<(), StoreError>;
}

/// Read access to the stock of prekeys.
pub(crate) trait ReadPrekeys {
    /// Returns the prekey that will be taken next, if there is one.
    fn next_prekey(&self, server: &ServerId) -> Result<Option<Prekey>, StoreError>;
    fn prekey_stock(&self, server: &ServerId) -> Result<u32, StoreError>;
    /// Returns whether a prekey has ever been taken, even if its peer has since been removed.
    fn is_spent(&self, server: &ServerId, id: &PeerId) -> Result<bool, StoreError>;
}

/// Write access to the stock of prekeys. Added prekeys may be lost in a crash; the agent is then asked for more.
/// Taking a prekey is part of a change, whose commit also makes all earlier writes durable.
pub(crate) trait LossyWritePrekeys: ReadPrekeys {
    fn put_prekey(&self, server: &ServerId, prekey: &Prekey) -> Result<(), StoreError>;
    /// Permanently removes a prekey from the stock. A message that is delivered twice must not bring it back, or two
    /// devices would share one key.
    fn take_prekey(&self, server: &ServerId, id: &PeerId) -> Result<(), StoreError>;
    /// Removes all of a server's prekeys.
    fn erase_prekeys(&self, server: &ServerId) -> Result<(), StoreError>;
}

/// Read access to history. Hours are counted from the Unix epoch.
pub(crate) trait ReadHistory {
    /// Returns one server's packed data for one hour.
    fn hour(&self, hour: u64, server: &ServerId) -> Result<Option<Vec<u8>>, StoreError>;
    /// Returns all servers' packed data for one hour, ordered by server.
    fn hour_of_all(&self, hour: u64) -> Result<Vec<(ServerId, Vec<u8>)>, StoreError>;
}

/// Write access to history.
pub(crate) trait LossyWriteHistory: ReadHistory {
    fn put_hour(&self, hour: u64, server: &ServerId, packed: &[u8]) -> Result<(), StoreError>;
    fn erase_hour(&self, hour: u64, server: &ServerId) -> Result<(), StoreError>;
    /// Removes all hours before `hour`.
    fn erase_hours_before(&self, hour: u64) -> Result<(), StoreError>;
}

/// Read access to API tokens.
pub(crate) trait ReadTokens {
    fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError>;
    fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError>;
    fn token_by_name(&self, name: &TokenName) -> Result<Option<TokenRecord>, StoreError>;
    /// Returns all tokens, in no particular order.
    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// Returns the time of a token's last use, accurate to about a minute.
    fn token_used_at(&self, id: &TokenId) -> Result<Option<Timestamp>, StoreError>;
}

/// Write access to the times at which API tokens were last used. They may be lost in a crash, like other metrics.
pub(crate) trait LossyWriteTokens: ReadTokens {
    fn put_token_use(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError>;
}

/// Write access to API tokens.
pub(crate) trait WriteTokens: ReadTokens {
    /// Writes a token record. The token's name and hash must never change.
    fn put_token(&self, token: &TokenRecord) -> Result<(), StoreError>;
    fn erase_token(&self, token: &TokenRecord) -> Result<(), StoreError>;
}

/// Read access to users.
pub(crate) trait ReadUsers {
    fn user(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError>;
    fn user_by_email(&self, email: &Email) -> Result<Option<UserRecord>, StoreError>;
    /// Returns all users, in no particular order.
    fn users(&self) -> Result<Vec<UserRecord>, StoreError>;
}

/// Write access to users.
pub(crate) trait WriteUsers: ReadUsers {
    fn put_user(&self, user: &UserRecord) -> Result<(), StoreError>;
    fn erase_user(&self, user: &UserRecord) -> Result<(), StoreError>;
}

/// Read access to login penalties.
pub(crate) trait ReadPenalties {
    fn penalty(&self, account: &[u8; 32]) -> Result<Option<Penalty>, StoreError>;
}

/// Write access to login penalties, and the removal of expired ones. After a crash, removed penalties may reappear.
pub(crate) trait LossyWritePenalties: ReadPenalties {
    fn put_penalty(&self, account: &[u8; 32], penalty: &Penalty) -> Result<(), StoreError>;
    /// Removes at most `limit` penalties whose last failure was before `before`. Returns the number removed.
    fn sweep_penalties(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

/// The removal of individual login penalties.
pub(crate) trait WritePenalties: ReadPenalties {
    fn clear_penalty(&self, account: &[u8; 32]) -> Result<(), StoreError>;
}

/// Read access to stored responses.
pub(crate) trait ReadAnswers {
    fn answer(&self, scope: &[u8; 32]) -> Result<Option<Answer>, StoreError>;
}

/// The removal of expired stored responses. After a crash, removed responses may reappear.
pub(crate) trait LossyWriteAnswers: ReadAnswers {
    /// Removes at most `limit` responses that were stored before `before`. Returns the number removed.
    fn sweep_answers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

/// Write access to stored responses.
pub(crate) trait WriteAnswers: ReadAnswers {
    /// Stores a response; `old` is the expired response with the same scope, if there is one.
    fn put_answer(&self, scope: &[u8; 32], answer: &Answer, old: Option<&Answer>) -> Result<(), StoreError>;
}

/// Read access to the audit log.
pub(crate) trait ReadAudit {
    /// Returns at most `limit` records that match `filter`, newest first, after skipping the first `offset` of them.
    fn audit_newest(&self, filter: &AuditFilter, offset: usize, limit: usize) -> Result<Vec<AuditRecord>, StoreError>;
    /// Returns at most `limit` records from number `from` to `to` (inclusive), oldest first, each followed by its
    /// checkpoint if it has one. Also returns the number of the last record returned.
    fn audit_lines(&self, from: u64, to: u64, limit: usize) -> Result<(Vec<AuditLine>, Option<u64>), StoreError>;
    /// Returns the beginning and the end of the log.
    fn audit_extent(&self) -> Result<AuditExtent, StoreError>;
    /// Returns the newest checkpoint, if there is one.
    fn audit_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError>;
}

/// The signing of the audit log.
pub(crate) trait LossyWriteAudit: ReadAudit {
    /// Writes a checkpoint of the log's head, unless `signer` has already signed that head. Returns whether a
    /// checkpoint was written.
    fn checkpoint_audit(&self, signer: &Signer, now: Timestamp) -> Result<bool, StoreError>;
}

/// The pruning of the audit log. Only its oldest records can be removed.
pub(crate) trait WriteAudit: LossyWriteAudit {
    /// Removes at most `limit` of the oldest records, all of them older than `before`, and signs a statement that
    /// covers all records ever removed. Returns the statement and the number of records that were removed by this call,
    /// or `None` if no record was old enough.
    fn prune_audit(
        &self,
        before: Timestamp,
        limit: usize,
        signer: &Signer,
        now: Timestamp,
    ) -> Result<Option<(Pruned, u64)>, StoreError>;
    /// Signs the statement about removed records again with this plane's key, if there is such a statement.
    fn sign_pruned_again(&self, signer: &Signer, now: Timestamp) -> Result<(), StoreError>;
}

/// Read access to the whole database.
pub(crate) trait ReadEverything {
    /// Returns the database's incarnation.
    fn incarnation(&self) -> Result<Incarnation, StoreError>;
    /// Writes a backup of the transaction's snapshot.
    fn back_up(&self, now: Timestamp, output: &mut dyn io::Write) -> Result<(), StoreError>;
}

/// The replacement of the whole database.
pub(crate) trait WriteEverything: ReadEverything {
    /// Replaces all rows with the rows in a backup, and begins a new incarnation of the database.
    fn replace_by(&self, backup: &mut dyn io::Read) -> Result<(), StoreError>;
}

/// The changes between two revisions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) interface: bool,
    pub(crate) peers: BTreeSet<PeerId>,
    /// The requests that made the changes, as far as they are known, in revision order.
    pub(crate) requests: Vec<Uuid>,
}

/// A filter for audit records. A field that is `None` matches every record.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFilter {
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    /// This target and all targets below it.
    pub(crate) target: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

impl AuditFilter {
    pub(super) fn admits(&self, record: &AuditRecord) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let below = |wanted: &String| {
            let rest = record.target.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        same(&self.actor, &record.actor)
            && same(&self.action, &record.action)
            && self.target.as_ref().is_none_or(below)
            && self.since.is_none_or(|since| record.created_at >= since)
            && self.until.is_none_or(|until| record.created_at < until)
    }
}

/// The beginning and the end of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AuditExtent {
    /// The statement about the records that have been removed from the beginning of the log, if any.
    pub(crate) pruned: Option<Pruned>,
    /// The newest record.
    pub(crate) head: Head,
}

impl AuditExtent {
    /// Returns the number of the first record that has not been removed.
    pub(crate) fn first(&self) -> u64 {
        self.pruned.map_or(1, |stub| stub.id + 1)
    }
}
