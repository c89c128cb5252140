//! The agents' side: what they are told, and what they may say of their own server.

pub(super) mod adoption;
pub(super) mod backfill;
pub(super) mod desired_state;
pub(super) mod drift;
pub(super) mod messages;
pub(super) mod report;
