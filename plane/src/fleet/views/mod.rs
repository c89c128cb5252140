//! Views of the recorded data: API objects, statuses, history and metrics.

pub(super) mod api_objects;
pub(super) mod apply_latency;
pub(super) mod metrics;
pub(super) mod status;
