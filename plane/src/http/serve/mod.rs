//! The connection side of HTTP: listening, TLS, limits, and refusing requests before they reach the router.

pub(super) mod body_budget;
pub(super) mod body_deadline;
pub(super) mod connection;
pub(super) mod connection_limits;
pub(super) mod host_header;
pub(super) mod listener;
pub(super) mod local_socket;
pub(super) mod origin;
pub(super) mod unreadable_requests;
