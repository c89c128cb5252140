//! The fleet's limiters.
//!
//! Owns all of them. It must not persist them: they protect the disk and the log, and a restart allows
//! at most one more burst.

pub(super) mod audit_flood;
pub(super) mod drift_records;
pub(super) mod failed_logins;
pub(super) mod host_keys;
pub(super) mod last_use_writes;

/// All of the fleet's limiters.
#[derive(Default)]
pub(super) struct Limits {
    pub(super) logins: failed_logins::Logins,
    pub(super) drift_records: drift_records::DriftRecords,
    pub(super) host_keys: host_keys::HostKeys,
    pub(super) token_uses: last_use_writes::TokenUses,
    pub(super) floods: audit_flood::Floods,
}
