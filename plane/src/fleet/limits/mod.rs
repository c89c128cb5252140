//! How often something may be done: the limiters of the fleet, all in memory.

pub(super) mod audit_flood;
pub(super) mod logins;
