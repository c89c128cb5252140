//! All tables of the database, and its schema version.
//!
//! Owns the names and the keys of the tables, and the steps from older schemas. It must not know
//! what the rows mean, nor when a step runs (`migrate`). Rows are JSON unless said otherwise; keys
//! are bytes whose order is the order of reading. A server's rows begin with its id and a zero
//! byte, which no id holds.

use redb::{TableDefinition, TableHandle as _, WriteTransaction};

use crate::store::error::StoreError;

pub(crate) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The schema this release writes.
pub(super) const VERSION: u64 = 1;

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: Table = Table::new($text);)*
        pub(super) const ALL: &[Table] = &[$($name),*];
    };
}

tables! {
    /// `schema` and `incarnation`.
    META = "meta";
    /// id → `ServerRecord`.
    SERVERS = "servers";
    /// id → `Ledger`.
    LEDGERS = "ledgers";
    /// id → the last revision (8 bytes) of a server that was removed: should one of that id come again,
    /// its revisions go on from there.
    RETIRED = "retired_servers";
    /// SHA-256 of an agent's token → server id, as text.
    AGENT_TOKENS = "agent_tokens";
    /// id → `AgentState`.
    AGENT_STATES = "agent_states";
    /// server, place in the order of creation (8 bytes) → `PeerRecord`.
    PEERS = "peers";
    /// server, peer id (16 bytes) → place (8 bytes).
    PEER_PLACES = "peer_places";
    /// server, name → peer id.
    PEER_NAMES = "peer_names";
    /// server, public key (32 bytes) → peer id.
    PEER_KEYS = "peer_keys";
    /// server, family (1 byte), first address (16 bytes) → last address (16 bytes), owner (16 bytes).
    SPANS = "spans";
    /// server, family, first address → last address: what is free of the pool.
    FREE_RUNS = "free_runs";
    /// server, revision (8 bytes) → peer id (16 bytes, zero for the interface) and, where it is known, the
    /// request that changed it (16 bytes).
    CHANGES = "changes";
    /// server, peer id → `PeerCounters`.
    COUNTERS = "counters";
    /// server, peer id → why the kernel refused the peer, as text.
    FAILURES = "failures";
    /// server, prekey id → `Prekey`.
    PREKEYS = "prekeys";
    /// server, id of a prekey that was taken → nothing.
    SPENT_PREKEYS = "spent_prekeys";
    /// id (16 bytes) → `UserRecord`.
    USERS = "users";
    /// email → user id.
    USER_EMAILS = "user_emails";
    /// id (16 bytes) → `TokenRecord`.
    TOKENS = "api_tokens";
    /// SHA-256 of an API token → token id.
    TOKEN_HASHES = "api_token_hashes";
    /// name → token id.
    TOKEN_NAMES = "api_token_names";
    /// token id → when it was last used, to about a minute.
    TOKEN_USES = "api_token_uses";
    /// number (8 bytes) → `AuditRecord`.
    AUDIT = "audit";
    /// `head` → the chain's head, `pruned` → `Pruned`.
    AUDIT_CHAIN = "audit_chain";
    /// number of a record (8 bytes) → `Checkpoint`.
    AUDIT_CHECKPOINTS = "audit_checkpoints";
    /// actor, zero byte, number → nothing.
    AUDIT_ACTORS = "audit_actors";
    /// action, zero byte, number → nothing.
    AUDIT_ACTIONS = "audit_actions";
    /// target or what it is below, zero byte, number → nothing.
    AUDIT_TARGETS = "audit_targets";
    /// number of a record that is much older than one before it: the clock was set back → nothing.
    AUDIT_RUNS = "audit_runs";
    /// scope (32 bytes) → `Answer`.
    ANSWERS = "answers";
    /// time (8 bytes), scope → nothing.
    ANSWER_TIMES = "answer_times";
    /// SHA-256 of an account's email → `Penalty`.
    PENALTIES = "penalties";
    /// hour (8 bytes), server → an hour packed by `history`.
    HISTORY = "history";
}

/// In [`META`]: the schema's version, and the database's life.
pub(super) const SCHEMA: &[u8] = b"schema";
pub(super) const INCARNATION: &[u8] = b"incarnation";

/// What a release writes, and the way there from what older ones wrote.
pub(crate) struct Schema {
    pub(crate) version: u64,
    pub(crate) tables: &'static [Table],
    /// In the order of their versions, without a gap.
    pub(crate) steps: &'static [Step],
}

/// From one version to the next.
pub(crate) struct Step {
    /// The version that it makes of the one before.
    pub(crate) to: u64,
    /// Runs in a transaction of its own, with the version's own row.
    pub(crate) run: fn(&WriteTransaction) -> Result<(), StoreError>,
}

/// This release's. Schema 1 is the first: no step leads to it.
pub(crate) const CURRENT: Schema = Schema {
    version: VERSION,
    tables: ALL,
    steps: &[],
};

/// The bytes of a row that has a fixed length.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt(format!("{} bytes where {N} belong", bytes.len())))
}

/// The table's name, for messages.
pub(crate) fn name(table: &Table) -> &str {
    table.name()
}
