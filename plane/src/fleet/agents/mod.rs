//! Messages from agents and the responses to them: hello, desired state, confirmation, prekeys,
//! replies, reports, drift and adoption.

pub(super) mod adoption;
pub(super) mod backfill;
pub(super) mod confirmation;
pub(super) mod desired_state;
pub(super) mod drift;
pub(super) mod existing_peers;
pub(super) mod failure_reason;
pub(super) mod hello;
pub(super) mod prekeys;
pub(super) mod reply;
pub(super) mod report;
