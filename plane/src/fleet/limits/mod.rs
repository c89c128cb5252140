//! Limiters of the fleet.
//!
//! Owns all of them, in memory: they protect the disk and the log, and a restart allows no more than
//! another burst.

pub(super) mod audit_flood;
pub(super) mod drift_records;
pub(super) mod failed_logins;
pub(super) mod host_keys;
pub(super) mod token_uses;

/// The limiters.
#[derive(Default)]
pub(super) struct Limits {
    pub(super) logins: failed_logins::Logins,
    pub(super) drift_records: drift_records::DriftRecords,
    pub(super) host_keys: host_keys::HostKeys,
    pub(super) token_uses: token_uses::TokenUses,
    pub(super) floods: audit_flood::Floods,
}
