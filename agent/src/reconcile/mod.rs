//! Makes the interface agree with the desired state, and reports the outcome.
//!
//! Owns the comparison of the interface with the desired state and the changes that follow. The design is
//! level-triggered: a full round reads the interface and sends the differences. A change to a few peers is planned
//! against the last reading, so that its cost depends on these peers only; the next round reads the actual state. It
//! must not remove anything because a plane is silent, and must not dial a plane: `conversation` supplies its input.

mod desired_device;
mod drift;
mod event_loop;
mod guarding;
mod input;
mod ownership;
mod peers;
mod reconciler;
mod round;
mod target;
mod thread;
mod verdict;
mod watchdog;

pub(crate) use desired_device::{DesiredHost, desired_host};
pub use event_loop::EventLoop;
pub use input::{Handle, Input, Position, Reading};
pub use reconciler::{LinkBy, Reconciler};
pub use target::Target;
pub use thread::spawn;
pub use verdict::Verdict;

#[cfg(test)]
mod tests;
