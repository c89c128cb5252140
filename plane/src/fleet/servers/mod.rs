//! Servers, and the tokens of their agents.

pub(super) mod agent_token;
pub(super) mod rules;
