//! The peers of a server: requests about them, and the rules for them.

pub(super) mod confirmation_wait;
pub(super) mod requests;
pub(super) mod rules;
