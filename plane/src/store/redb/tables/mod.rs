//! The rows of each entity: one file an entity, which implements the traits to read and to write it.

mod addresses;
mod agents;
mod api_tokens;
pub(super) mod audit;
mod history;
mod idempotency;
mod login_penalties;
mod peers;
mod prekeys;
mod revisions;
mod servers;
mod users;
