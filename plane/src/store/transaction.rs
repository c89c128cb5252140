//! The interface that the business rules are written against: what a transaction can read and write.
//!
//! Owns one trait an entity and the three sums of them: [`Read`] reads, [`LossyWrite`] also writes what may be lost in
//! a crash, [`DurableWrite`] also writes what must not be lost. All of them can be trait objects, so that a rule names
//! no engine: `fn rule(tx: &dyn DurableWrite)`. They are synchronous: a rule runs inside a transaction and must not
//! wait. It must not know how rows are kept.

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

/// Everything that can be read.
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

/// Everything that may be lost in a crash.
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

/// Everything that is on disk before it is acknowledged.
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

/// Reading servers.
pub(crate) trait ReadServers {
    fn server(&self, id: &ServerId) -> Result<Option<ServerRecord>, StoreError>;
    /// All servers, by id.
    fn servers(&self) -> Result<Vec<ServerRecord>, StoreError>;
    /// All servers with their states, by id. Walks each table once, however many servers there are.
    fn servers_with_state(&self) -> Result<Vec<ServerState>, StoreError>;
    fn ledger(&self, id: &ServerId) -> Result<Option<Ledger>, StoreError>;
    fn server_by_token(&self, hash: &[u8; 32]) -> Result<Option<ServerId>, StoreError>;
    /// The last revision of a server of this id that was removed.
    fn retired_revision(&self, id: &ServerId) -> Result<Option<u64>, StoreError>;
}

/// Writing servers.
pub(crate) trait WriteServers: ReadServers {
    /// Writes a server; `dead_token` is the hash that is good no more.
    fn put_server(&self, server: &ServerRecord, dead_token: Option<&[u8; 32]>) -> Result<(), StoreError>;
    fn put_ledger(&self, id: &ServerId, ledger: &Ledger) -> Result<(), StoreError>;
    /// Removes a server and everything that is its own but its history.
    fn erase_server(&self, server: &ServerRecord, revision: u64) -> Result<(), StoreError>;
}

/// Reading what agents told.
pub(crate) trait ReadAgents {
    /// What a server's agent confirmed last; defaults before its first confirmation.
    fn confirmation(&self, server: &ServerId) -> Result<Confirmation, StoreError>;
    /// What a server's agent measured last; defaults before its first report.
    fn measurement(&self, server: &ServerId) -> Result<Measurement, StoreError>;
    fn counters(&self, server: &ServerId, peer: &PeerId) -> Result<PeerCounters, StoreError>;
    /// Why the kernel refused a peer.
    fn failure(&self, server: &ServerId, peer: &PeerId) -> Result<Option<String>, StoreError>;
}

/// Recording what agents tell.
pub(crate) trait LossyWriteAgents: ReadAgents {
    fn put_confirmation(&self, server: &ServerId, confirmation: &Confirmation) -> Result<(), StoreError>;
    fn put_measurement(&self, server: &ServerId, measurement: &Measurement) -> Result<(), StoreError>;
    fn put_counters(&self, server: &ServerId, peers: &BTreeMap<PeerId, PeerCounters>) -> Result<(), StoreError>;
    /// Replaces all failures of a server.
    fn put_failures(&self, server: &ServerId, failures: &[Failure]) -> Result<(), StoreError>;
}

/// Reading peers.
pub(crate) trait ReadPeers {
    fn peer(&self, server: &ServerId, id: &PeerId) -> Result<Option<PeerRecord>, StoreError>;
    fn peer_named(&self, server: &ServerId, name: &PeerName) -> Result<Option<PeerId>, StoreError>;
    fn peer_with_key(&self, server: &ServerId, key: &PublicKey) -> Result<Option<PeerId>, StoreError>;
    /// Adds to each of the peers what their server's agent said of it. Walks each table once where there are many
    /// peers.
    fn peers_with_counters(&self, server: &ServerId, peers: Vec<PeerRecord>) -> Result<Vec<PeerState>, StoreError>;
    /// Hands the peers after a place in the order of creation to `see`, until it has enough.
    fn each_peer(
        &self,
        server: &ServerId,
        after: u64,
        see: &mut dyn FnMut(PeerRecord) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError>;
}

/// Writing peers.
pub(crate) trait WritePeers: ReadPeers {
    /// Writes a peer; `old` is what it was.
    fn put_peer(&self, server: &ServerId, peer: &PeerRecord, old: Option<&PeerRecord>) -> Result<(), StoreError>;
    /// Removes a peer with its counters and its failure.
    fn erase_peer(&self, server: &ServerId, peer: &PeerRecord) -> Result<(), StoreError>;
}

/// Reading who has what.
pub(crate) trait ReadSpans {
    /// Somebody but `except` who has an address of `net`.
    fn owner_within(
        &self,
        server: &ServerId,
        net: &IpNet,
        except: Option<&PeerId>,
    ) -> Result<Option<PeerId>, StoreError>;
    /// The first run of free addresses of a pool.
    fn first_free(&self, server: &ServerId, pool: &Pool) -> Result<Option<Run>, StoreError>;
}

/// Taking and giving back.
pub(crate) trait WriteSpans: ReadSpans {
    /// Opens a new server's pool: the server's own address is its own, the rest is free.
    fn open_pool(&self, server: &ServerId, pool: &Pool) -> Result<(), StoreError>;
    /// Gives `net` to `owner`. Nobody may have any of it.
    fn claim(&self, server: &ServerId, pools: &[Pool], net: &IpNet, owner: &PeerId) -> Result<(), StoreError>;
    /// Takes `net` back.
    fn release(&self, server: &ServerId, pools: &[Pool], net: &IpNet) -> Result<(), StoreError>;
}

/// Reading changes.
pub(crate) trait ReadChanges {
    /// What changed after `revision`.
    fn changes_after(&self, server: &ServerId, revision: u64) -> Result<Changes, StoreError>;
}

/// Writing changes.
pub(crate) trait WriteRevisions: ReadChanges {
    /// Notes what `revision` changed: a peer, or the interface when none.
    fn put_change(&self, server: &ServerId, revision: u64, peer: Option<&PeerId>) -> Result<(), StoreError>;
    /// Forgets what `revision` changed.
    fn erase_change(&self, server: &ServerId, revision: u64) -> Result<(), StoreError>;
}

/// Reading the stock.
pub(crate) trait ReadPrekeys {
    /// The prekey that is taken next.
    fn next_prekey(&self, server: &ServerId) -> Result<Option<Prekey>, StoreError>;
    fn prekey_stock(&self, server: &ServerId) -> Result<u32, StoreError>;
    /// Whether it was ever taken, though its peer may be gone.
    fn is_spent(&self, server: &ServerId, id: &PeerId) -> Result<bool, StoreError>;
}

/// Filling and taking. To fill may be lost in a crash: the agent is asked again. To take is part
/// of a change, and what was filled before is then on disk too.
pub(crate) trait LossyWritePrekeys: ReadPrekeys {
    fn put_prekey(&self, server: &ServerId, prekey: &Prekey) -> Result<(), StoreError>;
    /// Takes it out of the stock, for good: a message that is delivered again must not bring it back,
    /// or a device that was removed would share its keys with a new one.
    fn take_prekey(&self, server: &ServerId, id: &PeerId) -> Result<(), StoreError>;
    /// Throws all away.
    fn erase_prekeys(&self, server: &ServerId) -> Result<(), StoreError>;
}

/// Reading history. An hour is counted from the Unix epoch.
pub(crate) trait ReadHistory {
    /// One server's hour, packed.
    fn hour(&self, hour: u64, server: &ServerId) -> Result<Option<Vec<u8>>, StoreError>;
    /// All servers' hours of one hour, packed, by server.
    fn hour_of_all(&self, hour: u64) -> Result<Vec<(ServerId, Vec<u8>)>, StoreError>;
}

/// Recording history.
pub(crate) trait LossyWriteHistory: ReadHistory {
    fn put_hour(&self, hour: u64, server: &ServerId, packed: &[u8]) -> Result<(), StoreError>;
    fn erase_hour(&self, hour: u64, server: &ServerId) -> Result<(), StoreError>;
    /// Removes all hours before `hour`.
    fn erase_hours_before(&self, hour: u64) -> Result<(), StoreError>;
}

/// Reading API tokens.
pub(crate) trait ReadTokens {
    fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError>;
    fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError>;
    fn token_by_name(&self, name: &TokenName) -> Result<Option<TokenRecord>, StoreError>;
    /// All tokens, in no order.
    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// When it was last used, to about a minute.
    fn token_used_at(&self, id: &TokenId) -> Result<Option<Timestamp>, StoreError>;
}

/// Noting that a token was used: metrics, which a crash may take.
pub(crate) trait LossyWriteTokens: ReadTokens {
    fn put_token_use(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError>;
}

/// Writing API tokens.
pub(crate) trait WriteTokens: ReadTokens {
    /// Writes a token. Its name and its hash never change.
    fn put_token(&self, token: &TokenRecord) -> Result<(), StoreError>;
    fn erase_token(&self, token: &TokenRecord) -> Result<(), StoreError>;
}

/// Reading users.
pub(crate) trait ReadUsers {
    fn user(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError>;
    fn user_by_email(&self, email: &Email) -> Result<Option<UserRecord>, StoreError>;
    /// All users, in no order.
    fn users(&self) -> Result<Vec<UserRecord>, StoreError>;
}

/// Writing users.
pub(crate) trait WriteUsers: ReadUsers {
    fn put_user(&self, user: &UserRecord) -> Result<(), StoreError>;
    fn erase_user(&self, user: &UserRecord) -> Result<(), StoreError>;
}

/// Reading penalties.
pub(crate) trait ReadPenalties {
    fn penalty(&self, account: &[u8; 32]) -> Result<Option<Penalty>, StoreError>;
}

/// Writing penalties, and forgetting those that are outlived; a crash may bring some back.
pub(crate) trait LossyWritePenalties: ReadPenalties {
    fn put_penalty(&self, account: &[u8; 32], penalty: &Penalty) -> Result<(), StoreError>;
    /// Removes at most `limit` penalties whose last failure was before `before`. Says how many.
    fn sweep_penalties(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

/// Lifting penalties.
pub(crate) trait WritePenalties: ReadPenalties {
    fn clear_penalty(&self, account: &[u8; 32]) -> Result<(), StoreError>;
}

/// Reading answers.
pub(crate) trait ReadAnswers {
    fn answer(&self, scope: &[u8; 32]) -> Result<Option<Answer>, StoreError>;
}

/// Forgetting answers that are outlived; a crash may bring some back.
pub(crate) trait LossyWriteAnswers: ReadAnswers {
    /// Removes at most `limit` answers from before `before`. Says how many.
    fn sweep_answers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

/// Writing answers.
pub(crate) trait WriteAnswers: ReadAnswers {
    /// Keeps an answer; `old` is the outlived one of the same scope.
    fn put_answer(&self, scope: &[u8; 32], answer: &Answer, old: Option<&Answer>) -> Result<(), StoreError>;
}

/// Reading the log.
pub(crate) trait ReadAudit {
    /// Matching records, newest first.
    fn audit_newest(&self, filter: &AuditFilter, offset: usize, limit: usize) -> Result<Vec<AuditRecord>, StoreError>;
    /// Records from number `from` to `to` (both included), oldest first, at most `limit`, each followed
    /// by its checkpoint where it has one; and the number of the last.
    fn audit_lines(&self, from: u64, to: u64, limit: usize) -> Result<(Vec<AuditLine>, Option<u64>), StoreError>;
    /// Where the log begins and ends.
    fn audit_beginning(&self) -> Result<Beginning, StoreError>;
    /// The newest checkpoint.
    fn audit_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError>;
}

/// Writing the word for what is recorded.
pub(crate) trait LossyWriteAudit: ReadAudit {
    /// Signs what the log is now, if that is news. Says whether it was.
    fn mark_audit(&self, signer: &Signer, now: Timestamp) -> Result<bool, StoreError>;
}

/// Changing what is recorded: the oldest records may go, and nothing else.
pub(crate) trait WriteAudit: LossyWriteAudit {
    /// Removes records from the oldest on that are older than `before`, at most `limit`, and signs a
    /// word for them. Gives it, and how many were removed now; none when the oldest may stay.
    fn prune_audit(
        &self,
        before: Timestamp,
        limit: usize,
        signer: &Signer,
        now: Timestamp,
    ) -> Result<Option<(Pruned, u64)>, StoreError>;
    /// Signs anew the word for what was removed, with this plane's key.
    fn vouch_for_audit(&self, signer: &Signer, now: Timestamp) -> Result<(), StoreError>;
}

/// Reading everything.
pub(crate) trait ReadEverything {
    /// The database's life.
    fn incarnation(&self) -> Result<Incarnation, StoreError>;
    /// Writes a backup, of the moment that is seen.
    fn back_up(&self, now: Timestamp, output: &mut dyn io::Write) -> Result<(), StoreError>;
}

/// Replacing everything.
pub(crate) trait WriteEverything: ReadEverything {
    /// Replaces all rows by those of a backup, and begins a new life of the database.
    fn replace_by(&self, backup: &mut dyn io::Read) -> Result<(), StoreError>;
}

/// What changed between two revisions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) interface: bool,
    pub(crate) peers: BTreeSet<PeerId>,
    /// The requests that changed it, as far as they are known; in the order of the revisions.
    pub(crate) requests: Vec<Uuid>,
}

/// Which records to read; what is absent excludes nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFilter {
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    /// Exactly this, or everything below it.
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

/// Where the log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// What was removed before the first record.
    pub(crate) pruned: Option<Pruned>,
    /// The newest record.
    pub(crate) head: Head,
}

impl Beginning {
    /// The first record's number.
    pub(crate) fn first(&self) -> u64 {
        self.pruned.map_or(1, |stub| stub.id + 1)
    }
}
