//! The plane as a service: its command line, TLS, and the properties of every request.

mod command;
mod every_request;
mod tls;
