//! Users, their sessions, API tokens, and the authority of each.

pub(super) mod api_tokens;
pub(super) mod authority;
pub(super) mod logins;
pub(super) mod users;
