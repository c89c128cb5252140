//! People and programs: users, the caller's own account, logins, API tokens, and the keys that sign sessions.

pub(super) mod api_tokens;
pub(super) mod login;
pub(super) mod own_account;
pub(super) mod session_keys;
pub(super) mod users;
