//! The real `wgctl` binary, run as people and scripts run it.

#[cfg(test)]
mod bulk;
#[cfg(test)]
mod command;
#[cfg(test)]
mod completion;
#[cfg(test)]
mod look;
#[cfg(test)]
mod plane;
#[cfg(test)]
mod prompt;
#[cfg(test)]
mod support;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod watch;
