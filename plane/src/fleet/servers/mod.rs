//! Servers, their revisions, and the tokens of their agents.

pub(super) mod agent_token;
pub(super) mod existing;
pub(crate) mod revisions;
pub(super) mod rules;
