//! The agents' side: what they are told, and what they may say of their own server.

pub(super) mod adoption;
pub(super) mod backfill;
pub(super) mod confirmation;
pub(super) mod desired_state;
pub(super) mod drift;
pub(super) mod existing_peers;
pub(super) mod hello;
pub(super) mod prekeys;
pub(super) mod reason;
pub(super) mod reply;
pub(super) mod report;
