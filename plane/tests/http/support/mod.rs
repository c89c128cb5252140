//! Planes, agents and HTTP clients for the tests.

pub(crate) mod agent;
pub(crate) mod client;
pub(crate) mod document;
pub(crate) mod plane;
pub(crate) mod released;
