//! The peers of a server: the requests about them, and the rules of what they may be.

pub(super) mod confirmation_wait;
pub(super) mod requests;
pub(super) mod rules;
