//! The plane over real sockets: every endpoint, as callers and agents meet it.
//!
//! A plane runs on port 0 with a state directory of its own; agents are threads that speak the
//! protocol over HTTP. Nothing here reaches into the plane.

mod agent;
mod client;
mod clients;
mod edge;
mod people;
mod plane;
mod records;
mod reports;
mod servers;
