//! Users, sessions and API tokens, and the answers that contain secrets.

mod accounts;
mod secrets;
mod sessions;
mod tokens;
