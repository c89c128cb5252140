//! The real `wgctl` binary, run as users and scripts run it.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod bulk;
#[cfg(test)]
mod command;
#[cfg(test)]
mod completion;
#[cfg(test)]
mod login;
#[cfg(test)]
mod look;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod prompt;
#[cfg(test)]
mod refusal;
#[cfg(test)]
mod server;
#[cfg(test)]
mod support;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod token;
#[cfg(test)]
mod watch;
