//! Messages of agents and the answers to them: introduction, desired state, confirmation, prekeys,
//! reports, drift and adoption.

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
