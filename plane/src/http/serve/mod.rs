//! The socket's side: listening, connections and their limits, and what is refused before it is a request.

pub(super) mod body_budget;
pub(super) mod body_deadline;
pub(super) mod connection;
pub(super) mod connection_limits;
pub(super) mod host_header;
pub(super) mod listener;
pub(super) mod local_socket;
pub(super) mod origin;
pub(super) mod unreadable_requests;
