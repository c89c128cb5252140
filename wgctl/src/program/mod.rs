//! Process-level parts shared by all Sentrazone programs.
//!
//! Owns the log, the metrics page, private files and terminal prompts. It must not depend on servers,
//! peers or the protocol between the plane and the agent.

#[cfg(feature = "log")]
pub mod log;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod private_file;
#[cfg(feature = "terminal")]
pub mod terminal;
