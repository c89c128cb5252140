//! Parts that every program of Sentrazone needs as a program.
//!
//! Owns the log, the page of metrics, private files and questions on the terminal. It must not know
//! servers, peers or what plane and agent say to each other.

#[cfg(feature = "log")]
pub mod log;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod private_file;
#[cfg(feature = "terminal")]
pub mod terminal;
