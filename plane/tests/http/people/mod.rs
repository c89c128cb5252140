//! Users, sessions and API tokens, and the responses that contain secrets.

mod accounts;
mod secrets;
mod sessions;
mod tokens;
