//! The real `wgctl` binary, run as people and scripts run it.

mod command;
mod plane;
mod support;
