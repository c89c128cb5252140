//! The rows of each entity. Each file implements the traits that read and write one entity.

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
