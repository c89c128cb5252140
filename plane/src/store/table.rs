//! The tables of the database.
//!
//! Owns the tables' names, and the format of each table's keys and values. It must not know how an engine stores them.
//! Values are JSON unless noted otherwise. Keys are byte strings, and rows are read in the order of their keys. The
//! keys of a server's rows begin with the server's id and a zero byte, which no id contains.

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A table in the schema.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Table {
            $($(#[$doc])* $name,)*
        }

        impl Table {
            /// All tables.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the table's name as it appears in the database file, in backups and in messages.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

tables! {
    /// `schema` → the schema version (8 bytes), `incarnation` → the database's incarnation.
    Meta = "meta",
    /// id → `ServerRecord`.
    Servers = "servers",
    /// id → `Ledger`.
    Ledgers = "ledgers",
    /// id → the last revision (8 bytes) of a server that has been removed. A new server with that id continues from
    /// this revision.
    RetiredServers = "retired_servers",
    /// SHA-256 of an agent token → server id, as text.
    AgentTokens = "agent_tokens",
    /// id → `Confirmation`.
    Confirmations = "confirmations",
    /// id → `Measurement`.
    Measurements = "measurements",
    /// server, place in the order of creation (8 bytes) → `PeerRecord`.
    Peers = "peers",
    /// server, peer id (16 bytes) → place (8 bytes).
    PeerPlaces = "peer_places",
    /// server, name → peer id.
    PeerNames = "peer_names",
    /// server, public key (32 bytes) → peer id.
    PeerKeys = "peer_keys",
    /// server, family (1 byte), first address (16 bytes) → last address (16 bytes), owner (16 bytes).
    Spans = "spans",
    /// server, family, first address → last address of a run of free addresses in a pool.
    FreeRuns = "free_runs",
    /// server, revision (8 bytes) → peer id (16 bytes, all zero for the interface) and, if known, the id of the request
    /// that made the change (16 bytes).
    Changes = "changes",
    /// server, peer id → `PeerCounters`.
    Counters = "counters",
    /// server, peer id → the kernel's reason for refusing the peer, as text.
    Failures = "failures",
    /// server, prekey id → `Prekey`.
    Prekeys = "prekeys",
    /// server, id of a prekey that has been taken → an empty value.
    SpentPrekeys = "spent_prekeys",
    /// id (16 bytes) → `UserRecord`.
    Users = "users",
    /// email → user id.
    UserEmails = "user_emails",
    /// id (16 bytes) → `TokenRecord`.
    ApiTokens = "api_tokens",
    /// SHA-256 of an API token → token id.
    ApiTokenHashes = "api_token_hashes",
    /// name → token id.
    ApiTokenNames = "api_token_names",
    /// token id → the time of the token's last use, accurate to about a minute.
    ApiTokenUses = "api_token_uses",
    /// record number (8 bytes) → `AuditRecord`.
    Audit = "audit",
    /// `head` → `Chain`, `pruned` → `Pruned`.
    AuditChain = "audit_chain",
    /// record number (8 bytes) → `Checkpoint`.
    AuditCheckpoints = "audit_checkpoints",
    /// actor, zero byte, record number → an empty value.
    AuditActors = "audit_actors",
    /// action, zero byte, record number → an empty value.
    AuditActions = "audit_actions",
    /// target or one of its ancestors, zero byte, record number → an empty value.
    AuditTargets = "audit_targets",
    /// number of a record that begins a new run, because the clock was set back → an empty value.
    AuditRuns = "audit_runs",
    /// scope (32 bytes) → `Answer`.
    Answers = "answers",
    /// time (8 bytes), scope → an empty value.
    AnswerTimes = "answer_times",
    /// SHA-256 of an email, or of that hash and a known address → `Penalty`.
    Penalties = "penalties",
    /// hour (8 bytes), server → the server's data for that hour, packed by `history`.
    History = "history",
}
