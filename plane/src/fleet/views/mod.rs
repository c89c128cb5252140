//! Views of what is recorded: the API's objects, statuses, and metrics.

pub(super) mod api_objects;
pub(super) mod apply_latency;
pub(super) mod metrics;
pub(super) mod status;
