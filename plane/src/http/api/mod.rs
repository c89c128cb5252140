//! The resources of the API, with a file or directory for each, and the table of all routes.

pub(super) mod agents;
pub(super) mod audit;
pub(super) mod backup;
pub(super) mod health;
pub(super) mod history;
pub(super) mod metrics;
pub(super) mod openapi;
pub(super) mod peers;
pub(super) mod people;
pub(super) mod routes;
pub(super) mod servers;
pub(super) mod statuses;
