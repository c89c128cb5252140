//! The tables of the database.
//!
//! Owns their names, and the key and value of each. It must not know how an engine keeps them. Values are JSON unless
//! noted otherwise. Keys are bytes, and their order is the order of reading. The keys of a server's rows begin with its
//! id and a zero byte, which no id contains.

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A table of the schema.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Table {
            $($(#[$doc])* $name,)*
        }

        impl Table {
            /// All tables.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the table's name in the file, in backups and in messages.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

tables! {
    /// `schema` and `incarnation`.
    Meta = "meta",
    /// id → `ServerRecord`.
    Servers = "servers",
    /// id → `Ledger`.
    Ledgers = "ledgers",
    /// id → the last revision (8 bytes) of a server that was removed. A new server with that id continues from it.
    RetiredServers = "retired_servers",
    /// SHA-256 of an agent's token → server id, as text.
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
    /// server, family, first address → last address: the free addresses of the pools.
    FreeRuns = "free_runs",
    /// server, revision (8 bytes) → peer id (16 bytes, zero for the interface) and, if known, the
    /// request that changed it (16 bytes).
    Changes = "changes",
    /// server, peer id → `PeerCounters`.
    Counters = "counters",
    /// server, peer id → the kernel's reason for refusing the peer, as text.
    Failures = "failures",
    /// server, prekey id → `Prekey`.
    Prekeys = "prekeys",
    /// server, id of a prekey that was taken → nothing.
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
    /// token id → the time of its last use, to about a minute.
    ApiTokenUses = "api_token_uses",
    /// number (8 bytes) → `AuditRecord`.
    Audit = "audit",
    /// `head` → the chain's head, `pruned` → `Pruned`.
    AuditChain = "audit_chain",
    /// number of a record (8 bytes) → `Checkpoint`.
    AuditCheckpoints = "audit_checkpoints",
    /// actor, zero byte, number → nothing.
    AuditActors = "audit_actors",
    /// action, zero byte, number → nothing.
    AuditActions = "audit_actions",
    /// target or one of its ancestors, zero byte, number → nothing.
    AuditTargets = "audit_targets",
    /// number of a record much older than the one before it (the clock was set back) → nothing.
    AuditRuns = "audit_runs",
    /// scope (32 bytes) → `Answer`.
    Answers = "answers",
    /// time (8 bytes), scope → nothing.
    AnswerTimes = "answer_times",
    /// SHA-256 of an account's email → `Penalty`.
    Penalties = "penalties",
    /// hour (8 bytes), server → an hour packed by `history`.
    History = "history",
}
