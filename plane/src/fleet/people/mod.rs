//! People and programs: users, their sessions, API tokens, and what each may still do.

pub(super) mod api_tokens;
pub(super) mod authority;
pub(super) mod sessions;
pub(super) mod users;
