//! The real `wgctl` binary, run as people and scripts run it.

#[cfg(test)]
mod command;
#[cfg(test)]
mod plane;
#[cfg(test)]
mod support;
