//! The request and response bodies of the REST API, shared by the plane, `wgctl` and the tests.
//!
//! Owns the names and types of their fields. The original API is authoritative: its fields keep their names,
//! types and case (peers in camelCase, everything else in snake_case), and fields may only be added. It must
//! not contain behaviour beyond parsing. Request types refuse unknown fields, except for [`Report`], because
//! newer agents may send more.

mod audit;
mod audit_values;
mod base_url;
mod optional;
mod peers;
mod problem;
mod reports;
mod servers;
mod tokens;
mod users;

pub use audit::{
    AuditLine, AuditPublicKey, AuditRecord, Changes, Checkpoint, Fault, FieldChange, Pruned, Verification,
};
pub use audit_values::{AuditKey, FormatError, Hash, Head, Signature};
pub use base_url::base_url;
pub use peers::{NewPeer, Peer, PeerPatch};
pub use problem::{Hint, NextStep, Problem, problem_kind};
pub use reports::{
    Counters, Health, HistoryPoint, PastSample, PeerCounters, Report, SAMPLES_AT_ONCE, Status, Transfer,
};
pub use servers::{AgentToken, NewServer, Server, ServerCreated, ServerPatch};
pub use tokens::{
    AGENT_TOKEN_PREFIX, API_TOKEN_PREFIX, ApiToken, ApiTokenCreated, KeyRotated, NewApiToken, TokenRotation,
};
pub use users::{Login, NewUser, PasswordChange, Role, Session, User, UserPatch};
