//! The rows of each entity: one file an entity, which implements the traits to read and to write it.

pub(crate) mod addresses;
pub(crate) mod agents;
pub(crate) mod api_tokens;
pub(crate) mod audit;
pub(crate) mod history;
pub(crate) mod idempotency;
pub(crate) mod login_penalties;
pub(crate) mod peers;
pub(crate) mod prekeys;
pub(crate) mod revisions;
pub(crate) mod servers;
pub(crate) mod users;
