//! All tables of the database, by name.
//!
//! Owns the names, and what the key and the value of each table are. It must not know how an engine keeps them. Rows
//! are JSON unless said otherwise; keys are bytes whose order is the order of reading. A server's rows begin with its
//! id and a zero byte, which no id holds.

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

            /// The table's name in the file, in backups and in messages.
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
    /// id → the last revision (8 bytes) of a server that was removed: should one of that id come again,
    /// its revisions go on from there.
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
    /// server, family, first address → last address: what is free of the pool.
    FreeRuns = "free_runs",
    /// server, revision (8 bytes) → peer id (16 bytes, zero for the interface) and, where it is known, the
    /// request that changed it (16 bytes).
    Changes = "changes",
    /// server, peer id → `PeerCounters`.
    Counters = "counters",
    /// server, peer id → why the kernel refused the peer, as text.
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
    /// token id → when it was last used, to about a minute.
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
    /// target or what it is below, zero byte, number → nothing.
    AuditTargets = "audit_targets",
    /// number of a record that is much older than one before it: the clock was set back → nothing.
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
